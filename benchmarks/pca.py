"""PCA of 130,000 vectors of 2,560 numbers to 50 components: merged moments beside scikit-learn with all rows in memory.

    python -m benchmarks.pca [ROWS] [ROWS STREAMED]

Both take float32 and the threads of numpy's BLAS. The benchmark also merges the moments of a million rows, made block by block
and never kept. `peak_gib` is the most memory of this process until then, before scikit-learn runs.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator

import numpy as np
import sklearn.decomposition

from benchmarks.machine import keep_result
from dfd_ray.analysis import PCA, Moments
from dfd_ray.arrays import Float32Array

ROWS, STREAMED = 130_000, 1_000_000
DIMENSIONS, COMPONENTS = 2560, 50
BLOCK = 1_500
"""Rows at once: about the faces of 128 videos."""


def make_blocks(rows: int) -> Iterator[Float32Array]:
    """Yield rows of a hundred directions and noise around a mean of ten standard deviations."""
    random = np.random.default_rng(0)
    scale = np.geomspace(5.0, 0.5, 100, dtype=np.float32)[:, None]
    directions = scale * random.standard_normal((100, DIMENSIONS), dtype=np.float32)
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        hidden = random.standard_normal((count, 100), dtype=np.float32)
        yield hidden @ directions + random.standard_normal((count, DIMENSIONS), dtype=np.float32) + 10


def merge_moments(rows: int) -> tuple[Moments, float]:
    """Return the moments of rows that are never in memory together, and the seconds it took, without making the rows."""
    moments, seconds = Moments.empty(DIMENSIONS), 0.0
    for block in make_blocks(rows):
        started = time.perf_counter()
        moments = moments.merge(Moments.of(block))
        seconds += time.perf_counter() - started
    return moments, seconds


def main(rows: int, streamed: int) -> None:
    """Measure, print, and keep the result."""
    _, streamed_seconds = merge_moments(streamed)
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    moments, seconds = merge_moments(rows)
    started = time.perf_counter()
    ours = PCA.fit(moments, COMPONENTS)
    fit_seconds = time.perf_counter() - started
    whole = np.concatenate(list(make_blocks(rows)))
    started = time.perf_counter()
    for start in range(0, rows, BLOCK):
        ours.transform(whole[start : start + BLOCK])
    project_seconds = time.perf_counter() - started
    started = time.perf_counter()
    theirs = sklearn.decomposition.PCA(COMPONENTS, svd_solver="covariance_eigh").fit(whole)
    theirs.transform(whole)
    their_seconds = time.perf_counter() - started
    total = seconds + fit_seconds + project_seconds
    keep_result(
        "pca",
        {
            "rows": rows,
            "seconds": {"moments": seconds, "eigenproblem": fit_seconds, "projection": project_seconds, "total": total},
            "scikit_learn_seconds": their_seconds,
            "times_scikit_learn": total / their_seconds,
            "largest_relative_difference_of_variance": float(
                np.abs(ours.explained_variance / theirs.explained_variance_.astype(float) - 1).max()
            ),
            "streamed": {"rows": streamed, "seconds": streamed_seconds, "peak_gib": peak_gib},
        },
    )


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(*(arguments + [ROWS, STREAMED][len(arguments) :]))
