"""Find the same footage in two folds: faces that are nearer to a face of another fold than to any of their own video."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfd_ray.arrays import Float64Array, Int64Array, finite_matrix, sample_rows

MEMORY_MIB = 256
"""Size of the distances in memory at once, whatever the number of faces."""


@dataclass(frozen=True)
class Leak:
    """Two videos of different folds that look like the same footage.

    `faces` is the number of faces, of either video, that are nearer to a face of the other video than to any of their own.
    `ratio` is the smallest ratio of the distance to the other video and that within their own, below 1.
    """

    first: str
    second: str
    faces: int
    ratio: float


def find_leaks(
    points: npt.ArrayLike, videos: npt.ArrayLike, folds: npt.ArrayLike, sample: int = 10_000, seed: int = 0
) -> tuple[list[Leak], int]:
    """Find pairs of videos of different folds whose faces are nearer to each other than to their own video.

    Returns the pairs, those with the most faces first, then by the smallest ratio, and the number of faces that were compared.
    A pair is listed once, its videos in order. `points` is (n, d); `videos` (n,) are names; `folds` (n,) are of any comparable
    dtype. `sample` random faces are compared with all others; a face is left out if it is alone in its video or no other fold
    exists. The ratio of exact duplicates is 0.

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

    def find_nearest(distances: Float64Array, start: int) -> tuple[Int64Array, Float64Array]:
        """Return the nearest face of another fold, and its distance over that of the nearest in the same video.

        The ratio is infinite if it is not below 1, and NaN if one of the two faces is missing.
        """
        rows = chosen[start : start + len(distances)]
        distances[np.arange(len(rows)), rows] = np.inf  # the distance of a face to itself
        within = np.where(video[rows, None] == video, distances, np.inf).min(axis=1)
        distances[fold[rows, None] == fold] = np.inf
        other = distances.argmin(axis=1)
        across = distances[np.arange(len(rows)), other]
        compared = np.isfinite(across) & np.isfinite(within)
        return other, np.divide(across, within, out=np.where(compared, np.inf, np.nan), where=compared & (across < within))

    blocks = pairwise_distances_chunked(matrix[chosen], matrix, reduce_func=find_nearest, working_memory=MEMORY_MIB)
    others, ratios = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    found: dict[tuple[int, int], list[float]] = defaultdict(list)
    for i in np.flatnonzero(np.isfinite(ratios)):
        pair = sorted((int(video[chosen[i]]), int(video[others[i]])))
        found[pair[0], pair[1]].append(float(ratios[i]))
    leaks = [Leak(str(names[a]), str(names[b]), len(pairs), min(pairs)) for (a, b), pairs in found.items()]
    leaks.sort(key=lambda leak: (-leak.faces, leak.ratio, leak.first, leak.second))
    return leaks, int((~np.isnan(ratios)).sum())
