"""What we pass to cuML exists in its documented signatures: it cannot be imported without a GPU."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dfd_ray.analysis import cluster_hdbscan, embed_tsne


class Tsne:
    """cuml.manifold.TSNE as documented for 26.10."""

    kl_divergence_ = 0.0

    def __init__(
        self,
        *,
        n_components: int = 2,
        perplexity: float = 30.0,
        early_exaggeration: float = 12.0,
        late_exaggeration: float = 1.0,
        learning_rate: float = 200.0,
        max_iter: int = 1000,
        n_iter_without_progress: int = 300,
        min_grad_norm: float = 1e-7,
        metric: str = "euclidean",
        metric_params: Any = None,
        init: str = "random",
        random_state: int | None = None,
        method: str = "fft",
        angle: float = 0.5,
        n_neighbors: int = 90,
        perplexity_max_iter: int = 100,
        exaggeration_iter: int = 250,
        pre_momentum: float = 0.5,
        post_momentum: float = 0.8,
        learning_rate_method: str | None = "adaptive",
        square_distances: bool = True,
        precomputed_knn: Any = None,
        verbose: bool = False,
        output_type: str | None = None,
    ) -> None:
        assert n_components == 2 and init in ("random", "pca") and method in ("fft", "barnes_hut", "exact")
        assert learning_rate_method in ("adaptive", None) and n_neighbors <= 1023

    def fit_transform(self, X: Any, y: Any = None, *, convert_dtype: bool = True, knn_graph: Any = None) -> Any:  # noqa: N803
        return X[:, :2]


class Hdbscan:
    """cuml.cluster.hdbscan.HDBSCAN as documented for 26.10."""

    def __init__(
        self,
        *,
        min_cluster_size: int = 5,
        min_samples: int | None = None,
        cluster_selection_epsilon: float = 0.0,
        max_cluster_size: int = 0,
        metric: str = "euclidean",
        alpha: float = 1.0,
        p: Any = None,
        cluster_selection_method: str = "eom",
        allow_single_cluster: bool = False,
        gen_min_span_tree: bool = False,
        verbose: bool = False,
        output_type: str | None = None,
        prediction_data: bool = False,
        build_algo: str = "brute_force",
        build_kwds: dict[str, Any] | None = None,
        device_ids: Any = None,
    ) -> None:
        assert metric in ("euclidean", "l2") and build_algo in ("brute_force", "nn_descent")

    def fit(self, X: Any, y: Any = None, *, convert_dtype: bool = True) -> None:  # noqa: N803
        self.labels_ = np.zeros(len(X), np.int64)
        self.probabilities_ = np.ones(len(X), np.float32)


def test_arguments_are_in_the_documented_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuml", ModuleType("cuml"))
    monkeypatch.setitem(sys.modules, "cuml.manifold", SimpleNamespace(TSNE=Tsne))
    monkeypatch.setitem(sys.modules, "cuml.cluster", SimpleNamespace(HDBSCAN=Hdbscan))
    points = np.random.default_rng(0).normal(size=(3000, 5))
    assert embed_tsne(points, dimensions=2, perplexity=500, device="cuda").library == "cuml"
    assert cluster_hdbscan(points, device="cuda").library == "cuml"
