"""The same footage in two folds: faces whose nearest neighbour is in another fold, and nearer than any of their video."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfd_ray.analysis.arrays import AnyArray, Float64Array, finite_matrix

ROWS = 512
"""Faces compared with all others at once: bounds the memory, ROWS x n doubles."""


@dataclass(frozen=True)
class Leak:
    """Two videos of different folds that look like the same footage.

    `faces` of the first video have their nearest neighbour in the second and none so near in their own; `ratio` is the
    smallest distance across over the distance within, below 1.
    """

    first: str
    second: str
    faces: int
    ratio: float


def find_leaks(
    points: npt.ArrayLike, videos: npt.ArrayLike, folds: npt.ArrayLike, sample: int = 10_000, seed: int = 0
) -> list[Leak]:
    """Find pairs of videos of different folds whose faces are nearer to each other than to their own video.

    `points` (n, d); `videos` (n,) names; `folds` (n,) of any comparable dtype. `sample` random faces are looked up, each
    among all others; one that is alone in its video has nothing to compare with and is left out. Exact duplicates count:
    the ratio is then 0. Most faces first, then the smallest ratio. A pair is named once, its videos in order.

    Raises ValueError if the points are not finite, the lengths differ, or `sample` is below 1.
    """
    matrix = finite_matrix(points, "points")
    names, video = np.unique(np.asarray(videos), return_inverse=True)
    _, fold = np.unique(np.asarray(folds), return_inverse=True)
    if not len(matrix) == len(video) == len(fold):
        raise ValueError(f"points, videos and folds differ in length: {len(matrix)}, {len(video)}, {len(fold)}")
    if sample < 1:
        raise ValueError(f"sample must be at least 1, got {sample}")
    chosen = np.arange(len(matrix))
    if len(matrix) > sample:
        chosen = np.sort(np.random.default_rng(seed).choice(len(matrix), sample, replace=False))
    found: dict[tuple[int, int], list[float]] = defaultdict(list)
    for start in range(0, len(chosen), ROWS):
        rows = chosen[start : start + ROWS]
        distances = _distances(matrix, rows)
        within = np.where(video[rows, None] == video, distances, np.inf).min(axis=1)
        across = np.where(fold[rows, None] != fold, distances, np.inf)
        nearest = across.argmin(axis=1)
        nearness = across[np.arange(len(rows)), nearest]
        for i in np.flatnonzero((nearness < within) & np.isfinite(within)):
            pair = sorted((int(video[rows[i]]), int(video[nearest[i]])))
            found[pair[0], pair[1]].append(float(nearness[i] / within[i]))
    leaks = [Leak(str(names[a]), str(names[b]), len(ratios), min(ratios)) for (a, b), ratios in found.items()]
    return sorted(leaks, key=lambda leak: (-leak.faces, leak.ratio, leak.first, leak.second))


def _distances(matrix: Float64Array, rows: AnyArray) -> Float64Array:
    """Return the distances (q, n) of some rows to all, infinite to themselves."""
    from sklearn.metrics.pairwise import euclidean_distances

    distances: Float64Array = euclidean_distances(matrix[rows], matrix)
    distances[np.arange(len(rows)), rows] = np.inf
    return distances
