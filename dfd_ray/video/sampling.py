"""Choosing the frames of a video."""

from __future__ import annotations

import numpy as np

from dfd_ray.arrays import Int64Array


def choose_frames(candidates: Int64Array, count: int) -> Int64Array:
    """Choose `count` of the candidate frames, spread evenly, the same ones every time.

    The candidates (n,) int64 are frame indices in ascending order. They are cut into `count` runs of equal length, and the
    middle of each run is taken: neither the first frame (often a fade-in) nor the last is favoured. With fewer candidates
    than `count`, all are returned. The result is ascending, without duplicates. Raises ValueError when `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if len(candidates) <= count:
        return candidates
    middles = (2 * np.arange(count, dtype=np.int64) + 1) * len(candidates) // (2 * count)
    return candidates[middles]
