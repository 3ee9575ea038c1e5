"""`dfd-ray explore`, the viewer replaced by a script that notes what it is given."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfd_ray.cli import main
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.tables import read_table


@pytest.fixture
def mapped_run(tmp_path: Path) -> Path:
    """A run with a map of seven faces in two files, and predictions of two of its three videos."""
    run = tmp_path / "run"
    names = ["label", "pca", "x", "y", "z", "cluster", "membership", "video_cluster", "thumbnail"]
    faces = [
        {"video_id": f"{i % 3}.mp4", "frame_index": i, "face_index": 0}
        | dict(zip(names, ("REAL", [1.0, 2.0], i, -i, 0.5, i % 2, 0.5, -1, b"jpeg"), strict=True))
        for i in range(7)
    ]
    (run / "projection").mkdir(parents=True)
    for number, rows in enumerate((faces[:4], faces[4:])):
        table = pa.Table.from_pylist(rows, schema=SCHEMAS["projection"])
        pq.write_table(table, run / "projection" / f"part-{number:06d}.parquet")
    (run / "predictions").mkdir()
    predictions = [{"video_id": f"{i}.mp4", "probability": 0.25 * (1 + i), "faces_used": 2, "status": "ok"} for i in range(2)]
    pq.write_table(pa.Table.from_pylist(predictions, SCHEMAS["predictions"]), run / "predictions" / "part-0.parquet")
    return run


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
    mapped_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: list[str], expected: list[str]
) -> None:
    notes = put_on_path(tmp_path / "bin", monkeypatch, *programs)
    assert main(["explore", "--run", str(mapped_run)]) == 0
    table = mapped_run / "explore" / "faces.parquet"
    assert notes.read_text().split("\n")[:-1] == [*expected, str(table), "--x", "x", "--y", "y", "--image", "thumbnail"]
    faces = pq.read_table(table).to_pylist()
    stored = read_table(str(mapped_run), "projection").to_pylist()
    probability = {"0.mp4": 0.25, "1.mp4": 0.5, "2.mp4": None}
    assert len(faces) == len(stored) == 7
    for face, row in zip(faces, stored, strict=True):
        assert face.pop("probability") == probability[face["video_id"]]
        assert face == {name: value for name, value in row.items() if name != "pca"}


def test_without_a_viewer_one_line_says_how_to_get_it(
    mapped_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_on_path(tmp_path / "bin", monkeypatch)
    assert main(["explore", "--run", str(mapped_run)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "`pip install uv`" in error and f"uvx embedding-atlas {mapped_run}" in error
    assert (mapped_run / "explore" / "faces.parquet").is_file()


def test_a_viewer_that_fails_is_named(
    mapped_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_on_path(tmp_path / "bin", monkeypatch, "uvx", code=3)
    assert main(["explore", "--run", str(mapped_run)]) == 2
    assert "ended with exit code 3" in capsys.readouterr().err


def test_a_run_without_a_map_is_told_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", "--run", str(tmp_path)]) == 2
    assert "holds no manifest: give --corpus FOLDER, or run `dfd-ray index` first" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
