"""Find the edges that HDBSCAN needs, exactly, in so many dimensions that a k-d tree prunes nothing.

HDBSCAN is single linkage by *mutual reachability*: the maximum of the distance of two points and of their core distances. The
core distance of a point is that to its `min_samples`-th nearest neighbour. So HDBSCAN needs only the nearest neighbours of each
point and the edges of one minimum spanning tree. Matrix products find both ten times as fast as distances one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dfd_ray.arrays import Float32Array, Float64Array, Int64Array

if TYPE_CHECKING:
    from scipy.sparse import coo_array

LISTED = 3
"""Nearest neighbours listed per point, in multiples of `min_samples`. Longer lists leave fewer components to join."""
MOST_COMPONENTS = 16_384
"""Components whose pairs are all compared; their matrix takes 1 GiB. With more, the lists are doubled."""
ROWS = 1024
"""Largest number of points that are compared with all others at once."""
MEMORY = 2**30
"""Bytes that the comparisons of all threads may take; with many points, fewer than ROWS are compared at once."""


@dataclass(frozen=True, eq=False)
class Groups:
    """Points (n, d) float32 and their squared core distances (n,) float32, sorted by component.

    Component c is the rows from `starts[c]` up to `starts[c + 1]`; `rows_at_once` rows are compared with all others.
    """

    points: Float32Array
    cores: Float32Array
    starts: Int64Array
    rows_at_once: int

    def reach(self, rows: slice, columns: slice) -> Float32Array:
        """Return the squared mutual reachabilities (rows, columns) without the core distances of the columns.

        The callers reduce the matrix first where they can, and then take the maximum with those.
        """
        left, right = self.points[rows], self.points[columns]
        norms = np.einsum("ij,ij->i", left, left)[:, None], np.einsum("ij,ij->i", right, right)[:, None]
        ones = np.ones_like(norms[0]), np.ones_like(norms[1])
        squares: Float32Array = np.hstack([-2 * left, norms[0], ones[0]]) @ np.hstack([right, ones[1], norms[1]]).T
        return np.maximum(squares, self.cores[rows, None], out=squares)


def build_reachability_graph(points: Float64Array, min_samples: int, jobs: int = 1) -> coo_array:
    """Return a graph of distances that is sufficient for HDBSCAN.

    `points` is (n, d), n at least 2; `jobs` is the number of threads. The graph (n, n) has at least the `min_samples` nearest
    neighbours of each point, and all edges of a minimum spanning tree by mutual reachability, to the precision of float32.
    Points that coincide have stored zeros, and some edges are stored twice.

    Source: Borůvka (1926). The lightest edge that leaves a component is in the tree. The neighbour lists prove it if no edge
    outside them can be lighter; the components that remain are compared as wholes.
    """
    from scipy.sparse import coo_array
    from threadpoolctl import threadpool_limits

    count = len(points)
    centred = np.asarray(points - points.mean(axis=0), np.float32)
    listed = min(count - 1, LISTED * min_samples)
    while True:
        with threadpool_limits(jobs):
            distances, neighbours = _find_nearest(centred, listed)
        cores = distances[:, min(min_samples, count - 1) - 1] if min_samples > 1 else np.zeros(count)
        component = _find_certain_components(distances, neighbours, cores)
        if component.max() < MOST_COMPONENTS or listed == count - 1:
            break
        listed = min(count - 1, 2 * listed)
    first, second = _find_joining_edges(centred, cores, component, jobs)
    length = np.linalg.norm(centred[first].astype(np.float64) - centred[second], axis=1)
    rows = np.concatenate([np.repeat(np.arange(count), listed), first])
    return coo_array(
        (np.concatenate([distances.ravel(), length]), (rows, np.concatenate([neighbours.ravel(), second]))), (count, count)
    )


def _find_nearest(points: Float32Array, count: int) -> tuple[Float64Array, Int64Array]:
    """Return the distances and indices (n, count) of the nearest other points of each point, nearest first."""
    from sklearn.neighbors import NearestNeighbors

    distances, neighbours = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(points).kneighbors()
    return np.asarray(distances, np.float64), neighbours


def _find_certain_components(distances: Float64Array, neighbours: Int64Array, cores: Float64Array) -> Int64Array:
    """Return the components (n,), from 0, of the edges that the lists prove to be in the minimum spanning tree.

    If neither of two points lists the other, their distance is at least that to the last neighbour of either list. So the
    lightest listed edge that leaves a component is in the tree if it is no longer than the distance of any of its points to
    the last neighbour in its list.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    count, listed = neighbours.shape
    first = np.repeat(np.arange(count), listed)
    weights = np.maximum(distances, np.maximum(cores[:, None], cores[neighbours])).ravel()
    # scipy takes an edge of length 0 for a missing one.
    graph = coo_array((np.maximum(weights, np.finfo(np.float32).tiny), (first, neighbours.ravel())), (count, count))
    tree = minimum_spanning_tree(graph.tocsr()).tocoo()
    order = np.argsort(tree.data, kind="stable")
    parent = list(range(count))
    bound = (np.full(count, np.inf) if listed == count - 1 else distances[:, -1]).tolist()

    def root(point: int) -> int:
        while parent[point] != point:
            parent[point] = point = parent[parent[point]]
        return point

    for i, j, weight in zip(tree.row[order].tolist(), tree.col[order].tolist(), tree.data[order].tolist(), strict=True):
        one, other = root(i), root(j)
        if weight <= max(bound[one], bound[other]):
            parent[other] = one
            bound[one] = min(bound[one], bound[other])
    roots = np.array([root(point) for point in range(count)])
    return np.unique(roots, return_inverse=True)[1]


