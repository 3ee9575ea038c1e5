"""extract: decoding, as a Ray Data stage of its own, so that its many workers load no network library."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa

from dfd_ray.config import Preprocess
from dfd_ray.errors import Reason, Stage, Status, VideoError
from dfd_ray.storage import open_location
from dfd_ray.tables import SCHEMAS
from dfd_ray.video import Frame, decode_video

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


def frames_wanted(label: str | None, settings: Preprocess) -> int:
    """Return how many frames to sample: REAL videos give more, to balance that there are fewer of them."""
    return {"REAL": settings.frames_real, "FAKE": settings.frames_fake}.get(label or "", settings.frames_unlabelled)


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
