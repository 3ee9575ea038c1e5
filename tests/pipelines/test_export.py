from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import pyarrow.parquet as pq
import pytest

from dfd_ray.cli import main
from dfd_ray.errors import RunError
from dfd_ray.pipelines import export as job
from dfd_ray.store.tables import count_faces, flatten_faces, read_table

if TYPE_CHECKING:
    from tests.bucket import Bucket

FACES = 4
"""Faces of each video of a drawn run."""


def export(run: Path, out: Path | str, form: str) -> int:
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


def test_object_storage_gets_one_file_without_a_move(
    draw_run: Callable[..., Path], tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    run = draw_run(tmp_path / "run", faces=FACES)
    assert export(run, "s3://bucket/out/faces.parquet", "parquet") == 0
    assert bucket.names() == ["bucket/out/faces.parquet"]
    content = io.BytesIO(bucket.objects["bucket/out/faces.parquet"][0])
    assert pq.read_metadata(content).num_rows == count_faces(str(run), "faces")


@pytest.mark.parametrize("form", ["folder", "webdataset", "parquet"])
@pytest.mark.parametrize("place", ["bucket", "disk"])
def test_an_export_that_fails_midway_leaves_nothing(
    place: str,
    form: str,
    draw_run: Callable[..., Path],
    tmp_path: Path,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, whole = draw_run(tmp_path / "run", faces=FACES), job.iterate_batches
    (tmp_path / "there").mkdir()

    def fail_after_the_first(*arguments: Any) -> Iterator[Any]:
        yield next(whole(*arguments))
        assert bucket.names() == [] or form != "parquet", "part of a file must not be seen"
        raise RunError("a file of the table cannot be read")

    monkeypatch.setattr(job, "iterate_batches", fail_after_the_first)
    monkeypatch.setattr(job, "FACES_PER_SHARD", FACES)
    out = "s3://bucket/out" if place == "bucket" else str(tmp_path / "there" / "out")
    assert export(run, out, form) == 2
    assert capsys.readouterr().err == "dfd-ray export: a file of the table cannot be read\n"
    assert bucket.names() == []
    assert list((tmp_path / "there").iterdir()) == []


def test_an_upload_that_the_store_refuses_leaves_nothing(
    draw_run: Callable[..., Path], tmp_path: Path, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    run = draw_run(tmp_path / "run", faces=FACES)

    def refuse(kind: str, path: str) -> None:
        if kind == "put":
            raise OSError("AWS Error SLOW_DOWN during UploadPart operation")

    bucket.fail = refuse
    assert export(run, "s3://bucket/out", "parquet") == 2
    assert "SLOW_DOWN" in capsys.readouterr().err
    assert bucket.names() == []