def _find_joining_edges(
    points: Float32Array, cores: Float64Array, component: Int64Array, jobs: int
) -> tuple[Int64Array, Int64Array]:
    """Return both ends of the lightest edges that connect the components to one tree."""
    from threadpoolctl import threadpool_limits

    order = np.argsort(component, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(component))])
    rows_at_once = max(1, min(ROWS, MEMORY // (4 * len(points) * jobs)))
    groups = Groups(points[order], np.square(cores[order]).astype(np.float32), starts, rows_at_once)
    count = len(starts) - 1
    lightest = np.full((count, count), np.inf, np.float32)

    def compare(span: tuple[int, int]) -> None:
        begin, end = span
        found = _find_lightest_edges(groups, begin, end)
        lightest[begin:end, begin:] = found
        lightest[begin:, begin:end] = found.T

    # A thread per block, not per product: otherwise everything but the products would run on one core.
    with threadpool_limits(1), ThreadPoolExecutor(jobs) as pool:
        list(pool.map(compare, _split_components(groups)))
        pairs = list(pool.map(lambda pair: _find_lightest_pair(groups, *pair), _grow_spanning_tree(lightest)))
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    return order[first], order[second]


def _split_components(groups: Groups) -> Iterator[tuple[int, int]]:
    """Yield the first and the end of runs of components, each with about `rows_at_once` points."""
    starts, begin = groups.starts, 0
    while begin < len(starts) - 1:
        end = max(begin + 1, int(np.searchsorted(starts, starts[begin] + groups.rows_at_once, side="right")) - 1)
        yield begin, end
        begin = end


def _find_lightest_edges(groups: Groups, begin: int, end: int) -> Float32Array:
    """Return the squared lightest edges (end - begin, c - begin) from these components to all from `begin` on."""
    starts = groups.starts
    columns = slice(int(starts[begin]), int(starts[-1]))
    found = np.full((end - begin, len(starts) - 1 - begin), np.inf, np.float32)
    for low in range(int(starts[begin]), int(starts[end]), groups.rows_at_once):  # more than once for one large component only
        rows = slice(low, min(low + groups.rows_at_once, int(starts[end])))
        firsts = np.maximum(starts[begin:end], low) - low
        near = np.minimum.reduceat(groups.reach(rows, columns), firsts, axis=0)
        np.maximum(near, groups.cores[columns], out=near)
        np.minimum(found, np.minimum.reduceat(near, starts[begin:-1] - starts[begin], axis=1), out=found)
    return found


def _find_lightest_pair(groups: Groups, one: int, other: int) -> tuple[int, int]:
    """Return the rows of the ends of the lightest edge between two components."""
    starts = groups.starts
    columns = slice(int(starts[other]), int(starts[other + 1]))
    best, found = np.inf, (0, 0)
    for low in range(int(starts[one]), int(starts[one + 1]), groups.rows_at_once):
        reach = groups.reach(slice(low, min(low + groups.rows_at_once, int(starts[one + 1]))), columns)
        np.maximum(reach, groups.cores[columns], out=reach)
        row, column = np.unravel_index(reach.argmin(), reach.shape)
        if reach[row, column] < best:
            best, found = reach[row, column], (low + int(row), columns.start + int(column))
    return found


def _grow_spanning_tree(weights: Float32Array) -> Iterator[tuple[int, int]]:
    """Yield the edges of the minimum spanning tree of a full matrix (c, c) of weights. Source: Prim (1957)."""
    count = len(weights)
    nearest = np.zeros(count, np.int64)
    best = weights[0].copy()
    outside = np.ones(count, bool)
    outside[0] = False
    for _ in range(count - 1):
        added = int(np.where(outside, best, np.inf).argmin())
        yield int(nearest[added]), added
        outside[added] = False
        nearer = weights[added] < best
        best[nearer], nearest[nearer] = weights[added][nearer], added
