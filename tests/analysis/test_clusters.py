"""HDBSCAN on the CPU; the call of cuML is replaced by a stand-in that only records what it was given."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import adjusted_rand_score

from dfd_ray.analysis import NOISE, cluster_hdbscan, clusters


def make_blobs(blobs: int = 5, per_blob: int = 60) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    centres = rng.permutation(np.eye(8)[:blobs]) * 40
    truth = rng.permutation(np.repeat(np.arange(blobs), per_blob))
    return (centres[truth] + rng.uniform(-1, 1, size=(len(truth), 8))).astype(np.float32), truth


def test_finds_the_blobs() -> None:
    points, truth = make_blobs()
    result = cluster_hdbscan(points, min_samples=5)
    assert (result.library, result.device, result.count) == ("hdbscan", "cpu", 5)
    assert result.labels.dtype == np.int32 and result.membership.dtype == np.float32
    assert adjusted_rand_score(truth, result.labels) == 1.0
    assert result.membership.min() >= 0 and result.membership.max() == 1.0


def test_lonely_points_are_noise_without_membership() -> None:
    points, _ = make_blobs()
    lonely = np.random.default_rng(1).uniform(-1000, 1000, size=(10, 8)).astype(np.float32)
    result = cluster_hdbscan(np.concatenate([points, lonely]), min_samples=5)
    assert (result.labels[-10:] == NOISE).all() and not result.membership[-10:].any()
    assert result.count == 5


def test_smaller_groups_than_min_cluster_size_are_noise() -> None:
    points, truth = make_blobs(blobs=3)
    points[truth == 2] += 200  # far from both others: nearer, it would be the loose edge of one of them
    small = np.flatnonzero(truth == 2)[:20]
    kept = np.concatenate([np.flatnonzero(truth < 2), small])
    assert cluster_hdbscan(points[kept], min_cluster_size=15, min_samples=5).count == 3
    result = cluster_hdbscan(points[kept], min_cluster_size=30, min_samples=5)
    assert result.count == 2 and (result.labels[-20:] == NOISE).all()


@pytest.mark.parametrize("count", [0, 1, 14])
def test_fewer_points_than_a_cluster_are_all_noise(count: int) -> None:
    result = cluster_hdbscan(make_blobs()[0][:count], min_cluster_size=15, device="cuda")
    assert (result.labels == NOISE).all() and len(result.labels) == len(result.membership) == count
    assert (result.count, result.library, result.device) == (0, "none", "cpu")
    assert result.labels.dtype == np.int32 and result.membership.dtype == np.float32


def test_as_many_points_as_a_cluster_needs() -> None:
    result = cluster_hdbscan(make_blobs()[0][:15], min_cluster_size=15)
    assert result.library == "hdbscan" and len(result.labels) == 15


def test_exact_duplicates_are_clusters_with_finite_membership() -> None:
    points = np.repeat(np.eye(3) * 10, 30, axis=0)
    result = cluster_hdbscan(points)
    assert result.count == 3 and (result.labels.reshape(3, 30).min(1) == result.labels.reshape(3, 30).max(1)).all()
    assert np.isfinite(result.membership).all()


def make_people(people: int, videos: int, faces: int) -> npt.NDArray[np.float64]:
    """Faces as they are embedded: near-duplicates within a video, videos scattered about their person."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(people, 1, 1, 20)) * 4 + rng.normal(size=(people, videos, 1, 20)) * 2
    return (centres + rng.normal(size=(people, videos, faces, 20))).reshape(-1, 20)


def test_library_for_many_points_finds_the_same_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    points = make_people(people=12, videos=6, faces=20)
    slow = cluster_hdbscan(points, min_samples=5)
    monkeypatch.setattr(clusters, "FAST_FROM", 0)
    fast, again = (cluster_hdbscan(points, min_samples=5, jobs=jobs) for jobs in (1, 2))
    assert (slow.library, fast.library, fast.device) == ("hdbscan", "fast-hdbscan", "cpu")
    assert slow.count > 12 and adjusted_rand_score(slow.labels, fast.labels) > 0.99
    np.testing.assert_allclose(fast.membership, slow.membership, atol=0.05)
    np.testing.assert_array_equal(fast.labels, again.labels)


def test_many_points_in_many_dimensions_are_clustered_exactly() -> None:
    """Faces about videos, videos about people, in 50 dimensions: far more faces of a person than near neighbours."""
    rng = np.random.default_rng(0)
    face = np.arange(clusters.FAST_FROM)
    video, person = face // 10, face // 250
    points = rng.normal(size=(person[-1] + 1, 50))[person] + 0.5 * rng.normal(size=(video[-1] + 1, 50))[video]
    points = (points + 0.25 * rng.normal(size=points.shape)) / np.sqrt(1 + np.arange(50))
    result = cluster_hdbscan(points, min_cluster_size=15, min_samples=15, jobs=2)
    assert result.library == "fast-hdbscan"
    assert result.count == person[-1] + 1
    assert adjusted_rand_score(person, result.labels) > 0.99


@pytest.mark.parametrize("columns", [10, 40])
def test_both_libraries_are_exact(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """In 10 columns, faces of many people overlap: a tree that is only nearly right gives other clusters."""
    points = make_people(people=10, videos=10, faces=10)
    points = np.random.default_rng(1).normal(size=(len(points), columns)) * 2 + np.resize(points.T, (columns, len(points))).T
    slow = cluster_hdbscan(points, min_cluster_size=8)
    monkeypatch.setattr(clusters, "FAST_FROM", 0)
    fast = cluster_hdbscan(points, min_cluster_size=8)
    assert (slow.library, fast.library) == ("hdbscan", "fast-hdbscan")
    assert slow.count > 1 and adjusted_rand_score(slow.labels, fast.labels) > 0.99


def test_points_are_handed_to_cuml(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    class StandIn:
        def __init__(self, **arguments: Any) -> None:
            given.update(arguments)

        def fit(self, points: npt.NDArray[np.float32]) -> None:
            given["dtype"] = points.dtype
            self.labels_ = np.zeros(len(points), dtype=np.int64)
            self.probabilities_ = np.ones(len(points))

    monkeypatch.setitem(sys.modules, "cuml", ModuleType("cuml"))
    monkeypatch.setitem(sys.modules, "cuml.cluster", SimpleNamespace(HDBSCAN=StandIn))
    result = cluster_hdbscan(make_blobs()[0].astype(np.float64), min_cluster_size=20, min_samples=4, device="cuda")
    assert (result.library, result.device, result.count) == ("cuml", "cuda", 1)
    assert result.labels.dtype == np.int32 and result.membership.dtype == np.float32
    assert (given["dtype"], given["min_cluster_size"], given["min_samples"]) == (np.float32, 20, 4)


def test_bad_arguments_are_refused() -> None:
    points = np.zeros((30, 3))
    with pytest.raises(ValueError, match="min_cluster_size"):
        cluster_hdbscan(points, min_cluster_size=1)
    with pytest.raises(ValueError, match="min_samples"):
        cluster_hdbscan(points, min_samples=0)
    with pytest.raises(ValueError, match="device"):
        cluster_hdbscan(points, device="gpu")
    points[4, 0] = np.inf
    with pytest.raises(ValueError, match="first in row 4"):
        cluster_hdbscan(points)
