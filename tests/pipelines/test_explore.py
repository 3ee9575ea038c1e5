"""`dfd-ray explore`, the viewer replaced by a script that notes what it is given."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dfd_ray.cli import main
from dfd_ray.tables import read_table


def put_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, *programs: str, code: int = 0) -> Path:
    """Make programs that append their name and arguments to a file, which is returned, the only ones on PATH."""
    folder.mkdir()
    notes = folder / "notes"
    for program in programs:
        (folder / program).write_text(f'#!/bin/sh\nprintf "%s\\n" "{program}" "$@" >> "{notes}"\nexit {code}\n')
        (folder / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return notes


@pytest.mark.parametrize(
    ("programs", "expected"),
    [
        (["uvx", "pipx"], ["uvx", "embedding-atlas"]),
        (["pipx"], ["pipx", "run", "embedding-atlas"]),
        (["uvx", "embedding-atlas"], ["embedding-atlas"]),
    ],
)
def test_the_viewer_is_given_every_face(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: list[str], expected: list[str]
) -> None:
    notes = put_on_path(tmp_path / "bin", monkeypatch, *programs)
    assert main(["explore", "--run", str(finished_run)]) == 0
    table = finished_run / "explore" / "faces.parquet"
    assert notes.read_text().split("\n")[:-1] == [*expected, str(table), "--x", "x", "--y", "y", "--image", "thumbnail"]
    faces = pq.read_table(table).to_pylist()
    stored = read_table(str(finished_run), "projection").to_pylist()
    probability = {row["video_id"]: row["probability"] for row in read_table(str(finished_run), "predictions").to_pylist()}
    assert len(faces) == len(stored)
    for face, row in zip(faces, stored, strict=True):
        assert face.pop("probability") == probability[face["video_id"]]
        assert face == {name: value for name, value in row.items() if name != "pca"}


def test_without_a_viewer_one_line_says_how_to_get_it(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_on_path(tmp_path / "bin", monkeypatch)
    assert main(["explore", "--run", str(finished_run)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "`pip install uv`" in error and f"uvx embedding-atlas {finished_run}" in error
    assert (finished_run / "explore" / "faces.parquet").is_file()


def test_a_viewer_that_fails_is_named(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_on_path(tmp_path / "bin", monkeypatch, "uvx", code=3)
    assert main(["explore", "--run", str(finished_run)]) == 2
    assert "ended with exit code 3" in capsys.readouterr().err


def test_a_run_without_a_map_is_told_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", "--run", str(tmp_path)]) == 2
    assert "run `dfd-ray analyze` first" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
