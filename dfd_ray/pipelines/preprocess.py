"""preprocess: from the manifest to the faces of every video.

    manifest ──read──▶ extract (tasks, CPU) ──YUV planes──▶ detect (actors, GPU or CPU) ──▶ faces/

A video is one row from end to end. What cannot be read becomes a row that says why.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa

from dfd_ray.config import Config, Preprocess
from dfd_ray.errors import Reason, Stage, Status, VideoError
from dfd_ray.faces.crop import cut_face, encode_jpeg
from dfd_ray.faces.detector import FaceDetector, Faces
from dfd_ray.pipelines.cluster import actors, check_placeable, ray_session, tasks, torch_device
from dfd_ray.pipelines.resume import check_whole, is_complete, read_rows, resumable, write_rows
from dfd_ray.pipelines.summary import Summary, count_statuses, elapsed
from dfd_ray.storage import absolute_uri, join, open_location
from dfd_ray.tables import SCHEMAS, read_table, with_metadata
from dfd_ray.video import Frame, decode_video

FRAMES_AT_ONCE = {"cpu": 1, "cuda": 16}
"""Frames the detector takes in one call: batches gain nothing on a CPU (its caches are full) and fill a GPU."""

PLANES = pa.struct(
    [
        ("index", pa.int64()),
        ("time", pa.float64()),
        ("planes", pa.large_binary()),
        ("pixel_format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("rotation", pa.int32()),
        ("colorspace", pa.int32()),
        ("color_range", pa.int32()),
    ]
)
"""A `Frame` on its way from `extract` to `detect`."""

EXTRACTED = pa.schema([field for field in SCHEMAS["faces"] if field.name != "faces"]).append(
    pa.field("frames", pa.list_(PLANES))
)


def preprocess(config: Config) -> Summary:
    """Write `faces/`: one row per video of the manifest, its faces nested."""
    started = time.monotonic()
    run = cast(str, config.run)
    if is_complete(run, "faces", config):
        return summarise(config, started, note="already complete; nothing done")
    schema = with_metadata(SCHEMAS["faces"], "faces", config)
    columns = ["video_id", "uri", "label", "group", "fold"]
    with ray_session(config), resumable(run, "faces"):
        check_placeable("extract", config.resources.extract)
        check_placeable("detect", config.resources.detect)
        videos = read_rows(run, "manifest", columns, config.resources.videos_per_task)
        videos = videos.map_batches(
            extract,
            fn_kwargs={"settings": config.preprocess},
            batch_format="pyarrow",
            batch_size=config.resources.videos_per_task,
            **tasks(config.resources.extract),
        )
        videos = videos.map_batches(
            Detect,
            fn_constructor_args=(config.preprocess, torch_device(config.resources.detect)),
            batch_format="pyarrow",
            batch_size=1,
            **actors(config.resources.detect),
        )
        write_rows(videos, run, "faces", schema, config.resources.videos_per_file)
        check_whole(run, "faces")
    return summarise(config, started)


def extract(videos: pa.Table, settings: Preprocess) -> Iterator[pa.Table]:
    """Decode the sampled frames of each video; one row in, one row out, in blocks of one video.

    In: `video_id`, `uri`, `label`, `group`, `fold`. Out: `EXTRACTED`, about 3 MB a frame of 1080p. Never raises for a video.
    """
    for video in videos.to_pylist():
        started = time.monotonic()
        row: dict[str, Any] = {name: video[name] for name in ("video_id", "label", "group", "fold")}
        try:
            row |= decode_row(video["uri"], frames_wanted(video["label"], settings), settings)
        except VideoError as error:
            row |= {"status": Status.ERROR, "error_stage": error.stage, "error": str(error), "frames": []}
        row["seconds_spent"] = time.monotonic() - started
        yield pa.Table.from_pylist([row], schema=EXTRACTED)


def decode_row(uri: str, count: int, settings: Preprocess) -> dict[str, Any]:
    """Return the columns that decoding a video fills in; VideoError when it cannot be read."""
    try:
        with open_source(uri) as source:
            video = decode_video(
                source,
                count,
                containers=settings.containers,
                max_pixels=settings.max_pixels,
                max_packets=settings.max_packets,
                deadline=settings.video_deadline,
            )
    except VideoError:
        raise
    except Exception as error:  # a decoder's surprise costs one video, not the job
        raise VideoError(Stage.DECODE, Reason.BROKEN_STREAM, f"{type(error).__name__}: {error}") from error
    stream = video.stream
    return {
        "status": Status.OK,
        "width": stream.width,
        "height": stream.height,
        "fps": stream.fps,
        "frame_count": stream.frame_count,
        "codec": stream.codec,
        "frames": [frame_to_row(frame) for frame in video.frames],
    }


class Detect:
    """Find and cut out the faces; an actor that keeps the nets.

    In: `EXTRACTED`. Out: the schema of `faces/`, one row per row. Never raises for a video.
    """

    def __init__(self, settings: Preprocess, device: str) -> None:
        import torch

        torch.set_num_threads(1)  # one core an actor: many processes beat threads inside one
        self.settings = settings
        self.device = device
        self.detector = FaceDetector(device, settings.smallest_face)

    def __call__(self, videos: pa.Table) -> pa.Table:
        """Detect the faces of some videos."""
        return pa.Table.from_pylist([self.detect_row(video) for video in videos.to_pylist()], schema=SCHEMAS["faces"])

    def detect_row(self, video: dict[str, Any]) -> dict[str, Any]:
        """Return a row of `faces/` for a row of `EXTRACTED`."""
        started = time.monotonic()
        frames = [frame_from_row(row) for row in video.pop("frames")]
        try:
            video["faces"] = self.find_faces(frames)
        except Exception as error:  # one odd video must not end the job
            detail = f"{Reason.DETECTOR}: {type(error).__name__}: {error}"
            return video | {"status": Status.ERROR, "error_stage": Stage.DETECT, "error": detail, "faces": []}
        if video["status"] == Status.OK and not video["faces"]:
            video["status"] = Status.NO_FACE
        if frames:
            # What a player shows: a picture turned by a quarter swaps its sides.
            sides = (frames[0].width, frames[0].height)
            video["width"], video["height"] = sides[::-1] if frames[0].rotation % 180 else sides
        video["seconds_spent"] += time.monotonic() - started
        return video

    def find_faces(self, frames: list[Frame]) -> list[dict[str, Any]]:
        """Return the faces of a video's frames, in the order of the frames."""
        step = FRAMES_AT_ONCE[self.device]
        rows: list[dict[str, Any]] = []
        for i in range(0, len(frames), step):
            pictures = [frame.to_rgb() for frame in frames[i : i + step]]
            for frame, picture, found in zip(frames[i : i + step], pictures, self.detector.detect(pictures), strict=True):
                rows += cut_faces(frame, picture, found, self.settings)
        return rows


