"""The whole way with corpus and run in object storage, over HTTP with signatures, on a network that fails now and then."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from dfd_ray.cli import main
from dfd_ray.store import storage
from dfd_ray.store.claim import PREFIX
from dfd_ray.store.tables import count_faces

from .store import BUCKET, Store, running_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CORPUS = f"s3://{BUCKET}/the corpus 100%"
RUN = f"s3://{BUCKET}/runs/one"
BAD_EVERY = 25
"""Of so many requests one fails."""
STALE_SECONDS = 5.0
"""Seconds after which the tests take a job for dead."""
DRIVER = f"""
import sys
from dfd_ray.errors import RunError
from dfd_ray.store import claim
from dfd_ray.store.lock import lock_run
claim.STALE_SECONDS, claim.RENEWAL_SECONDS = {STALE_SECONDS}, {STALE_SECONDS / 10}
print("ready", flush=True)
sys.stdin.readline()
try:
    with lock_run(sys.argv[1], create=True):
        print("held", flush=True)
        sys.stdin.readline()
        if "fail" in sys.argv:
            raise KeyError
except RunError as error:
    print(error, flush=True)
"""
"""A job that begins and ends when it is told to, or fails then."""


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store(BAD_EVERY) as running:
        yield running


@pytest.fixture
def environment(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Make this process the store's user."""
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    storage.open_bucket.cache_clear()
    yield store
    storage.open_bucket.cache_clear()


@dataclass
class Finished:
    """What a pipeline left: what it said, Ray's logs, and the requests that it made."""

    said: str
    logs: Path
    requests: list[str]


