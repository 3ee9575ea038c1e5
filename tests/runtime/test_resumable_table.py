from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dfd_ray.cli import main


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def test_a_commit_that_comes_after_the_end_changes_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    late = run / "checkpoints" / "faces" / "000001_000000.pending.parquet"
    late.parent.mkdir(parents=True)
    pq.write_table(pq.read_table(run / "manifest", columns=["video_id"]).slice(0, 1), late)
    before = {path.name: path.read_bytes() for path in (run / "faces").iterdir()}
    assert main(["preprocess", "--run", str(run)]) == 0
    assert "nothing done" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (run / "faces").iterdir()} == before
    assert not late.parent.exists()


def test_a_table_with_a_video_twice_is_not_taken_for_whole(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = next((run / "faces").glob("*.parquet"))
    faces = pq.read_table(file)
    pq.write_table(faces.take([0, *range(len(faces) - 1)]), file)  # as many rows as before
    (run / "checkpoints" / "faces").mkdir(parents=True)
    assert main(["preprocess", "--run", str(run)]) == 2
    assert "1 videos are missing and 1 are there twice; delete that folder to start again" in capsys.readouterr().err
