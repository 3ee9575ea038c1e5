"""A run on a disk that is full, then read-only, then has room."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfd_ray.cli import main
from dfd_ray.store.tables import count_rows, read_table

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system in memory, of 64 MiB, which takes root; that and a disk's end no permission can feign for root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", disk], check=True)


def test_a_disk_without_room_ends_the_job_in_one_line_and_costs_nothing(
    disk: Path, small_corpus: Path, preprocessed_run: Path, flags: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    run = disk / "run"
    one = ["--set", "resources.videos_per_file=1", "--set", "resources.videos_per_task=1"]
    assert main(["index", "--run", str(run), "--corpus", str(small_corpus), *flags, *one]) == 0
    needed = sum(path.stat().st_size for path in (preprocessed_run / "faces").iterdir())
    remount(disk, f"size={needed // 2}")
    capfd.readouterr()
    assert main(["preprocess", "--run", str(run)]) == 2
    errors = capfd.readouterr().err
    assert "Traceback" not in errors
    assert errors.rstrip().rsplit("\n", 1)[-1].startswith("dfd-ray preprocess: No space left on device")

    remount(disk, "ro")
    assert main(["preprocess", "--run", str(run)]) == 2
    assert capfd.readouterr().err == f"dfd-ray preprocess: --run {run} cannot be written: Read-only file system\n"

    remount(disk, "rw,size=64m")
    committed = count_rows(str(run), "faces")
    assert 0 < committed < 24
    assert main(["preprocess", "--run", str(run)]) == 0
    tables = [read_table(str(folder), "faces").drop_columns("seconds_spent") for folder in (run, preprocessed_run)]
    ours, undisturbed = (sorted(table.to_pylist(), key=lambda row: row["video_id"]) for table in tables)
    assert ours == undisturbed
