"""t-SNE on the CPU; the call of cuML is replaced by a stand-in that only records what it was given."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import openTSNE
import pytest

from dfd_ray.analysis import embed_tsne, trustworthiness

FloatArray = npt.NDArray[np.float64]


def make_blobs(per_blob: int = 50, blobs: int = 4, dimensions: int = 10) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(blobs, dimensions)) * 10
    truth = np.repeat(np.arange(blobs), per_blob)
    return centres[truth] + rng.normal(size=(len(truth), dimensions)), truth


def nearest_is_of_the_same_blob(coordinates: npt.NDArray[np.float32], truth: npt.NDArray[np.int64]) -> float:
    distances = np.linalg.norm(coordinates[:, None] - coordinates[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float(np.mean(truth[distances.argmin(axis=1)] == truth))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_blobs_stay_apart_and_neighbours_near(dimensions: int) -> None:
    points, truth = make_blobs()
    result = embed_tsne(points.astype(np.float32), dimensions=dimensions, perplexity=15, iterations=400)
    assert result.coordinates.shape == (200, dimensions) and result.coordinates.dtype == np.float32
    assert (result.library, result.device) == ("openTSNE", "cpu")
    assert (result.perplexity, result.iterations) == (15.0, 400)
    assert 0 < result.divergence < 2
    assert nearest_is_of_the_same_blob(result.coordinates, truth) == 1.0
    trusted = trustworthiness(points, result.coordinates)
    assert trusted is not None and trusted > 0.9
    shuffled = trustworthiness(points, np.random.default_rng(1).permutation(result.coordinates))
    assert shuffled is not None and shuffled < 0.7


def test_more_iterations_diverge_less() -> None:
    points, _ = make_blobs()
    short, long = (embed_tsne(points, iterations=iterations).divergence for iterations in (20, 300))
    assert long < short


@pytest.mark.parametrize(("iterations", "exaggerated"), [(10, 3), (90, 30), (800, 250)])
def test_iterations_count_the_exaggerated_ones(monkeypatch: pytest.MonkeyPatch, iterations: int, exaggerated: int) -> None:
    phases: list[tuple[int, float | None]] = []
    optimize = openTSNE.TSNEEmbedding.optimize

    def spy(self: Any, n_iter: int, exaggeration: float | None, **arguments: Any) -> Any:
        phases.append((n_iter, exaggeration))
        return optimize(self, n_iter=n_iter, exaggeration=exaggeration, **arguments)

    monkeypatch.setattr(openTSNE.TSNEEmbedding, "optimize", spy)
    embed_tsne(make_blobs(per_blob=5)[0], iterations=iterations)
    assert phases == [(exaggerated, 12.0), (iterations - exaggerated, None)]


def test_repeats_to_the_bit_with_one_seed() -> None:
    points, _ = make_blobs(per_blob=25)
    first, again, other = (embed_tsne(points, iterations=100, seed=seed).coordinates for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_result_names_the_cpu_for_a_map_in_three_dimensions_asked_of_the_gpu() -> None:
    points, _ = make_blobs(per_blob=10)
    asked_gpu = embed_tsne(points, dimensions=3, iterations=50, device="cuda")
    assert (asked_gpu.library, asked_gpu.device) == ("openTSNE", "cpu")
    np.testing.assert_array_equal(asked_gpu.coordinates, embed_tsne(points, dimensions=3, iterations=50).coordinates)


def test_map_in_two_dimensions_is_handed_to_cuml(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    class StandIn:
        kl_divergence_ = 0.5

        def __init__(self, **arguments: Any) -> None:
            given.update(arguments)

        def fit_transform(self, points: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            given["dtype"] = points.dtype
            return points[:, :2]

    package = ModuleType("cuml")
    monkeypatch.setitem(sys.modules, "cuml", package)
    monkeypatch.setitem(sys.modules, "cuml.manifold", SimpleNamespace(TSNE=StandIn))
    points, _ = make_blobs()
    result = embed_tsne(points, dimensions=2, perplexity=50, iterations=600, seed=3, device="cuda")
    assert (result.library, result.device, result.divergence) == ("cuml", "cuda", 0.5)
    assert (given["dtype"], given["learning_rate_method"], given["n_neighbors"]) == (np.float32, None, 150)
    assert (given["max_iter"], given["exaggeration_iter"], given["random_state"]) == (600, 200, 3)


@pytest.mark.parametrize(("count", "perplexity"), [(4, 1.0), (10, 3.0), (90, 89 / 3), (91, 30.0)])
def test_perplexity_is_lowered_for_few_points_and_reported(count: int, perplexity: float) -> None:
    points = np.random.default_rng(0).normal(size=(count, 5))
    result = embed_tsne(points, iterations=30)
    assert result.perplexity == pytest.approx(perplexity)
    assert result.coordinates.shape == (count, 3) and np.isfinite(result.coordinates).all()


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_too_few_points_keep_their_leading_columns(count: int) -> None:
    points = np.arange(count * 2, dtype=np.float64).reshape(count, 2) + 100
    result = embed_tsne(points)
    assert (result.library, result.device, result.iterations, result.perplexity) == ("none", "cpu", 0, 0.0)
    assert np.isnan(result.divergence)
    expected = points - points.mean(axis=0) if count else points
    np.testing.assert_allclose(result.coordinates[:, :2], expected)
    assert not result.coordinates[:, 2].any()


def test_points_that_coincide() -> None:
    same = embed_tsne(np.full((20, 4), 3.0))
    assert same.library == "none" and not same.coordinates.any()
    points, _ = make_blobs(per_blob=20)
    points[:40] = points[0]
    half = embed_tsne(points, iterations=100)
    assert half.library == "openTSNE" and np.isfinite(half.coordinates).all()


def test_fewer_columns_than_the_map_has() -> None:
    points = np.random.default_rng(0).normal(size=(60, 2))
    result = embed_tsne(points, dimensions=3, iterations=200)
    assert result.coordinates.shape == (60, 3)
    trusted = trustworthiness(points, result.coordinates, neighbours=5)
    assert trusted is not None and trusted > 0.9


def test_bad_arguments_are_refused() -> None:
    points = np.zeros((10, 3))
    with pytest.raises(ValueError, match="dimensions"):
        embed_tsne(points, dimensions=4)
    with pytest.raises(ValueError, match="iterations"):
        embed_tsne(points, iterations=0)
    with pytest.raises(ValueError, match="perplexity"):
        embed_tsne(points, perplexity=0.5)
    with pytest.raises(ValueError, match="device"):
        embed_tsne(points, device="auto")
    points[3, 1] = np.nan
    with pytest.raises(ValueError, match="first in row 3"):
        embed_tsne(points)