def frames_wanted(label: str | None, settings: Preprocess) -> int:
    """Return how many frames to sample: REAL videos give more, to balance that there are fewer of them."""
    return {"REAL": settings.frames_real, "FAKE": settings.frames_fake}.get(label or "", settings.frames_unlabelled)


def cut_faces(frame: Frame, picture: np.ndarray, found: Faces, settings: Preprocess) -> list[dict[str, Any]]:
    """Return the rows of a frame's faces: those probable enough, the most probable first, up to the number wanted."""
    rows: list[dict[str, Any]] = []
    for box, landmarks, probability in zip(found.boxes, found.landmarks, found.probabilities, strict=True):
        if probability < settings.min_probability or len(rows) == settings.faces_per_frame:
            break
        image = cut_face(picture, box, settings.margin, settings.crop_size)
        if image is not None:
            rows.append(
                {
                    "frame_index": frame.index,
                    "time": frame.time,
                    "face_index": len(rows),
                    "box": box.tolist(),
                    "landmarks": landmarks.ravel().tolist(),
                    "probability": float(probability),
                    "image": encode_jpeg(image, settings.jpeg_quality),
                }
            )
    return rows


def frame_to_row(frame: Frame) -> dict[str, Any]:
    """Return a frame as a value of `PLANES`."""
    return {field.name: getattr(frame, field.name) for field in PLANES} | {"planes": frame.planes.tobytes()}


def frame_from_row(row: dict[str, Any]) -> Frame:
    """Return the frame that `frame_to_row` was given."""
    return Frame(**(row | {"planes": np.frombuffer(row["planes"], np.uint8)}))


@contextmanager
def open_source(uri: str) -> Iterator[str | BinaryIO]:
    """Yield what the decoder reads: a local path, or an open file of object storage."""
    if "://" not in uri:
        yield uri
        return
    filesystem, path = open_location(uri)
    try:
        file = filesystem.open_input_file(path)
    except FileNotFoundError:
        raise VideoError(Stage.OPEN, Reason.MISSING) from None
    except OSError as error:
        raise VideoError(Stage.OPEN, Reason.UNREADABLE, str(error)) from None
    with file:
        yield cast(BinaryIO, file)


def summarise(config: Config, started: float, note: str = "") -> Summary:
    """Count what the table holds, and the balance of REAL and FAKE faces that the sampling gave."""
    run = cast(str, config.run)
    table = read_table(run, "faces", ["label", "status", "error", "seconds_spent", "faces.list.element.face_index"])
    faces = {"REAL": 0, "FAKE": 0, "unlabelled": 0}
    for label, found in zip(table.column("label").to_pylist(), table.column("faces"), strict=True):
        faces[label or "unlabelled"] += len(found)
    summary = Summary(
        job="preprocess",
        table=absolute_uri(join(run, "faces")),
        seconds=elapsed(started),
        notes=[note] if note else [],
        details={"faces": faces, "seconds_of_work": round(sum(table.column("seconds_spent").to_pylist()), 1)},
    )
    return count_statuses(summary, table)
