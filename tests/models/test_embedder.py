from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from dfd_ray.errors import ResourceError
from dfd_ray.models import embedder
from dfd_ray.models.backbones import create_backbone, embed_faces
from dfd_ray.models.embedder import Embedder, Precision, choose_precision, native_precision

torch.set_num_threads(1)
has_bf16 = pytest.mark.skipif(native_precision("cpu") == "fp32", reason="this CPU does not compute in bf16")


def faces(count: int, size: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "test_convnext"])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_vectors_are_those_of_torch(name: str, count: int) -> None:
    module, spec = create_backbone(name, weights="random")
    vectors = Embedder(module, spec)(faces(count))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, embed_faces(module, spec, faces(count)), rtol=1e-3, atol=1e-4)


@has_bf16
def test_bf16_is_close_and_not_the_same() -> None:
    module, spec = create_backbone("test_efficientnet", weights="random", image_size=64)
    exact, coarse = (Embedder(module, spec, precision=each)(faces(6)) for each in get_args(Precision))
    assert cosines(exact, coarse).min() > 0.999
    assert not np.array_equal(exact, coarse)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=has_bf16)])
def test_a_vector_does_not_depend_on_the_faces_beside_it(precision: Precision) -> None:
    module, spec = create_backbone("test_efficientnet", weights="random", image_size=64)
    net, images = Embedder(module, spec, precision=precision), faces(7)
    vectors = net(images)
    for start, stop in [(1, 7), (2, 5), (3, 4)]:
        np.testing.assert_array_equal(net(images[start:stop]), vectors[start:stop])


def test_bf16_is_refused_where_it_is_not_in_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    module, spec = create_backbone("test_efficientnet", weights="random", image_size=64)
    monkeypatch.setattr(embedder, "native_precision", lambda device: "fp32")
    with pytest.raises(ResourceError, match=r"embed\.precision=fp32"):
        Embedder(module, spec, precision="bf16")
    assert choose_precision(module, spec, faces(3)) == ("fp32", None)


@has_bf16
def test_precision_is_chosen_by_what_it_does_to_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    module, spec = create_backbone("test_efficientnet", weights="random", image_size=64)
    precision, cosine = choose_precision(module, spec, faces(6))
    assert precision == "bf16" and cosine is not None and 0.999 < cosine < 1.0
    monkeypatch.setattr(embedder, "LEAST_COSINE", (1.0 + cosine) / 2)
    assert choose_precision(module, spec, faces(6)) == ("fp32", cosine)
    assert choose_precision(module, spec, faces(0)) == ("fp32", None)


def test_training_mode_is_refused() -> None:
    module, spec = create_backbone("test_efficientnet", weights="random")
    with pytest.raises(ValueError, match="eval"):
        Embedder(module.train(), spec)
