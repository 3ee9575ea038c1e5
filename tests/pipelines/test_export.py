from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import cv2
import pyarrow.parquet as pq
import pytest

from dfd_ray.cli import main
from dfd_ray.store.tables import count_faces, flatten_faces, read_table


def export(run: Path, out: Path, form: str) -> int:
    return main(["export", "--run", str(run), "--out", str(out), "--format", form])


def test_an_image_folder_has_a_file_for_every_face_under_its_label(finished_run: Path, tmp_path: Path) -> None:
    assert export(finished_run, tmp_path / "out", "folder") == 0
    files = list((tmp_path / "out").glob("*/*.jpg"))
    assert len(files) == count_faces(str(finished_run), "faces")
    assert {file.parent.name for file in files} == {"REAL", "FAKE"}
    assert cv2.imread(str(files[0])).shape == (240, 240, 3)


def test_webdataset_shards_pair_images_with_their_facts(finished_run: Path, tmp_path: Path) -> None:
    assert export(finished_run, tmp_path / "out", "webdataset") == 0
    faces = {}
    for shard in (tmp_path / "out").glob("*.tar"):
        with tarfile.open(fileobj=io.BytesIO(shard.read_bytes())) as tar:
            for member in tar:
                name, suffix = member.name.split(".")
                faces.setdefault(name, {})[suffix] = tar.extractfile(member).read()  # type: ignore[union-attr]
    stored = flatten_faces(read_table(str(finished_run), "faces"), ["video_id"]).to_pylist()
    assert len(faces) == len(stored)
    assert {face["image"] for face in stored} == {face["jpg"] for face in faces.values()}
    assert {"video_id", "label", "frame_index", "box"} <= json.loads(next(iter(faces.values()))["json"]).keys()


def test_flat_parquet_has_a_row_for_every_face(finished_run: Path, tmp_path: Path) -> None:
    assert export(finished_run, tmp_path / "new" / "faces.parquet", "parquet") == 0
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["faces.parquet"]
    assert pq.read_metadata(tmp_path / "new" / "faces.parquet").num_rows == count_faces(str(finished_run), "faces")


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_nothing_is_overwritten_and_no_other_format_known(
    finished_run: Path, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(finished_run, tmp_path, form) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())
