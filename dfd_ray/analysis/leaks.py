"""The same footage in two folds: faces whose nearest neighbour is in another fold, and nearer than any of their video."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfd_ray.arrays import Float64Array, Int64Array, finite_matrix, sample_rows

MEMORY_MIB = 256
"""Of the distances that are held at once, however many faces there are."""


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
) -> tuple[list[Leak], int]:
    """Find pairs of videos of different folds whose faces are nearer to each other than to their own video.

    Returns them, and of how many faces that was looked up: those that have another of their video and one of another fold.

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
    chosen = sample_rows(len(matrix), sample, seed)
    if not len(chosen):
        return [], 0
    from sklearn.metrics import pairwise_distances_chunked

    def nearest(distances: Float64Array, start: int) -> tuple[Int64Array, Float64Array]:
        """Return the nearest face of another fold, and its distance over that of the nearest in the same video.

        The ratio is infinite where it is not below 1, and NaN where one of the two is missing.
        """
        rows = chosen[start : start + len(distances)]
        distances[np.arange(len(rows)), rows] = np.inf  # to themselves
        within = np.where(video[rows, None] == video, distances, np.inf).min(axis=1)
        distances[fold[rows, None] == fold] = np.inf
        other = distances.argmin(axis=1)
        across = distances[np.arange(len(rows)), other]
        compared = np.isfinite(across) & np.isfinite(within)
        return other, np.divide(across, within, out=np.where(compared, np.inf, np.nan), where=compared & (across < within))

    blocks = pairwise_distances_chunked(matrix[chosen], matrix, reduce_func=nearest, working_memory=MEMORY_MIB)
    others, ratios = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    found: dict[tuple[int, int], list[float]] = defaultdict(list)
    for i in np.flatnonzero(np.isfinite(ratios)):
        pair = sorted((int(video[chosen[i]]), int(video[others[i]])))
        found[pair[0], pair[1]].append(float(ratios[i]))
    leaks = [Leak(str(names[a]), str(names[b]), len(pairs), min(pairs)) for (a, b), pairs in found.items()]
    leaks.sort(key=lambda leak: (-leak.faces, leak.ratio, leak.first, leak.second))
    return leaks, int((~np.isnan(ratios)).sum())