@pytest.fixture(scope="module")
def finished(store: Store, small_corpus: Path, flags: list[str]) -> Iterator[Finished]:
    """Run the pipeline in a process of its own, with corpus and run in the store."""
    address = store.environment()
    bucket = pafs.S3FileSystem(
        access_key=store.key, secret_key=store.secret, endpoint_override=store.direct, region="us-east-1"
    )
    pafs.copy_files(str(small_corpus), CORPUS.removeprefix("s3://"), destination_filesystem=bucket, use_threads=False)
    folder = Path(tempfile.mkdtemp(prefix="dfd-s3-", dir="/tmp"))  # short: sockets in it may not exceed 107 characters
    before = len(store.requests)
    command = [
        sys.executable,
        "-m",
        "dfd_ray.cli",
        "pipeline",
        "--run",
        RUN,
        "--corpus",
        CORPUS,
        *flags,
        "--set",
        "train.epochs=1",
    ]
    try:
        job = subprocess.run(
            command,
            env=os.environ | address | {"RAY_TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1500,
        )
        assert job.returncode == 0, job.stdout
        yield Finished(job.stdout, folder, store.requests[before:])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_the_network_did_fail_on_the_way(finished: Finished, store: Store) -> None:
    assert len(finished.requests) > 10 * BAD_EVERY
    assert store.failures >= 10


def test_a_video_is_one_request_or_two_when_that_failed(finished: Finished) -> None:
    reads = Counter(line for line in finished.requests if line.startswith("GET") and line.endswith(".mp4"))
    assert len(reads) > 10
    assert max(reads.values()) <= 3
    assert sum(reads.values()) < 1.5 * len(reads)


def test_no_credential_is_in_what_was_said_logged_or_written(finished: Finished, environment: Store) -> None:
    filesystem, path = storage.open_location(RUN)
    objects = [info.path for info in filesystem.get_file_info(pafs.FileSelector(path, recursive=True)) if info.is_file]
    assert len(objects) > 20
    logs = [file for file in finished.logs.rglob("*") if file.is_file()]
    assert len(logs) > 10
    for word in (environment.secret, environment.key):
        assert word not in finished.said
        assert not [name for name in objects if word.encode() in filesystem.open_input_file(name).read()]
        assert not [str(file) for file in logs if word.encode() in file.read_bytes()]


def test_a_finished_run_is_known_as_such(finished: Finished, environment: Store, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["preprocess", "--run", RUN]) == 0
    assert "already complete; nothing done" in capfd.readouterr().out


def refused(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line with which a job is refused."""
    assert main(list(arguments)) == 2
    [line] = capfd.readouterr().err.splitlines()
    return line


def test_a_wrong_secret_is_said_in_one_line(
    environment: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    line = refused(capfd, "index", "--run", f"s3://{BUCKET}/runs/two", "--corpus", CORPUS)
    assert line.startswith(f"dfd-ray index: s3://{BUCKET}/runs/two")
    assert "ACCESS_DENIED" in line
    assert "check the credentials" in line
    assert "not-the-secret" not in line


@pytest.mark.parametrize("place", ["corpus", "run"])
def test_a_missing_bucket_is_said_in_one_line_wherever_it_is_named(
    place: str, environment: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("corpus: s3://nowhere/dfdc\n")
    run = "s3://nowhere/run" if place == "run" else str(tmp_path / "run")
    line = refused(capfd, "index", "--run", run, "--config", str(config))
    assert line.startswith("dfd-ray index: s3://nowhere/")
    assert "Bucket 'nowhere' not found; make the bucket, or mend its name" in line


@contextmanager
def drivers(run: str, ending: str = "") -> Iterator[list[subprocess.Popen[str]]]:
    """Start two jobs on a run that wait for a line to begin; end them after the context."""
    command = [sys.executable, "-c", DRIVER, run, ending]
    jobs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        assert [hear(one) for one in jobs] == ["ready", "ready"]
        yield jobs
    finally:
        for one in jobs:
            one.kill()
            one.communicate()


def hear(job: subprocess.Popen[str]) -> str:
    assert job.stdout is not None
    return job.stdout.readline().strip()


def tell(job: subprocess.Popen[str]) -> None:
    assert job.stdin is not None
    job.stdin.write("\n")
    job.stdin.flush()


def claims_in(run: str) -> list[str]:
    return [path for path in storage.list_files(run) if PREFIX in path]


@pytest.mark.parametrize("ending", ["", "fail"])
@pytest.mark.parametrize("dead", [False, True])
def test_of_two_jobs_at_once_exactly_one_goes_on_and_lets_go_at_its_end(environment: Store, dead: bool, ending: str) -> None:
    run = f"s3://{BUCKET}/runs/locked-{dead}-{ending}"
    if dead:
        storage.write_bytes(f"{run}/{PREFIX}0", b"holds: a job that was killed")
        time.sleep(STALE_SECONDS + 2)
    with drivers(run, ending) as jobs:
        for one in jobs:
            tell(one)
        said = [hear(one) for one in jobs]
        assert sorted(line == "held" for line in said) == [False, True], said
        assert f"{run} is in use by another job" in next(line for line in said if line != "held")
        assert len(claims_in(run)) == 1
        tell(jobs[said.index("held")])
        assert [one.wait(60) for one in jobs] == [int(line == "held" and ending == "fail") for line in said]
    assert not claims_in(run)


def test_a_killed_job_is_waited_for_and_then_replaced(environment: Store) -> None:
    run = f"s3://{BUCKET}/runs/killed"
    with drivers(run) as [first, second]:
        tell(first)
        assert hear(first) == "held"
        time.sleep(STALE_SECONDS + 1)  # it is renewed
        first.kill()
        tell(second)
        assert "is in use by another job" in hear(second)
    time.sleep(STALE_SECONDS + 1)
    with drivers(run) as [third, _]:
        tell(third)
        assert hear(third) == "held"
        assert len(claims_in(run)) == 1


def test_an_export_is_one_object_and_its_failure_none(
    environment: Store, draw_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dfd_ray.pipelines import export

    run, out = draw_run(tmp_path / "run"), f"s3://{BUCKET}/exports"
    before = len(environment.requests)
    assert main(["export", "--run", str(run), "--out", f"{out}/faces.parquet", "--format", "parquet"]) == 0
    assert storage.list_files(out) == [f"{BUCKET}/exports/faces.parquet"]
    filesystem, path = storage.open_location(f"{out}/faces.parquet")
    assert pq.read_metadata(path, filesystem=filesystem).num_rows == count_faces(str(run), "faces")
    assert not [line for line in environment.requests[before:] if line.startswith("PUT") and "partial" in line]

    def fail(*arguments: object) -> Iterator[object]:
        yield next(whole(*arguments))
        raise OSError(28, "No space left on device")

    whole = export.iterate_batches
    monkeypatch.setattr(export, "iterate_batches", fail)
    assert main(["export", "--run", str(run), "--out", f"{out}/other.parquet", "--format", "parquet"]) == 2
    assert storage.list_files(out) == [f"{BUCKET}/exports/faces.parquet"]
