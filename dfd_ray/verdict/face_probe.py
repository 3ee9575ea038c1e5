"""Probe whether the stored faces give the label away without their pictures: by their geometry and their encoding.

How a frame is chosen, searched, cropped and encoded must not depend on the label. Where it does, this probe can find it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.arrays import AnyArray, Float64Array
from dfd_ray.config import Config
from dfd_ray.store.tables import flatten_faces, iterate_batches
from dfd_ray.verdict.video_probability import find_list_ends, list_judged_frames

HEADER_BYTES = 1024
"""Bytes of a JPEG that hold its quantisation tables and its size: of ours 623."""
QUANTISATION, FRAME_HEADERS, SCAN = 0xDB, (0xC0, 0xC1, 0xC2), 0xDA
"""Markers of a JPEG's segments (ITU-T T.81, table B.1)."""


def measure_faces(config: Config, run: str, video_ids: pa.ChunkedArray) -> Float64Array:
    """Return the geometry and the encoding of the faces that count of each video, (n, k) float64; NaN where there is none.

    The rows are in the order of `video_ids` (n,), each of which `faces/` holds.
    """
    ids = video_ids.combine_chunks()
    found: dict[str, Float64Array] = {}
    for videos in iterate_batches(run, "faces", ["video_id", "sampled", "faces"]):
        videos = videos.filter(pc.is_in(videos.column("video_id"), value_set=ids))
        found |= zip(videos.column("video_id").to_pylist(), measure_batch(config, videos), strict=True)
    return np.stack([found[video_id] for video_id in ids.to_pylist()])


def measure_batch(config: Config, videos: pa.Table) -> Iterator[Float64Array]:
    """Yield the facts (k,) of the faces of each row of `faces/`."""
    faces = flatten_faces(videos)
    facts, times = describe_faces(faces), read_numbers(faces, "time")
    places = pc.fill_null(faces.column("frame_index"), -1).to_numpy()
    first = read_numbers(faces, "face_index") == 0
    ends = find_list_ends(videos.column("faces"))
    combs = videos.column("sampled").to_pylist() if "sampled" in videos.column_names else [None] * len(videos)
    for start, end, sampled in zip([0, *ends[:-1]], ends, combs, strict=True):
        own = np.arange(start, end)
        judged = list_judged_frames(sampled, places[own], config)
        own = own[np.isin(places[own], judged)]
        own = own[np.argsort(places[own], kind="stable")]
        followed = own[first[own]]
        steps = np.abs(np.diff(facts[followed, :4], axis=0)).mean(axis=1)
        counts = [len(judged) if sampled is not None else np.nan, len(np.unique(places[own])), len(own)]
        gaps = [summarise(np.diff(np.unique(values[own]))) for values in (places, times)]
        span = summarise(times[own])
        yield np.concatenate([counts, summarise(facts[own]), *gaps, span, summarise(steps)])


def describe_faces(faces: pa.Table) -> Float64Array:
    """Return, for each face, its box, size and landmarks, and the bytes and the header of its crop, (n, 21) float64."""
    box, landmarks = (read_lists(faces, name, size) for name, size in (("box", 4), ("landmarks", 10)))
    size = box[:, 2:] - box[:, :2]
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = (landmarks.reshape(-1, 5, 2) - box[:, None, :2]) / size[:, None]
    images = faces.column("image").combine_chunks()
    length = pc.binary_length(images).cast(pa.float64()).to_numpy(zero_copy_only=False)
    headers = [read_header(image[:HEADER_BYTES].tobytes()) for image in view_bytes(images)]
    table = np.hstack([box, size, inside.reshape(-1, 10), length[:, None], np.reshape(headers, (-1, 4))])
    return np.where(np.isfinite(table), table, np.nan)


def view_bytes(images: pa.Array) -> Iterator[memoryview]:
    """Yield the bytes of each image, without a copy; of a null, none."""
    for image in images:
        yield memoryview(image.as_buffer() if image.is_valid else b"")


def read_header(start: bytes) -> tuple[float, float, float, float]:
    """Return height, width, sampling of the colours and sum of the quantisation tables of a JPEG; NaN where it has none."""
    height = width = sampling = np.nan
    quantisation, place = 0.0, 2
    while place + 4 <= len(start) and start[place] == 0xFF and start[place + 1] != SCAN:
        length = int.from_bytes(start[place + 2 : place + 4], "big")
        segment = start[place + 4 : place + 2 + length]
        if start[place + 1] == QUANTISATION:
            quantisation += sum(segment)
        if start[place + 1] in FRAME_HEADERS and len(segment) >= 6:
            height, width = (float(int.from_bytes(segment[i : i + 2], "big")) for i in (1, 3))
            sampling = float(sum(segment[7::3]))
        place += 2 + length
    return height, width, sampling, quantisation


def read_numbers(faces: pa.Table, name: str) -> Float64Array:
    """Return a column of numbers (n,), NaN for null."""
    return np.asarray(faces.column(name).cast(pa.float64()).to_numpy(), np.float64)


def read_lists(faces: pa.Table, name: str, size: int) -> Float64Array:
    """Return a column of lists of `size` numbers, (n, size)."""
    column = faces.column(name).combine_chunks()
    return np.asarray(column.values.to_numpy(), np.float64).reshape(-1, size)[column.offset : column.offset + len(column)]


def summarise(values: AnyArray) -> Float64Array:
    """Return mean, deviation, least and largest of each column of (n,) or (n, k) values, (4,) or (4 k,); NaN without values."""
    if not len(values):
        return np.full(4 * int(np.prod(values.shape[1:])), np.nan)
    return np.concatenate([np.atleast_1d(measure(values, axis=0)) for measure in (np.mean, np.std, np.min, np.max)])
