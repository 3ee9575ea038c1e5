"""Choosing the frames of a video."""

from __future__ import annotations

import numpy as np

from dfd_ray.arrays import Int64Array

GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, without their whole part, lie evenly between 0 and 1, however many are taken."""


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


def choose_combs(candidates: Int64Array, count: int, comb: int, most: int) -> list[Int64Array]:
    """Choose `count` of the candidate frames in combs of `comb` frames, so that a comb does not tell `count`.

    Whatever `count` is, the candidates (n,) int64 are thinned to the same `most` frames, evenly spread. Comb j of k has each
    k-th of them, from the j-th on. The middle comb comes first, and the order is the same for every `count`: fewer frames are
    the first combs of more. A short video has as few combs as hold all of its candidates. Where `count` is no multiple of
    `comb`, the last comb is thinned. Each comb is ascending; no frame is in two. Raises ValueError when a number is below 1.
    """
    if min(count, comb) < 1:
        raise ValueError(f"count and comb must be at least 1, got {count} and {comb}")
    grid = choose_frames(candidates, most)
    combs = max(1, -(-len(grid) // comb))
    ranks = np.argsort(np.argsort(np.arange(combs) * GOLDEN % 1))
    chosen = [grid[j::combs] for j in ((ranks + combs // 2) % combs)[: -(-count // comb)].tolist()]
    if over := max(0, sum(map(len, chosen)) - count):
        chosen[-1] = choose_frames(chosen[-1], len(chosen[-1]) - over)
    return chosen
