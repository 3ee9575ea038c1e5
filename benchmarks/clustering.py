"""Clustering methods by number of points: time, and agreement with the people that the points were made from.

    python -m benchmarks.clustering [--limit SECONDS] [--most POINTS]

K-Means, its mini-batch variant and agglomerative clustering get the number of people. DBSCAN gets the 90th percentile of the
distance to the 15th neighbour as its radius. HDBSCAN gets neither. Each HDBSCAN has `min_samples` 15. The packages `hdbscan`
and, with this many columns, `fast-hdbscan` compute an approximate tree. `fast-hdbscan` needs `pynndescent` for that; without it
(`pip install -e '.[bench]'`) the result lists the method as left out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering, KMeans, MiniBatchKMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from benchmarks.curves import Method, Result, draw, measure, parse_options, time_call
from benchmarks.machine import keep_result
from dfd_ray.analysis import cluster_hdbscan, noise_share
from dfd_ray.arrays import Float32Array

SMALLEST = 15
"""Float32Array of a cluster, at least, and neighbours that define a density."""


def run_k_means(points: Float32Array, people: int) -> Any:
    """Return the labels of K-Means."""
    return KMeans(people, random_state=0).fit_predict(points)


def run_mini_batch_k_means(points: Float32Array, people: int) -> Any:
    """Return the labels of mini-batch K-Means."""
    return MiniBatchKMeans(people, random_state=0).fit_predict(points)


def run_agglomerative(points: Float32Array, people: int) -> Any:
    """Return the labels of agglomerative clustering by Ward's criterion."""
    return AgglomerativeClustering(people).fit_predict(points)


def run_dbscan(points: Float32Array, _people: int) -> Any:
    """Return the labels of DBSCAN."""
    some = points[:: max(1, len(points) // 1000)]
    distances, _ = NearestNeighbors(n_neighbors=SMALLEST + 1).fit(points).kneighbors(some)
    return DBSCAN(eps=float(np.percentile(distances[:, -1], 90)), min_samples=SMALLEST, n_jobs=-1).fit_predict(points)


def run_hdbscan_of_sklearn(points: Float32Array, _people: int) -> Any:
    """Return the labels of scikit-learn's HDBSCAN."""
    return HDBSCAN(min_cluster_size=SMALLEST, min_samples=SMALLEST, n_jobs=-1, copy=True).fit_predict(points)


def run_hdbscan_package(points: Float32Array, _people: int) -> Any:
    """Return the labels of the package `hdbscan`."""
    import hdbscan

    model = hdbscan.HDBSCAN(min_cluster_size=SMALLEST, min_samples=SMALLEST, core_dist_n_jobs=os.cpu_count())
    return model.fit_predict(points)


def run_fast_hdbscan(points: Float32Array, _people: int) -> Any:
    """Return the labels of the package `fast-hdbscan`, which is approximate with 50 columns."""
    import fast_hdbscan

    return fast_hdbscan.HDBSCAN(min_cluster_size=SMALLEST, min_samples=SMALLEST, reproducible=True).fit_predict(points)


def run_our_hdbscan(points: Float32Array, _people: int) -> Any:
    """Return the labels as `dfd-ray analyze` finds them: exact, from 5,000 points on by `fast-hdbscan` on a graph of ours."""
    jobs = os.cpu_count() or 1
    return cluster_hdbscan(points, min_cluster_size=SMALLEST, min_samples=SMALLEST, jobs=jobs).labels


def score(cluster: Callable[[Float32Array, int], Any], points: Float32Array, person: Any) -> Result:
    """Time a method, and compare what it finds with the people."""
    labels, seconds = time_call(lambda: cluster(points, int(person[-1]) + 1))
    return {
        "seconds": seconds,
        "adjusted_rand_index": float(adjusted_rand_score(person, labels)),
        "noise_share": noise_share(labels),
        "clusters": len(set(labels.tolist()) - {-1}),
    }


def measure_agreement(points: Float32Array, _person: Any) -> Result:
    """Compare ours with `hdbscan` on the same points. `seconds` is the time of both together."""
    (slow, fast), seconds = time_call(lambda: (run_hdbscan_package(points, 0), run_our_hdbscan(points, 0)))
    return {"seconds": seconds, "adjusted_rand_index": float(adjusted_rand_score(slow, fast))}


METHODS: dict[str, Method] = {
    "K-Means": partial(score, run_k_means),
    "mini-batch K-Means": partial(score, run_mini_batch_k_means),
    "DBSCAN": partial(score, run_dbscan),
    "HDBSCAN (dfd_ray)": partial(score, run_our_hdbscan),
    "HDBSCAN (hdbscan)": partial(score, run_hdbscan_package),
    "HDBSCAN (fast-hdbscan)": partial(score, run_fast_hdbscan),
    "HDBSCAN (scikit-learn)": partial(score, run_hdbscan_of_sklearn),
    "agglomerative": partial(score, run_agglomerative),
}


def main() -> None:
    """Measure, print, draw, and keep the result."""
    options = parse_options("Clustering methods against the number of points")
    left_out = [] if find_spec("pynndescent") else ["HDBSCAN (fast-hdbscan)"]
    methods = {name: method for name, method in METHODS.items() if name not in left_out}
    curves = measure(methods, options.sizes, options.limit)
    sizes = [size for size in options.sizes if size <= 20_000]
    beside = measure({"dfd_ray beside hdbscan": measure_agreement}, sizes[-1:], options.limit)
    keep_result("clustering", {"limit_seconds": options.limit, "left_out": left_out, "curves": curves, **beside})
    draw("clustering", curves, ["adjusted_rand_index", "noise_share"])


if __name__ == "__main__":
    main()
