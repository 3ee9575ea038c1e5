"""Reduction to three dimensions by number of points: time, and how many neighbours stay neighbours.

    python -m benchmarks.reduction [--limit SECONDS] [--most POINTS]

From vectors of 512 dimensions: PCA alone, t-SNE alone, PCA to 50 and t-SNE as in `dfd-ray analyze`, and UMAP. Without
`umap-learn` (`pip install -e '.[bench]'`) the result lists UMAP as left out. From 4,096 points on, UMAP's time includes some 40
seconds of compiling its search for neighbours.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.curves import Method, Result, draw, measure, parse_options, time_call, widen
from benchmarks.machine import keep_result
from dfd_ray.analysis import PCA, Moments, embed_tsne, neighbour_preservation, trustworthiness
from dfd_ray.arrays import Float32Array

WIDTH = 512
COMPONENTS, DIMENSIONS = 50, 3
JOBS = os.cpu_count() or 1


def run_pca(vectors: Float32Array, components: int = DIMENSIONS) -> Float32Array:
    """Return the first principal components."""
    return PCA.fit(Moments.of(vectors), components).transform(vectors)


def run_tsne(vectors: Float32Array) -> Float32Array:
    """Return t-SNE's map of the vectors."""
    return embed_tsne(vectors, dimensions=DIMENSIONS, perplexity=50, jobs=JOBS).coordinates


def run_pca_and_tsne(vectors: Float32Array) -> Float32Array:
    """Return t-SNE's map of the vectors' principal components."""
    return run_tsne(run_pca(vectors, COMPONENTS))


def run_umap(vectors: Float32Array) -> Float32Array:
    """Return UMAP's map of the vectors."""
    from umap import UMAP

    return np.asarray(UMAP(n_components=DIMENSIONS, random_state=0, n_jobs=1).fit_transform(vectors), np.float32)


def score(reduce: Callable[[Float32Array], Float32Array], points: Float32Array, _person: Any) -> Result:
    """Time a method, and measure how many neighbours it keeps."""
    vectors = np.concatenate(list(widen(points, WIDTH)))
    low, seconds = time_call(lambda: reduce(vectors))
    return {
        "seconds": seconds,
        "trustworthiness": trustworthiness(vectors, low),
        "neighbour_preservation": neighbour_preservation(vectors, low, sample=500),
    }


METHODS: dict[str, Method] = {
    "PCA": partial(score, run_pca),
    "t-SNE": partial(score, run_tsne),
    "PCA + t-SNE": partial(score, run_pca_and_tsne),
    "UMAP": partial(score, run_umap),
}


def main() -> None:
    """Measure, print, draw, and keep the result."""
    options = parse_options("Reduction methods against the number of points")
    methods = {name: method for name, method in METHODS.items() if name != "UMAP" or find_spec("umap")}
    curves = measure(methods, options.sizes, options.limit)
    left_out = sorted(set(METHODS) - set(methods))
    keep_result("reduction", {"limit_seconds": options.limit, "left_out": left_out, "curves": curves})
    draw("reduction", curves, ["trustworthiness", "neighbour_preservation"])


if __name__ == "__main__":
    main()
