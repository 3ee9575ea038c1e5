"""The graph that HDBSCAN is given of many points in many dimensions, beside all pairs of few."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist

from dfd_ray.analysis import reachability
from dfd_ray.analysis.reachability import build_reachability_graph

FloatArray = npt.NDArray[np.float64]


def make_islands(islands: int = 12, each: int = 20, columns: int = 40) -> FloatArray:
    """Tight groups, so that neighbour lists stay inside them, and points scattered between."""
    rng = np.random.default_rng(0)
    tight = rng.normal(size=(islands, 1, columns)) * 3 + rng.normal(size=(islands, each, columns)) * 0.1
    return np.vstack([tight.reshape(-1, columns), rng.normal(size=(30, columns)) * 3]) + 50


def reach(points: FloatArray, min_samples: int) -> FloatArray:
    """Return all mutual reachabilities (n, n)."""
    distances = cdist(points, points)
    core = np.sort(distances, axis=1)[:, min_samples]
    return np.maximum(distances, np.maximum(core[:, None], core[None]))


def tree_weights(weights: FloatArray) -> FloatArray:
    return np.sort(minimum_spanning_tree(np.triu(weights, 1)).data)


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("min_samples", [2, 5, 300])
def test_holds_a_minimum_spanning_tree_of_all_pairs(monkeypatch: pytest.MonkeyPatch, min_samples: int, jobs: int) -> None:
    monkeypatch.setattr(reachability, "ROWS", 16)  # less than an island has
    monkeypatch.setattr(reachability, "LISTED", 1)
    points = make_islands()
    graph = build_reachability_graph(points, min_samples, jobs)
    every = reach(points, min(min_samples, len(points) - 1))
    held = np.zeros_like(every)
    held[graph.row, graph.col] = held[graph.col, graph.row] = every[graph.row, graph.col]
    np.testing.assert_allclose(tree_weights(held), tree_weights(every), rtol=1e-5)


def test_lists_the_nearest_neighbours() -> None:
    points = make_islands()
    graph = build_reachability_graph(points, 5)
    nearest = np.argsort(cdist(points, points), axis=1)[:, 1:6]
    for point in (0, 100, len(points) - 1):
        listed = graph.row == point
        assert set(nearest[point]) <= set(graph.col[listed])
        assert graph.data[listed].min() == pytest.approx(np.linalg.norm(points[point] - points[nearest[point, 0]]), rel=1e-4)


def test_more_neighbours_are_listed_where_components_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "LISTED", 1)
    points = make_islands()
    few = build_reachability_graph(points, 2)
    monkeypatch.setattr(reachability, "MOST_COMPONENTS", 3)
    many = build_reachability_graph(points, 2)
    assert many.nnz > 2 * few.nnz


def test_points_that_coincide() -> None:
    points = np.repeat(np.eye(40)[:3], 30, axis=0)
    graph = build_reachability_graph(points, 5)
    assert np.isfinite(graph.data).all() and graph.data.max() == pytest.approx(np.sqrt(2), rel=1e-6)
