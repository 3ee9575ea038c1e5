"""Whole jobs in processes of their own, killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dfd_ray.cli import main
from dfd_ray.tables import count_rows, read_table

pytestmark = pytest.mark.slow


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, "-m", "dfd_ray.cli", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str], limit: float = 400) -> str:
    output, _ = process.communicate(timeout=limit)
    assert process.returncode == 0, output
    return output


def faces_of(run: Path) -> dict[str, tuple[str, list[dict[str, object]]]]:
    table = read_table(str(run), "faces", ["video_id", "status", "faces"]).to_pylist()
    assert len({row["video_id"] for row in table}) == len(table)
    return {row["video_id"]: (row["status"], row["faces"]) for row in table}


def test_preprocess_killed_in_the_middle_ends_with_the_same_rows(
    small_corpus: Path, finished_run: Path, flags: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert main(["index", "--run", str(run), "--corpus", str(small_corpus), *flags]) == 0
    job = start("preprocess", "--run", str(run))
    deadline = time.monotonic() + 300
    while not 0 < count_rows(str(run), "faces") < 24:
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    job.send_signal(signal.SIGKILL)
    job.communicate()
    committed = count_rows(str(run), "faces")
    assert 0 < committed < 24
    time.sleep(5)  # the orphaned Ray notices that its driver is gone
    output = finish(start("preprocess", "--run", str(run)))
    assert "rows" in output
    assert faces_of(run) == faces_of(finished_run)
    assert "nothing done" in finish(start("preprocess", "--run", str(run)), limit=30)


def test_training_killed_between_epochs_goes_on_where_it_was(finished_run: Path, tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "run"
    for table in ("manifest", "faces"):
        shutil.copytree(finished_run / table, run / table)
    shutil.copy(finished_run / "config.yaml", run / "config.yaml")
    more = ["--run", str(run), "--set", "train.epochs=6", "--set", "train.folds=[0]"]
    job = start("train", *more)
    deadline = time.monotonic() + 300
    while not list(run.glob("training/folds/checkpoint*")):
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    job.send_signal(signal.SIGKILL)
    job.communicate()
    assert not (run / "models").exists()
    time.sleep(5)
    finish(start("train", *more))
    import json

    epochs = json.loads((run / "models" / "history.json").read_text())["folds"][0]["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert not (run / "training").exists()


@pytest.mark.timeout(1500)
def test_the_demo_runs_from_end_to_end(tmp_path: Path, demo_corpus: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "demo-corpus").symlink_to(demo_corpus)
    quick = ["--set", "train.epochs=1", "--set", "preprocess.frames_real=4", "--set", "preprocess.frames_fake=2"]
    output = finish(start("demo", "--run", str(run), *quick), limit=1400)
    assert str(run / "report" / "index.html") in output
    for table in ("manifest", "faces", "embeddings", "predictions"):
        assert count_rows(str(run), table) == 38
    again = finish(start("demo", "--run", str(run)), limit=60)
    assert again.count("nothing done") == 6
