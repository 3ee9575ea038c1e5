"""A few faces of a few videos, to check by eye: is it a face, and is the box in the right place?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.labels import LABELS
from dfd_ray.report.data import RunData, space_evenly
from dfd_ray.report.geometry import Overlay, place_on_crop
from dfd_ray.report.images import decode_square, to_uri
from dfd_ray.store.tables import iterate_batches

FACES_PER_VIDEO = 4
FACES_AT_MOST = 96
PIXELS = 200
QUALITY = 80
VIDEOS_AT_ONCE = 8
"""Rows read with their images: some 40 faces of 30 kB each, times this."""


class StoredFace(TypedDict):
    """What is read of a face in `faces/`."""

    frame_index: int
    box: list[float] | None
    landmarks: list[float] | None
    probability: float
    image: bytes


class StoredVideo(TypedDict):
    """What is read of a row of `faces/`."""

    video_id: str
    label: str | None
    width: int | None
    height: int | None
    faces: list[StoredFace]


@dataclass(frozen=True)
class SampleFace:
    """A crop, and where its box and landmarks are."""

    uri: str
    frame_index: int
    probability: float
    overlay: Overlay | None


@dataclass(frozen=True)
class SampleVideo:
    """A video and some of its faces."""

    video_id: str
    label: str | None
    face_count: int
    faces: list[SampleFace]


def sample_videos(data: RunData, limit: int) -> list[SampleVideo]:
    """Return faces of at most `limit` videos that have some, as many REAL as FAKE ones where there are enough.

    Only the files that hold the chosen videos are read, a few rows at a time.
    """
    if data.outcomes is None or not limit:
        return []
    chosen = choose_videos(data.outcomes, limit)
    wanted = chosen.column("video_id").combine_chunks()
    per_video = max(1, min(FACES_PER_VIDEO, FACES_AT_MOST // max(len(chosen), 1)))
    files = [data.face_files[number] for number in sorted(set(chosen.column("file").to_pylist()))]
    columns = ["video_id", "label", "width", "height", "faces"]
    found: dict[str, SampleVideo] = {}
    for batch in iterate_batches(data.run, "faces", columns, VIDEOS_AT_ONCE, files):
        for row in batch.filter(pc.is_in(batch.column("video_id"), value_set=wanted)).to_pylist():
            found[row["video_id"]] = sample_video(row, data.margin, per_video)
    return [found[name] for name in wanted.to_pylist() if name in found]


def choose_videos(outcomes: pa.Table, limit: int) -> pa.Table:
    """Return at most `limit` rows of videos with faces, evenly spaced in each class, REAL and FAKE alternating."""
    has_face = np.asarray(outcomes.column("face_count")) > 0
    labels = np.array(outcomes.column("label").to_pylist(), dtype=object)
    classes = [np.flatnonzero(has_face & (labels == name)) for name in LABELS]
    rest = np.flatnonzero(has_face & ~np.isin(labels, LABELS))
    real = min(len(classes[0]), max(limit // 2, limit - len(classes[1])))
    shares = [real, min(len(classes[1]), limit - real)]
    picked = [rows[space_evenly(len(rows), share)].tolist() for rows, share in zip(classes, shares, strict=True)]
    turns = [row for pair in zip(*picked, strict=False) for row in pair]
    shortest = min(map(len, picked))
    turns += picked[0][shortest:] + picked[1][shortest:]
    turns += rest[space_evenly(len(rest), limit - len(turns))].tolist()
    return outcomes.take(pa.array(turns, pa.int64()))


def sample_video(row: StoredVideo, margin: float, limit: int) -> SampleVideo:
    """Return a row of `faces/` with at most `limit` of its faces, evenly spaced."""
    faces = row["faces"]
    chosen = [faces[i] for i in space_evenly(len(faces), limit)]
    return SampleVideo(
        video_id=row["video_id"],
        label=row["label"],
        face_count=len(faces),
        faces=[sample_face(face, margin, row["width"], row["height"]) for face in chosen],
    )


def sample_face(face: StoredFace, margin: float, width: int | None, height: int | None) -> SampleFace:
    """Return one face, made small, with its overlay if the size of its frame is known."""
    box, landmarks = face["box"], face["landmarks"]
    known = width and height and box and landmarks
    return SampleFace(
        uri=to_uri(decode_square(face["image"], PIXELS), QUALITY),
        frame_index=face["frame_index"],
        probability=face["probability"],
        overlay=place_on_crop(box or [], landmarks or [], margin, width or 0, height or 0) if known else None,
    )
