from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dfd_ray.cli import main
from dfd_ray.corpus.manifest import write_manifest
from dfd_ray.errors import Status
from dfd_ray.sections import Preprocess
from dfd_ray.stages import detect
from dfd_ray.store.tables import read_table
from dfd_ray.video import Frame


def faces_of(run: Path) -> list[dict[str, Any]]:
    return read_table(str(run), "faces").drop_columns("seconds_spent").sort_by("video_id").to_pylist()


@pytest.mark.slow
def test_decoding_and_detection_apart_find_the_same_faces(
    ray: None, preprocessed_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As they are where there is a GPU; torch knows the CPU by this name, too.
    monkeypatch.setattr(detect, "pick_device", lambda _: "cpu:0")
    extract, apart = detect.extract, tmp_path / "apart"

    def marked(videos: pa.Table, settings: Preprocess) -> Iterator[pa.Table]:
        apart.touch()
        yield from extract(videos, settings)

    monkeypatch.setattr(detect, "extract", marked)
    expected = faces_of(preprocessed_run)
    good = [row for row in expected if row["status"] == Status.OK]
    expected = [row for row in expected if row not in good[4:]]
    names = [row["video_id"] for row in expected]
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(preprocessed_run / "config.yaml", run)
    manifest = read_table(str(preprocessed_run), "manifest")
    write_manifest(str(run), manifest.filter(pc.is_in(manifest.column("video_id"), pa.array(names))))
    assert main(["preprocess", "--run", str(run)]) == 0
    assert apart.exists()
    assert faces_of(run) == expected


@pytest.mark.parametrize(
    ("frames", "better"),
    [
        ((40, 8, 16), ""),
        ((6, 3, 3), ""),
        ((1, 1, 16), ""),
        ((10, 4, 8), "multiples of 4 avoid that: frames_real=8, frames_fake=4, frames_unlabelled=8"),
        ((41, 8, 16), "multiples of 8 avoid that: frames_real=40, frames_fake=8, frames_unlabelled=16"),
    ],
)
def test_numbers_of_frames_that_leave_little_to_follow_are_told(frames: tuple[int, int, int], better: str) -> None:
    from dfd_ray.pipelines.preprocess import judge_combs

    names = ("frames_real", "frames_fake", "frames_unlabelled")
    remark = judge_combs(Preprocess(**dict(zip(names, frames, strict=True))))  # type: ignore[arg-type]
    assert remark.endswith(better)
    assert bool(remark) == bool(better)


@pytest.mark.parametrize(("rotation", "size"), [(0, (64, 48)), (90, (48, 64)), (180, (64, 48)), (270, (48, 64))])
def test_the_size_of_a_video_is_what_a_player_shows(rotation: int, size: tuple[int, int]) -> None:
    picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24").reformat(format="yuv420p")
    frame = replace(Frame.from_decoded(picture, 0, 0.0), rotation=rotation)
    video = {"video_id": "a.mp4", "status": Status.OK, "seconds_spent": 0.0, "width": 64, "height": 48}
    row = detect.Detect(Preprocess(), "cpu").detect_row(video, [frame])
    assert (row["width"], row["height"]) == size
    assert row["status"] == Status.NO_FACE


def test_videos_that_are_face_crops_already_are_told() -> None:
    from dfd_ray.pipelines.preprocess import describe_crops

    def video(name: str, size: tuple[int, int], *faces: tuple[float, float]) -> dict[str, Any]:
        boxes = [{"box": [10.0, 10.0, 10.0 + width, 10.0 + height]} for width, height in faces]
        return {"video_id": name, "width": size[0], "height": size[1], "faces": boxes}

    faces = pa.list_(pa.struct([("box", pa.list_(pa.float32(), 4))]))
    schema = pa.schema([("video_id", pa.string()), ("width", pa.int32()), ("height", pa.int32()), ("faces", faces)])
    usual = [
        video("scene.mp4", (1920, 1080), (200, 260)),
        video("portrait.mp4", (720, 1280), (450, 560)),
        video("nobody.mp4", (640, 480)),
        video("near.mp4", (640, 480), (330, 400), (150, 200), (150, 200)),
    ]
    assert describe_crops(pa.Table.from_pylist(usual, schema=schema)) == []
    assert describe_crops(pa.Table.from_pylist(usual[2:3], schema=schema)) == []
    [note] = describe_crops(pa.Table.from_pylist([*usual, video("crop.mp4", (256, 256), (160, 170))], schema=schema))
    assert note.startswith("face crops already? In 1 of 4 videos, such as 'crop.mp4', the face fills more than half")
