"""The faces that the map and the cluster sheets show, evenly chosen and few enough for a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.arrays import Int32Array, Int64Array
from dfd_ray.labels import NOISE
from dfd_ray.report.data import RunData, count_labels, space_evenly
from dfd_ray.report.images import Sprites, decode_square, make_sprites, tile_pictures, to_uri
from dfd_ray.store.tables import iterate_batches

POINT_COLUMNS = ["video_id", "frame_index", "face_index", "label", "cluster", "x", "y", "z", "pca", "thumbnail"]
PICTURES = 6000
"""Most points of the map with a picture. With more, a browser has too many pixels to decode."""
SPRITE_BUDGET = 4_000_000
"""Characters of all pictures of the map."""
SHEET_ROWS, SHEET_COLUMNS = 3, 8
SHEET_PIXELS, SHEET_QUALITY = 64, 75
PORTRAITS = 8
"""Most faces of a video that its row in the table of videos shows."""


@dataclass(frozen=True)
class ClusterSheet:
    """One of the largest clusters, as a picture of some of its faces."""

    cluster: int
    faces: int
    videos: int
    labels: dict[str, int]
    shown: int
    uri: str


@dataclass(frozen=True)
class Portrait:
    """A face of a video."""

    frame_index: int
    face_index: int
    image: bytes | None


@dataclass(frozen=True)
class Points:
    """The faces of the map, column by column, and the sheets of the largest clusters."""

    total: int
    """Faces in the table."""
    clusters: int
    noise: int
    """Faces in no cluster."""
    table: pa.Table
    """`POINT_COLUMNS` but the thumbnail, a row per drawn face."""
    pictured: Int64Array
    """Rows with a picture. Number n of them is sprite n."""
    sprites: Sprites
    sheets: list[ClusterSheet]
    portraits: dict[str, list[Portrait]]
    """Some faces, evenly chosen, of the videos asked for."""


def choose_points(data: RunData, limit: int, sheets: int, videos: Sequence[str] = ()) -> Points | None:
    """Return at most `limit` points of a run's map, `sheets` cluster sheets and faces of `videos`, or None if there is no map.

    The table is read twice: once without its pictures, and once more for the chosen rows.
    """
    if not data.projection_files:
        return None
    batches = iterate_batches(data.run, "projection", ["video_id", "cluster", "label"], 4096, data.projection_files)
    facts = pa.concat_tables(batches)
    cluster = facts.column("cluster").fill_null(NOISE).to_numpy()
    sizes = Counter(cluster[cluster != NOISE].tolist())
    members = {one: np.flatnonzero(cluster == one) for one, _ in sizes.most_common(sheets)}
    drawn = sample_by_cluster(cluster, limit)
    shown = {one: rows[space_evenly(len(rows), SHEET_ROWS * SHEET_COLUMNS)] for one, rows in members.items()}
    of_videos = find_portraits(facts.column("video_id"), videos)
    chosen = np.unique(np.concatenate([drawn, *shown.values(), *of_videos.values()]))
    table = pa.concat_tables(take_rows(data, chosen))
    thumbnails = table.column("thumbnail").to_pylist()
    points = table.drop_columns("thumbnail").take(pa.array(np.searchsorted(chosen, drawn)))
    pictured = space_evenly(len(drawn), PICTURES)
    return Points(
        total=len(cluster),
        clusters=len(sizes),
        noise=int((cluster == NOISE).sum()),
        table=points,
        pictured=pictured,
        sprites=make_sprites([thumbnails[i] for i in np.searchsorted(chosen, drawn[pictured])], SPRITE_BUDGET),
        sheets=[
            make_sheet(one, facts.take(pa.array(rows)), [thumbnails[i] for i in np.searchsorted(chosen, shown[one])])
            for one, rows in members.items()
        ],
        portraits={
            video: make_portraits(table.take(pa.array(np.searchsorted(chosen, rows)))) for video, rows in of_videos.items()
        },
    )


def find_portraits(names: pa.ChunkedArray, videos: Sequence[str]) -> dict[str, Int64Array]:
    """Return the positions of at most `PORTRAITS` faces of each video, evenly chosen, of those that have some."""
    number = pc.fill_null(pc.index_in(names, value_set=pa.array(videos, pa.string())), -1).to_numpy()
    found = np.flatnonzero(number >= 0)
    rows = {video: found[number[found] == i] for i, video in enumerate(videos)}
    return {video: own[space_evenly(len(own), PORTRAITS)] for video, own in rows.items() if len(own)}


def make_portraits(faces: pa.Table) -> list[Portrait]:
    """Return rows of the projection as portraits, in the order of the frames."""
    columns = (faces.column(name).to_pylist() for name in ("frame_index", "face_index", "thumbnail"))
    return sorted((Portrait(*row) for row in zip(*columns, strict=True)), key=lambda one: (one.frame_index, one.face_index))


def sample_by_cluster(cluster: Int32Array, limit: int) -> Int64Array:
    """Return at most `limit` positions, ascending: every cluster (and the noise) keeps its share, evenly spaced.

    Places left over by rounding go first to clusters that would have none, the largest first.
    """
    if len(cluster) <= limit:
        return np.arange(len(cluster))
    order = np.argsort(cluster, kind="stable")
    _, starts, sizes = np.unique(cluster[order], return_index=True, return_counts=True)
    exact = sizes * limit / len(cluster)
    quota = np.floor(exact).astype(np.int64)
    left_over = limit - int(quota.sum())
    by_need = np.lexsort((-sizes, -(exact - quota), quota > 0))
    quota[by_need[:left_over]] += 1
    parts = [start + space_evenly(size, share) for start, size, share in zip(starts, sizes, quota, strict=True)]
    return np.sort(order[np.concatenate(parts)])


def take_rows(data: RunData, rows: Int64Array) -> Iterator[pa.Table]:
    """Yield rows of the projection by their positions, ascending, without holding others."""
    start = 0
    for batch in iterate_batches(data.run, "projection", POINT_COLUMNS, 1024, data.projection_files):
        first, last = np.searchsorted(rows, [start, start + len(batch)])
        yield batch.take(pa.array(rows[first:last] - start))
        start += len(batch)


def make_sheet(cluster: int, facts: pa.Table, thumbnails: Sequence[bytes | None]) -> ClusterSheet:
    """Return the sheet of a cluster from `video_id` and `label` of all its faces and the pictures of some."""
    pictures = [decode_square(data, SHEET_PIXELS) for data in thumbnails]
    return ClusterSheet(
        cluster=cluster,
        faces=len(facts),
        videos=len(facts.column("video_id").unique()),
        labels=count_labels(facts),
        shown=len(pictures),
        uri=to_uri(tile_pictures(pictures, SHEET_COLUMNS), SHEET_QUALITY),
    )


def make_map_island(points: Points, probability: dict[str, object]) -> dict[str, Any]:
    """Return what the map draws, ready for JSON: columns with one entry per point, and each video's name once.

    `probability` of FAKE by video. Missing numbers are None. A point without a picture has sprite -1.
    """
    table = points.table
    names = table.column("video_id").combine_chunks().dictionary_encode()
    videos = names.dictionary.to_pylist()
    sprite = np.full(len(table), -1)
    sprite[points.pictured] = np.arange(len(points.pictured))
    return {
        "videos": videos,
        "video": names.indices.to_pylist(),
        "frame": table.column("frame_index").to_pylist(),
        "label": table.column("label").to_pylist(),
        "cluster": table.column("cluster").fill_null(NOISE).to_pylist(),
        "probability": [probability.get(video) for video in videos],
        "tsne": [axis for name in "xyz" if (axis := round_coordinates(table.column(name).to_pylist())) is not None],
        "pca": list_principal_axes(table.column("pca").to_pylist()),
        "sprite": sprite.tolist(),
        "sheets": points.sprites.sheets,
        "cell": points.sprites.cell,
        "columns": points.sprites.columns,
    }


def list_principal_axes(scores: Sequence[Sequence[float] | None]) -> list[list[float | None]]:
    """Return the first three components, or as many as there are, one list per component."""
    count = min((len(row) for row in scores if row), default=0)
    axes = (round_coordinates([row[i] if row else None for row in scores]) for i in range(min(count, 3)))
    return [axis for axis in axes if axis is not None]


def round_coordinates(values: Sequence[float | None]) -> list[float | None] | None:
    """Return numbers rounded to a ten-thousandth of their range, which is not visible, or None if there are none."""
    numbers = np.array(values, np.float64)
    known = np.isfinite(numbers)
    if not known.any():
        return None
    span = np.ptp(numbers[known]) or 1.0
    digits = max(0, 4 - int(np.floor(np.log10(span))))
    return [round(float(value), digits) if ok else None for value, ok in zip(numbers, known, strict=True)]
