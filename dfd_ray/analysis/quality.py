"""Measure how good a map and a clustering are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dfd_ray.arrays import AnyArray, Float64Array, Int64Array, finite_matrix, sample_rows
from dfd_ray.labels import NOISE


def trustworthiness(
    high: npt.ArrayLike, low: npt.ArrayLike, neighbours: int = 15, sample: int = 2000, seed: int = 0
) -> float | None:
    """Measure how far the neighbours on the map are also neighbours in the original space, from 0 to 1.

    `high` (n, d) and `low` (n, m) are the same points before and after. At 1, all neighbours on the map are among the k
    nearest; each other one costs by how far beyond the k nearest it ranks originally. Only `sample` random points are used,
    because all pairs are ranked. `neighbours` is lowered to the definition's limit, below half the points. Returns None for
    fewer than three points. Raises ValueError if the matrices are not finite or differ in length, and for arguments below 1.
    Source: Venna and Kaski, "Neighborhood preservation in nonlinear projection methods" (2001), as in scikit-learn.
    """
    before, after = _check_matching(high, low, neighbours)
    chosen = sample_rows(len(before), sample, seed)
    if len(chosen) < 3:
        return None
    from sklearn.manifold import trustworthiness as measure

    return float(measure(before[chosen], after[chosen], n_neighbors=min(neighbours, (len(chosen) - 1) // 2)))


def neighbour_preservation(
    high: npt.ArrayLike, low: npt.ArrayLike, neighbours: int = 15, sample: int = 2000, seed: int = 0
) -> float | None:
    """Return the mean share of each point's nearest neighbours that the map keeps.

    `high` (n, d) and `low` (n, m) are the same points before and after. For each of `sample` random points, its k
    nearest among all points are found in both spaces; the share is the size of the intersection over k. A random map
    scores about k / n. The choice among points at equal distances is arbitrary, so exact duplicates lower the share.
    `neighbours` is lowered to n - 1. Returns None for fewer than two points. Raises ValueError if the matrices are not finite
    or differ in length, and for arguments below 1. Source: Lee and Verleysen, "Quality assessment of dimensionality
    reduction: rank-based criteria" (2009), Q_NX(k).
    """
    before, after = _check_matching(high, low, neighbours)
    if len(before) < 2:
        return None
    queries = sample_rows(len(before), sample, seed)
    kept = min(neighbours, len(before) - 1)
    found_before, found_after = (_find_nearest(points, queries, kept) for points in (before, after))
    return float((found_before[:, :, None] == found_after[:, None, :]).any(axis=2).mean())


def noise_share(labels: npt.ArrayLike) -> float:
    """Return the share of points that belong to no cluster.

    `labels` (n,) are integers with -1 for noise. Returns 0 without points.
    """
    values = np.asarray(labels)
    return float(np.mean(values == NOISE)) if values.size else 0.0


def purity(labels: npt.ArrayLike, truth: npt.ArrayLike) -> float | None:
    """Return the share of clustered points that belong to the commonest true class of their cluster.

    `labels` (n,) are integers with -1 for noise, which is left out; `truth` (n,) is of any sortable dtype. It is the mean of
    the clusters' purities weighted by their sizes; None if no point is in a cluster. It grows with the number of clusters
    (it is 1 if each point is its own), so read it with that number and `noise_share`. Raises ValueError if the lengths
    differ. Source: Manning, Raghavan and Schütze, "Introduction to Information Retrieval" (2008), 16.3.
    """
    values, classes = np.asarray(labels), np.asarray(truth)
    _check_lengths(len(values), len(classes))
    clustered = values != NOISE
    if not clustered.any():
        return None
    _, cluster = np.unique(values[clustered], return_inverse=True)
    names, which = np.unique(classes[clustered], return_inverse=True)
    # Only pairs that occur are counted, because with a class per video a full table has millions of cells.
    pairs, sizes = np.unique(cluster.astype(np.int64) * len(names) + which, return_counts=True)
    commonest = np.zeros(cluster.max() + 1, dtype=np.int64)
    np.maximum.at(commonest, pairs // len(names), sizes)
    return float(commonest.sum() / clustered.sum())


def stability(
    points: npt.ArrayLike,
    labels: npt.ArrayLike,
    cluster: Callable[[Float64Array], AnyArray],
    share: float = 0.8,
    repeats: int = 2,
    seed: int = 0,
) -> float | None:
    """Measure how far the clusters stay the same if some of the points are left out.

    `points` is (n, d); `labels` (n,) are integers with -1 for noise; `cluster` is the function that made them, and returns the
    labels (m,) of points (m, d). It runs on `repeats` random subsets of `share` of the points. Returns the mean adjusted Rand
    index between the labels before and after, with noise as one more cluster: 1 if nothing changes, about 0 by chance.
    Returns None for fewer than two points, and if everything is noise or one cluster. Raises ValueError if the points are not
    finite or the lengths differ. Sources: Hubert and Arabie, "Comparing partitions" (1985); Hennig, "Cluster-wise assessment
    of cluster stability" (2007).
    """
    matrix, values = finite_matrix(points, "points"), np.asarray(labels)
    _check_lengths(len(matrix), len(values))
    if len(np.unique(values)) < 2:
        return None
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(seed)
    kept = [np.sort(rng.choice(len(matrix), max(2, round(share * len(matrix))), replace=False)) for _ in range(repeats)]
    return float(np.mean([adjusted_rand_score(values[rows], cluster(matrix[rows])) for rows in kept]))


def silhouette(points: npt.ArrayLike, labels: npt.ArrayLike, sample: int = 2000, seed: int = 0) -> float | None:
    """Measure how much nearer points are to their own cluster than to the nearest other one, from -1 to 1.

    `points` is (n, d); `labels` (n,) are integers with -1 for noise, which is left out. A point scores (b - a) / max(a, b),
    where a is its mean distance to the others of its cluster and b the smallest mean distance to another cluster; it scores
    0 if it is alone in its cluster. Returns the mean of `sample` random points, each against all clustered points; sampling
    both sides would leave small clusters with one point. Returns None for fewer than two clusters. Raises ValueError if the
    points are not finite or the lengths differ. Source: Rousseeuw, "Silhouettes: a graphical aid" (1987).
    """
    matrix, values = finite_matrix(points, "points"), np.asarray(labels)
    _check_lengths(len(matrix), len(values))
    clustered = values != NOISE
    names, cluster = np.unique(values[clustered], return_inverse=True)
    if len(names) < 2:
        return None
    queries = sample_rows(len(cluster), sample, seed)
    sums = _sum_distances(matrix[clustered], cluster, queries)
    sizes = np.bincount(cluster)
    own, rows = cluster[queries], np.arange(len(queries))
    within = sums[rows, own] / np.maximum(sizes[own] - 1, 1)
    between = sums / sizes
    between[rows, own] = np.inf
    nearest = between.min(axis=1)
    larger = np.maximum(within, nearest)
    # Points of two clusters at one place score 0, as in scikit-learn.
    defined = (sizes[own] > 1) & (larger > 0)
    scores = np.divide(nearest - within, larger, out=np.zeros_like(larger), where=defined)
    return float(scores.mean())


def _sum_distances(points: Float64Array, cluster: AnyArray, queries: Int64Array) -> Float64Array:
    """Sum the distances from each query to the points of each cluster: (q, clusters), a block of rows at a time."""
    from scipy.sparse import csr_array
    from sklearn.metrics import pairwise_distances_chunked

    count = len(points)
    member = csr_array((np.ones(count), (np.arange(count), cluster)), shape=(count, cluster.max() + 1))
    blocks = pairwise_distances_chunked(
        points[queries], points, reduce_func=lambda distances, _start: distances @ member, working_memory=256
    )
    return np.concatenate(list(blocks))


def _find_nearest(points: Float64Array, queries: Int64Array, count: int) -> Int64Array:
    """Return the indices (q, count) of the nearest other points of each query."""
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=count + 1).fit(points).kneighbors(points[queries], return_distance=False)
    is_other = found != queries[:, None]
    # A point with many exact duplicates may not be among its own nearest; then the farthest one is dropped.
    is_other[is_other.all(axis=1), -1] = False
    others: Int64Array = found[is_other].reshape(len(queries), count)
    return others


def _check_matching(high: npt.ArrayLike, low: npt.ArrayLike, neighbours: int) -> tuple[Float64Array, Float64Array]:
    if neighbours < 1:
        raise ValueError(f"neighbours must be at least 1, got {neighbours}")
    before, after = finite_matrix(high, "high"), finite_matrix(low, "low")
    _check_lengths(len(before), len(after))
    return before, after


def _check_lengths(first: int, second: int) -> None:
    if first != second:
        raise ValueError(f"both arrays must describe the same points, got {first} and {second}")
