"""The faces that the map and the cluster sheets show: few enough for a page, evenly chosen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfd_ray.report.data import RunData, spread
from dfd_ray.report.images import Sprites, make_sprites
from dfd_ray.tables import iterate_batches

NOISE = -1
FACES_PER_SHEET = 24
SPRITE_BUDGET = 4_000_000
"""Characters of all thumbnails of the map."""


@dataclass(frozen=True)
class ClusterSheet:
    """One of the largest clusters."""

    cluster: int
    faces: int
    videos: int
    labels: dict[str, int]
    rows: list[int]
    """Which of the chosen points are shown."""


@dataclass(frozen=True)
class Points:
    """The chosen faces, column by column."""

    total: int
    """Faces in the table."""
    columns: dict[str, list[Any]]
    """`video_id`, `frame_index`, `label`, `cluster`, `x`, `y`, `z`, `pca` (three scores)."""
    drawn: int
    """The first `drawn` points are in the scatter; the others only in the sheets."""
    sprites: Sprites
    sheets: list[ClusterSheet]


def choose_points(data: RunData) -> Points | None:
    """Return the points of a run's map, or None where there is none; two passes over the table, one of them small."""
    if not data.projection_files:
        return None
    facts = read(data, ["video_id", "cluster", "label"])
    cluster = facts.column("cluster").to_numpy()
    drawn = sample_by_cluster(cluster, data.config.report.max_points)
    largest = [one for one, _ in Counter(cluster[cluster != NOISE].tolist()).most_common(data.config.report.clusters)]
    members = {one: np.flatnonzero(cluster == one) for one in largest}
    shown = {one: rows[spread(len(rows), FACES_PER_SHEET)] for one, rows in members.items()}
    extra = np.setdiff1d(np.concatenate([np.empty(0, np.int64), *shown.values()]), drawn)
    chosen = np.concatenate([drawn, extra])
    place = {int(row): position for position, row in enumerate(chosen)}
    sheets = [
        ClusterSheet(
            cluster=one,
            faces=len(members[one]),
            videos=len(facts.column("video_id").take(members[one]).unique()),
            labels=dict(Counter(label or "unlabelled" for label in facts.column("label").take(members[one]).to_pylist())),
            rows=[place[int(row)] for row in shown[one]],
        )
        for one in largest
    ]
    table = read_rows(data, chosen)
    columns = {name: table.column(name).to_pylist() for name in ("video_id", "frame_index", "label", "cluster", "x", "y", "z")}
    columns["pca"] = [scores[:3] for scores in table.column("pca").to_pylist()]
    sprites = make_sprites(table.column("thumbnail").to_pylist(), SPRITE_BUDGET)
    return Points(len(cluster), columns, len(drawn), sprites, sheets)


def sample_by_cluster(cluster: npt.NDArray[np.int32], limit: int) -> npt.NDArray[np.int64]:
    """Return at most about `limit` positions, the same share of every cluster and of the noise, at least one of each."""
    if len(cluster) <= limit:
        return np.arange(len(cluster))
    share = limit / len(cluster)
    groups = [np.flatnonzero(cluster == one) for one in np.unique(cluster)]
    return np.sort(np.concatenate([rows[spread(len(rows), max(1, int(len(rows) * share)))] for rows in groups]))[:limit]


def read(data: RunData, columns: list[str]) -> pa.Table:
    """Return columns of the whole projection, in the order of its files."""
    return pa.concat_tables(iterate_batches(data.run, "projection", columns, 4096, data.projection_files))


def read_rows(data: RunData, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Return whole rows of the projection, by position, without holding others."""
    order = np.argsort(rows, kind="stable")
    ascending, start, parts = rows[order], 0, []
    for batch in iterate_batches(data.run, "projection", None, 1024, data.projection_files):
        inside = ascending[(ascending >= start) & (ascending < start + len(batch))]
        parts.append(batch.take(pa.array(inside - start)))
        start += len(batch)
    return pa.concat_tables(parts).take(pa.array(np.argsort(order, kind="stable")))
