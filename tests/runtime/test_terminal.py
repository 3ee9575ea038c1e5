"""What a user sees of a job: our own lines, and nothing of Ray's."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from dfd_ray.cli import _print_summary
from dfd_ray.config import load_config
from dfd_ray.errors import ResourceError, RunError
from dfd_ray.runtime import session
from dfd_ray.runtime.session import ray_session
from dfd_ray.runtime.terminal import count_columns, divert_output, error_stream, quiet_jobs, say, warn
from dfd_ray.store.run import Run
from dfd_ray.store.summary import Summary

PATIENCE = 300.0
"""Seconds that a job may take."""
OURS = re.compile(
    r"|[a-z]+ needs the [a-z]+: running [a-z ,]+ first"  # what comes first
    r"|[a-z]+: \d+/\d+ (videos|epochs)(, \d+\.\d\d \w+/s|, \d+ s/\w+)?(, in [\d:]+|, [\d:]+ left)?(, .+)?"  # progress
    r"|[a-z]+"  # a summary: its job, and then a row a value
    r"|  (rows|ok|no_face|error: \w+|seconds|note|result|[\w:' ()]+?)  +\S.*"
    r"| {8,}\S.*"  # a value that goes on below
    r"|training \d models, each without one fold, \d epochs each"
)
SMALL = [
    *("embed.backbone=test_efficientnet", "embed.weights=random", "embed.image_size=64", "embed.precision=fp32"),
    *("analyze.components=4", "analyze.perplexity=2", "analyze.iterations=20", "analyze.min_cluster_size=3"),
    *("train.epochs=1", "evaluate.bootstrap=5"),
]


def command(job: str, run: Path) -> list[str]:
    settings = [part for setting in SMALL for part in ("--set", setting)]
    return [sys.executable, "-m", "dfd_ray", job, "--run", str(run), *settings]


def test_only_our_lines_pass(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "ray.log"
    with divert_output(log):
        say("ours")
        warn("ours, too")
        print("a library's")
        sys.stderr.write("Python's\n")
        os.write(2, b"C++'s\n")
        subprocess.run([sys.executable, "-c", "print('of a child')"], check=True)
        assert not error_stream().isatty()
    print("afterwards")
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("ours\nafterwards\n", "ours, too\n")
    kept = log.read_text()
    for line in ("a library's", "Python's", "C++'s", "of a child"):
        assert line in kept


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Have a session whose start fails."""

    def fail_with(error: Exception) -> None:
        def connect(run: object) -> None:
            print("of Ray")
            raise error

        monkeypatch.setattr(session.ray, "is_initialized", lambda: False)
        monkeypatch.setattr(session.ray, "shutdown", lambda: None)
        monkeypatch.setattr(session, "_connect", connect)

    return fail_with


@pytest.mark.parametrize("error", [ResourceError("no room"), RuntimeError("a surprise")])
def test_an_error_of_ray_names_the_log(tmp_path: Path, no_ray: Callable[[Exception], None], error: Exception) -> None:
    no_ray(error)
    with pytest.raises(type(error)) as raised, quiet_jobs(), ray_session(Run(str(tmp_path), load_config())):
        pass
    log = tmp_path / "logs" / "ray.log"
    assert raised.value.__notes__ == [f"Ray's log is {log}"]
    assert log.read_text() == "of Ray\n"


def test_an_error_that_has_nothing_to_do_with_ray_names_no_log(tmp_path: Path, no_ray: Callable[[Exception], None]) -> None:
    no_ray(RunError("of another configuration"))
    with pytest.raises(RunError) as raised, quiet_jobs(), ray_session(Run(str(tmp_path), load_config())):
        pass
    assert not hasattr(raised.value, "__notes__")


def test_a_program_that_uses_the_jobs_keeps_its_output(
    tmp_path: Path, no_ray: Callable[[Exception], None], capfd: pytest.CaptureFixture[str]
) -> None:
    no_ray(RuntimeError("a surprise"))
    with pytest.raises(RuntimeError) as raised, ray_session(Run(str(tmp_path), load_config())):
        pass
    assert capfd.readouterr().out == "of Ray\n"
    assert not hasattr(raised.value, "__notes__")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_costs_the_log_and_not_the_job(capfd: pytest.CaptureFixture[str]) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    with divert_output(full):
        print("of Ray", flush=True)
        say("ours")
    assert capfd.readouterr().out == "ours\n"


def test_a_run_in_object_storage_has_its_log_on_this_machine() -> None:
    log = session.choose_log_file(Run("s3://bucket/run", load_config()))
    assert log.parent.is_dir()
    log.parent.rmdir()


def test_a_summary_is_as_wide_as_the_user_s_terminal_while_output_is_diverted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 173, 0, 0))
    with open(terminal, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with divert_output(tmp_path / "ray.log"):
            assert count_columns() == 173
            _print_summary(Summary(job="index", table="/run", notes=["word " * 60]))
            monkeypatch.setenv("COLUMNS", "70")
            assert count_columns() == 70
        shown = ""
        while "/run" not in shown:  # the last line
            shown += os.read(screen, 65536).decode()
    os.close(screen)
    assert 150 < max(map(len, shown.split("\r\n"))) <= 173


@pytest.mark.parametrize("columns", ["0", "-1", "wide", ""])
def test_without_a_terminal_lines_are_of_the_usual_width(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert count_columns() == 80


@pytest.mark.slow
@pytest.mark.parametrize("job", ["analyze", "evaluate"])
def test_without_a_terminal_every_line_is_ours(job: str, draw_run: Callable[..., Path], tmp_path: Path) -> None:
    run = draw_run(tmp_path / "run")
    done = subprocess.run(
        command(job, run), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout
    assert [line for line in done.stdout.splitlines() if not OURS.fullmatch(line)] == []
    assert done.stdout.count(" needs the ") == 1
    assert "core_worker" in (run / "logs" / "ray.log").read_text(), "Ray has become quiet: is all this still needed?"


def show_on_terminal(command: list[str]) -> list[str]:
    """Return the lines that a command prints on a terminal."""
    screen, terminal = pty.openpty()
    job = subprocess.Popen(command, stdout=terminal, stderr=terminal, stdin=terminal)
    os.close(terminal)
    shown = b""
    try:
        while part := os.read(screen, 4096):
            shown += part
    except OSError:  # the job has closed its end
        pass
    os.close(screen)
    assert job.wait(PATIENCE) == 0, shown.decode()
    return shown.decode().split("\r\n")


def test_a_terminal_has_its_bar_redrawn(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from dfd_ray.runtime.progress import Bar
from dfd_ray.runtime.terminal import divert_output, say
with divert_output(Path({str(tmp_path / "log")!r})):
    bar = Bar("embed", "video", 16)
    for done in (5, 9, 16):
        time.sleep(0.6)
        bar.show(done)
        print("of Ray")
    bar.close()
    say("ours")
"""
    *_, bar, ours, after = show_on_terminal([sys.executable, "-c", code])
    assert bar.count("\rembed: ") > 1
    assert "16/16" in bar.split("\r")[-1]
    assert (ours, after) == ("ours", "")


@pytest.mark.slow
def test_on_a_terminal_every_line_is_ours(draw_run: Callable[..., Path], tmp_path: Path) -> None:
    lines = show_on_terminal(command("embed", draw_run(tmp_path / "run")))
    [bar] = [line for line in lines if "\r" in line]
    assert bar.count("\rembed: ") > 1
    assert "16/16" in bar.split("\r")[-1]
    assert [line for line in lines if line != bar and not OURS.fullmatch(line)] == []
