"""The whole way with corpus and run in object storage, over HTTP with signatures, on a network that fails now and then."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from dfd_ray.cli import main
from dfd_ray.store import storage

from .store import BUCKET, Store, running_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CORPUS = f"s3://{BUCKET}/the corpus 100%"
RUN = f"s3://{BUCKET}/runs/one"
BAD_EVERY = 25
"""Of so many requests one fails."""


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
