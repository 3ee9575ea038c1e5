"""A Ray of its own for the tests that submit jobs: a head with token authentication, on loopback, as users start it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from ray.job_submission import JobStatus, JobSubmissionClient

from benchmarks.ports import free_ports

PROJECT = Path(__file__).parent.parent.parent
TOKEN = "0123456789abcdef" * 4
LOGICAL_CPUS = 6
"""More than the cores: Ray Data's checkpoint filter and its listing task hold one each, and use little of it."""


@dataclass(frozen=True)
class Head:
    """A running head: where it listens, and what a user needs to speak to it."""

    gcs: str
    dashboard: str
    token_file: Path

    def environment(self, token_file: Path | None = None) -> dict[str, str]:
        """Return the environment of a user who has the token, or another file with one."""
        return os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token_file or self.token_file),
            "RAY_ADDRESS": self.dashboard,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def command(self, *words: str, token_file: Path | None = None, limit: float = 400) -> subprocess.CompletedProcess[str]:
        """Run a `ray` command as that user, in the project's folder."""
        return subprocess.run(
            [sys.executable, "-m", "ray.scripts.scripts", *words],
            cwd=PROJECT,
            env=self.environment(token_file),
            capture_output=True,
            text=True,
            timeout=limit,
        )

    def submit(self, job: str, *arguments: str, wait: bool = True) -> tuple[str, subprocess.CompletedProcess[str]]:
        """Submit `jobs/<job>.py`, as the documentation says; return the submission's name and what `ray job submit` said."""
        name = f"{job}-{time.monotonic_ns()}"
        waiting = [] if wait else ["--no-wait"]
        words = ["job", "submit", *waiting, "--submission-id", name, "--working-dir", ".", "--", "python", f"jobs/{job}.py"]
        return name, self.command(*words, *arguments)

    def client(self) -> JobSubmissionClient:
        """Return the Job API; the token is given by hand, since this process's own Ray has none."""
        return JobSubmissionClient(self.dashboard, headers={"Authorization": f"Bearer {TOKEN}"})

    def wait(self, name: str, limit: float = 400) -> JobStatus:
        """Return how a submission ended."""
        deadline = time.monotonic() + limit
        while not (status := self.client().get_job_status(name)).is_terminal():
            assert time.monotonic() < deadline, self.client().get_job_logs(name)
            time.sleep(0.5)
        return status


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """Start `ray start --head` with a token; end what it started, and nothing else, after the module."""
    folder = Path(tempfile.mkdtemp(prefix="dfd-head-", dir="/tmp"))  # short: sockets in it may not exceed 107 characters
    token_file = folder / "token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)
    names = ("port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port")
    names += ("ray-client-server-port", "runtime-env-agent-port", "metrics-export-port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    head = Head(f"127.0.0.1:{ports['port']}", f"http://127.0.0.1:{ports['dashboard-port']}", token_file)
    environment = {name: value for name, value in head.environment().items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
    command += [f"--{name}={port}" for name, port in ports.items()]
    command += ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-host=127.0.0.1", f"--temp-dir={folder / 'ray'}"]
    command += [f"--num-cpus={LOGICAL_CPUS}", f"--object-store-memory={300 * 2**20}", "--disable-usage-stats"]
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        await_head(head, process, folder / "output")
        yield head
    finally:
        end(process)
        shutil.rmtree(folder, ignore_errors=True)


def await_head(head: Head, process: subprocess.Popen[bytes], output: Path, limit: float = 120) -> None:
    """Wait until the Job API answers."""
    deadline = time.monotonic() + limit
    while True:
        assert process.poll() is None, output.read_text()
        try:
            head.client().list_jobs()
            return
        except (ConnectionError, RuntimeError):
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.5)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a head and all that it started."""
    if process.poll() is not None:
        return
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    psutil.wait_procs(family, timeout=20)
    for one in family:
        if one.is_running():
            one.kill()
    process.wait(timeout=20)
