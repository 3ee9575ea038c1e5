"""Whole jobs in processes of their own, killed and started again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from dfd_ray.cli import main
from dfd_ray.store.tables import count_rows, read_table

pytestmark = pytest.mark.slow


CRASH = Path(__file__).parent / "crash"
WRITING = "ray.data._internal.datasource.parquet_datasink:ParquetDatasink._write_parquet_files"
COMMITTING = "ray.data.checkpoint.checkpoint_writer:BatchBasedCheckpointWriter"
POINTS = [
    f"{COMMITTING}.write_pending_checkpoint:before",
    f"{WRITING}:before",
    f"{WRITING}:torn",
    f"{WRITING}:after",
    f"{COMMITTING}.commit_checkpoint:after",
    "dfd_ray.runtime.resumable_table:check_whole:before",
    "dfd_ray.runtime.resumable_table:check_whole:after",
]
"""Where a job writes, renames and commits; in the order in which a file goes through them. After one and before the next is the
same on the disk."""


def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"} | variables
    command = [sys.executable, "-m", "dfd_ray.cli", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str], limit: float = 400) -> str:
    output, _ = process.communicate(timeout=limit)
    assert process.returncode == 0, output
    return output


def faces_of(run: Path) -> dict[str, dict[str, Any]]:
    """Return a table's rows by video, without the time they took, which alone may differ."""
    rows = read_table(str(run), "faces").drop_columns("seconds_spent").to_pylist()
    found = {row["video_id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def commits(run: str) -> int:
    """Return how many files of faces are committed, pending ones left out."""
    return len(list((Path(run) / "checkpoints" / "faces").glob("*[!g].parquet")))


def test_preprocess_killed_at_every_point_of_its_writing_ends_with_the_same_rows(
    indexed: str, preprocessed_run: Path, tmp_path: Path
) -> None:
    path = f"{CRASH}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    committed = 0
    for number, point in enumerate(POINTS):
        done = tmp_path / f"done-{number}"
        job = start("preprocess", "--run", indexed, PYTHONPATH=path, DFD_CRASH_AT=point, DFD_CRASH_DONE=str(done))
        output, _ = job.communicate(timeout=400)
        assert done.exists(), (point, output)
        assert job.returncode == -signal.SIGKILL, (point, output)
        committed_now = commits(indexed)
        assert committed_now >= committed or "check_whole" in point, point
        committed = committed_now
    finish(start("preprocess", "--run", indexed))
    assert faces_of(Path(indexed)) == faces_of(preprocessed_run)


def test_preprocess_killed_at_ten_moments_ends_with_the_same_rows(indexed: str, preprocessed_run: Path) -> None:
    moments, left = random.Random(5), []
    for number in range(10):
        before = commits(indexed)
        job = start("preprocess", "--run", indexed)
        moment = moments.uniform(1, 18)  # from before Ray is there to when rows are committed
        if number % 2:  # soon after another row was
            while job.poll() is None and commits(indexed) <= before:
                time.sleep(0.05)
            moment = moments.uniform(0, 0.5)
        try:
            job.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            job.kill()
            job.communicate()
            left.append(commits(indexed))
        else:
            assert job.returncode == 0
    assert len(left) >= 5
    assert len({count for count in left if 0 < count < count_rows(indexed, "manifest")}) >= 2, left
    finish(start("preprocess", "--run", indexed))
    assert faces_of(Path(indexed)) == faces_of(preprocessed_run)
    assert "nothing done" in finish(start("preprocess", "--run", indexed), limit=60)


def test_preprocess_survives_a_worker_that_is_killed(indexed: str, preprocessed_run: Path) -> None:
    job = start("preprocess", "--run", indexed)
    kill_first(job, "MapBatches(ExtractAndDetect)")
    finish(job)
    assert faces_of(Path(indexed)) == faces_of(preprocessed_run)


def test_a_write_that_was_given_up_and_goes_on_changes_nothing(indexed: str, preprocessed_run: Path, tmp_path: Path) -> None:
    path = f"{CRASH}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done, late = tmp_path / "done", tmp_path / "done.late"
    finish(start("preprocess", "--run", indexed, PYTHONPATH=path, DFD_CRASH_AT=f"{WRITING}:late", DFD_CRASH_DONE=str(done)))
    assert done.exists()
    deadline = time.monotonic() + 30
    while not late.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert faces_of(Path(indexed)) == faces_of(preprocessed_run)
    assert "nothing done" in finish(start("preprocess", "--run", indexed), limit=60)


def test_embed_survives_an_actor_that_is_killed(preprocessed_run: Path, near: Callable[..., Any], tmp_path: Path) -> None:
    undisturbed, run = (shutil.copytree(preprocessed_run, tmp_path / name) for name in ("undisturbed", "run"))
    assert main(["embed", "--run", str(undisturbed)]) == 0
    job = start("embed", "--run", str(run))
    kill_first(job, "MapBatches(EmbedFaces)")
    finish(job)
    rows = [read_table(str(folder), "embeddings").sort_by("video_id").to_pylist() for folder in (undisturbed, run)]
    assert rows[0] == near(rows[1], 2.0**-10)


def kill_first(job: subprocess.Popen[str], victim: str) -> None:
    """Kill the first process of a job that names the victim, as soon as it has been at work for a second."""
    deadline = time.monotonic() + 300
    while not (found := processes_of(job.pid, victim)):
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)
    found[0].kill()


def processes_of(driver: int, victim: str) -> list[psutil.Process]:
    """Return the descendants of a driver whose command line names the victim, an actor's class."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:  # it ended as we looked
            continue
        if victim in line:
            found.append(process)
    return found


@pytest.mark.timeout(1500)
def test_the_demo_runs_from_end_to_end(tmp_path: Path, demo_corpus: Path, flags: list[str]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "demo-corpus").symlink_to(demo_corpus)
    output = finish(start("demo", "--run", str(run), *flags, "--set", "train.epochs=1"), limit=1400)
    assert str(run / "report" / "index.html") in output
    for table in ("manifest", "faces", "embeddings", "predictions"):
        assert count_rows(str(run), table) == 38
    again = finish(start("demo", "--run", str(run)), limit=60)
    assert again.count("nothing done") == 6
