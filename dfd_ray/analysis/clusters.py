"""Find clusters by HDBSCAN: `hdbscan` or `fast-hdbscan` on the CPU, cuML on a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from dfd_ray.analysis.device import Device, check_device
from dfd_ray.analysis.reachability import build_reachability_graph
from dfd_ray.arrays import AnyArray, Float32Array, Float64Array, Int32Array, finite_matrix
from dfd_ray.labels import NOISE

FAST_FROM = 5_000
"""Number of points from which `fast-hdbscan` runs. It is several times as fast as `hdbscan`, but its first use compiles for a
minute."""
FAST_COLUMNS = 30
"""Largest number of columns in which it is exact by itself. With more, it uses a graph of some nearest neighbours. On 20,000
simulated faces in 50 columns that graph merged separate clusters: an adjusted Rand index of 0.1 to `hdbscan`. With more
columns it therefore gets the graph of `build_reachability_graph`."""


@dataclass(frozen=True, eq=False)
class ClusterResult:
    """Clusters, and the library and device that found them.

    `labels` (n,) int32 count from 0, with -1 for noise. `membership` (n,) float32, from 0 to 1, is how firmly a point belongs
    to its cluster; 0 for noise. `library` is "hdbscan", "fast-hdbscan", "cuml", or "none" for too few points; `device` is
    where it ran.
    """

    labels: Int32Array
    membership: Float32Array
    library: str
    device: Device

    @property
    def count(self) -> int:
        """The number of clusters, without noise."""
        return len(np.unique(self.labels[self.labels != NOISE]))


def cluster_hdbscan(
    points: npt.ArrayLike, *, min_cluster_size: int = 15, min_samples: int | None = None, device: str = "cpu", jobs: int = 1
) -> ClusterResult:
    """Find clusters as the regions that stay dense over the widest range of densities.

    `points` is (n, d) of any float dtype; distances are Euclidean. A group of fewer than `min_cluster_size` points is noise, or
    the loose edge of a larger cluster; with fewer points in all, everything is noise. `min_samples` is the number of neighbours
    that define a point's density; None means `min_cluster_size`. The whole set is never a single cluster. `device` is "cpu" or
    "cuda" (see `choose_device`). `jobs` is the number of CPU processes or threads, and does not change the result. The CPU
    runs `fast-hdbscan` from `FAST_FROM` points on, else `hdbscan`. Both are exact, but points at equal distances may differ.
    cuML cannot be tested without a GPU.

    Raises ValueError if the points are not a finite matrix or an argument is out of range. Source: Campello, Moulavi
    and Sander, "Density-based clustering based on hierarchical density estimates" (2013), clusters selected by excess
    of mass; McInnes and Healy, "Accelerated hierarchical density based clustering" (2017).
    """
    matrix = finite_matrix(points, "points")
    check_device(device)
    if min_cluster_size < 2:
        raise ValueError(f"min_cluster_size must be at least 2, got {min_cluster_size}")
    if min_samples is not None and min_samples < 1:
        raise ValueError(f"min_samples must be at least 1, got {min_samples}")
    if len(matrix) < min_cluster_size:
        return _make_result(np.full(len(matrix), NOISE), np.zeros(len(matrix)), "none", "cpu")
    if device == "cuda":
        return _run_cuml(matrix, min_cluster_size, min_samples)
    if len(matrix) >= FAST_FROM:
        return _run_fast_hdbscan(matrix, min_cluster_size, min_samples, jobs)
    return _run_hdbscan(matrix, min_cluster_size, min_samples, jobs)


def _run_hdbscan(points: Float64Array, min_cluster_size: int, min_samples: int | None, jobs: int) -> ClusterResult:
    import hdbscan

    # The default tree is approximate: for 5,000 points in 10 columns, an adjusted Rand index of 0.65 to the exact one.
    model = hdbscan.HDBSCAN(
        min_cluster_size=min_cluster_size, min_samples=min_samples, core_dist_n_jobs=jobs, approx_min_span_tree=False
    )
    model.fit(points)
    return _make_result(model.labels_, model.probabilities_, "hdbscan", "cpu")


def _run_fast_hdbscan(points: Float64Array, min_cluster_size: int, min_samples: int | None, jobs: int) -> ClusterResult:
    import fast_hdbscan
    import numba

    numba.set_num_threads(min(jobs, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    cluster = partial(fast_hdbscan.HDBSCAN, min_cluster_size=min_cluster_size, min_samples=min_samples)
    if points.shape[1] <= FAST_COLUMNS:
        # Without `reproducible`, edges of equal length are taken in the order in which threads find them.
        model = cluster(reproducible=True).fit(points)
    else:
        model = cluster(metric="precomputed").fit(build_reachability_graph(points, min_samples or min_cluster_size, jobs))
    return _make_result(model.labels_, model.probabilities_, "fast-hdbscan", "cpu")


def _run_cuml(points: Float64Array, min_cluster_size: int, min_samples: int | None) -> ClusterResult:
    from cuml.cluster import HDBSCAN

    model = HDBSCAN(min_cluster_size=min_cluster_size, min_samples=min_samples, metric="euclidean", output_type="numpy")
    model.fit(points.astype(np.float32))
    return _make_result(model.labels_, model.probabilities_, "cuml", "cuda")


def _make_result(labels: AnyArray, membership: AnyArray, library: str, device: Device) -> ClusterResult:
    return ClusterResult(np.asarray(labels, np.int32), np.asarray(membership, np.float32), library, device)
