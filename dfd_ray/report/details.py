"""What a row of the table of videos opens to: its faces, their probabilities, and where the classifiers look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import expit

from dfd_ray.arrays import Float64Array, Int64Array
from dfd_ray.report.data import ROWS_AT_ONCE, RunData, space_evenly
from dfd_ray.report.images import decode_square, reencode_base64, to_uri
from dfd_ray.report.points import Portrait
from dfd_ray.store.tables import flatten_faces, iterate_batches

FACES_DRAWN = 160
"""Most faces of a video that its chart shows."""
PORTRAIT_PIXELS, PORTRAIT_QUALITY = 72, 72
HEAT_PIXELS, HEAT_FACES = 120, 3
REASON_LENGTH = 300
"""Most characters of a decoder's message that are shown."""


@dataclass(frozen=True)
class Curve:
    """The probability of FAKE of each face of a video, before calibration, in the order of the frames."""

    frames: list[int] | None
    """The frame of each face; None where the faces are not kept, as in a folder of `predict`."""
    faces: list[int] | None
    """Its number within the frame."""
    probabilities: list[float]


def read_curves(data: RunData, videos: Sequence[str]) -> dict[str, Curve]:
    """Return the curve of each of these videos that was scored. The tables are read in batches, without pictures.

    A video whose number of scores is not its number of faces has no curve: its faces were found again after scoring.
    """
    wanted = pa.array(videos, pa.string())
    places = read_places(data, wanted)
    found = {}
    for batch in iterate_batches(data.run, "scores", ["video_id", "status", "log_odds"], ROWS_AT_ONCE, data.score_files):
        chosen = pc.and_(pc.is_in(batch.column("video_id"), value_set=wanted), pc.equal(batch.column("status"), "ok"))
        for row in batch.filter(chosen).to_pylist():
            place = places.get(row["video_id"])
            chances = expit(np.array(row["log_odds"], np.float64))
            if len(chances) and np.isfinite(chances).all() and (place is None or len(place) == len(chances)):
                found[row["video_id"]] = make_curve(chances, place)
    return found


def read_places(data: RunData, wanted: pa.Array) -> dict[str, Int64Array]:
    """Return the frame and the number of each face (n, 2) of the wanted videos, from the files that hold them."""
    if data.outcomes is None:
        return {}
    holding = data.outcomes.filter(pc.is_in(data.outcomes.column("video_id"), value_set=wanted))
    files = [data.face_files[number] for number in sorted(set(holding.column("file").to_pylist()))]
    columns = ["video_id", "faces.list.element.frame_index", "faces.list.element.face_index"]
    found: dict[str, Int64Array] = {}
    for batch in iterate_batches(data.run, "faces", columns, ROWS_AT_ONCE, files):
        rows = batch.filter(pc.is_in(batch.column("video_id"), value_set=wanted))
        flat = flatten_faces(rows)
        both = np.column_stack([flat.column(name).to_numpy() for name in ("frame_index", "face_index")])
        ends = np.cumsum(pc.list_value_length(rows.column("faces")).to_numpy())
        found |= zip(rows.column("video_id").to_pylist(), np.split(both, ends[:-1]), strict=True)
    return found


def make_curve(chances: Float64Array, place: Int64Array | None) -> Curve:
    """Return the curve of a video's faces, with at most FACES_DRAWN faces, evenly chosen."""
    chosen = space_evenly(len(chances), FACES_DRAWN)
    frames, faces = (None, None) if place is None else place[chosen].T.tolist()
    return Curve(frames, faces, np.round(chances[chosen], 3).tolist())


def read_heat(data: RunData, videos: Sequence[str]) -> dict[str, list[list[int | str]]]:
    """Return frame, face and heat map, both as data: URIs, of the faces that were explained, by video."""
    wanted = set(videos)
    found: dict[str, list[list[int | str]]] = {}
    for one in data.explanations:
        if isinstance(one, dict) and one.get("video_id") in wanted:
            faces = zip(one.get("frames") or [], one.get("pictures") or [], strict=False)
            whole = [
                (frame, pair) for frame, pair in faces if isinstance(frame, int) and isinstance(pair, list) and len(pair) == 2
            ]
            found[one["video_id"]] = [
                [frame, *(reencode_base64(text, HEAT_PIXELS) for text in pair)] for frame, pair in whole[:HEAT_FACES]
            ]
    return {video: faces for video, faces in found.items() if faces}


def make_details_island(
    data: RunData, rows: pa.Table, pictured: int, portraits: dict[str, list[Portrait]]
) -> dict[str, Sequence[object] | int]:
    """Return what each row of the table opens to, column by column, ready for JSON. A missing value is None.

    Only the first `pictured` rows have pictures.
    """
    videos = rows.column("video_id").to_pylist()
    curves, heat = read_curves(data, videos), read_heat(data, videos[:pictured])
    reasons = {}
    if data.outcomes is not None:
        reasons = dict(zip(*(data.outcomes.column(name).to_pylist() for name in ("video_id", "error")), strict=True))
    drawn = [curves.get(video) for video in videos]
    return {
        "pictured": min(pictured, len(videos)),
        "frames": [curve and curve.frames for curve in drawn],
        "chances": [curve and curve.probabilities for curve in drawn],
        "faces": [show_portraits(portraits.get(video, []), curves.get(video)) for video in videos],
        "heat": [heat.get(video) for video in videos],
        "reason": [(reasons.get(video) or "")[:REASON_LENGTH] or None for video in videos],
    }


def show_portraits(portraits: list[Portrait], curve: Curve | None) -> list[list[object]] | None:
    """Return the frame, the probability of FAKE (None if unknown) and the picture of some faces of a video."""
    if not portraits:
        return None
    known: dict[tuple[int, int], float] = {}
    if curve and curve.frames and curve.faces:
        known = dict(zip(zip(curve.frames, curve.faces, strict=True), curve.probabilities, strict=True))
    return [
        [
            one.frame_index,
            known.get((one.frame_index, one.face_index)),
            to_uri(decode_square(one.image, PORTRAIT_PIXELS), PORTRAIT_QUALITY),
        ]
        for one in portraits
    ]
