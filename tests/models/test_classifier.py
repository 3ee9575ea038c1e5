from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.special import expit, softmax

from dfd_ray.errors import WeightsError
from dfd_ray.models.backbones import InputSpec, create_backbone, embed_faces
from dfd_ray.models.classifier import FAKE, load_classifier, save_classifier, score_faces

TINY = "test_efficientnet"
FACES = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)


def save(path: Path, module: torch.nn.Module, **changes) -> None:
    spec = InputSpec(32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    save_classifier(path, module, **{"backbone": TINY, "spec": spec, "crop_margin": 0.6, **changes})


def network(classes: int = 2) -> torch.nn.Module:
    return create_backbone(TINY, weights="random", num_classes=classes)[0]


def test_roundtrip(tmp_path):
    module = network()
    save(tmp_path / "model.safetensors", module, extra={"fold": "3"})
    loaded, spec, facts = load_classifier(tmp_path / "model.safetensors")
    assert spec == InputSpec(32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert not loaded.training
    assert (facts["backbone"], facts["crop_margin"], facts["classes"], facts["fold"]) == (
        TINY,
        0.6,
        ["REAL", "FAKE"],
        "3",
    )
    np.testing.assert_array_equal(score_faces(loaded, spec, FACES), score_faces(module, spec, FACES))


def test_score_is_the_log_odds_of_softmax():
    module, spec = create_backbone(TINY, weights="random", num_classes=2, image_size=32)
    scores = score_faces(module, spec, list(FACES), batch_size=2)
    assert scores.shape == (5,) and scores.dtype == np.float32
    expected = softmax(embed_faces(module, spec, FACES), axis=1)[:, FAKE]
    np.testing.assert_allclose(expit(scores), expected, rtol=1e-4)
    assert score_faces(module, spec, []).shape == (0,)
    with pytest.raises(ValueError, match="classes"):
        score_faces(network(3), spec, FACES)


def test_two_class_softmax_is_the_sigmoid_and_the_report_s_table():
    z = np.linspace(-30, 30, 61)
    np.testing.assert_allclose(softmax(np.stack([0 * z, z], axis=1), axis=1)[:, 1], expit(z), rtol=1e-12)
    table = np.array([3.2, -5.7, 0.6])
    np.testing.assert_allclose(expit(table), [0.9608, 0.00333, 0.6457], atol=5e-5)
    np.testing.assert_allclose(softmax(table), [0.93074, 0.000127, 0.06913], atol=5e-6)


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_files_that_are_no_classifier(tmp_path):
    canary = tmp_path / "canary"
    state = {name: value.contiguous() for name, value in network().state_dict().items()}
    save_file(state, tmp_path / "bare.safetensors")
    save_file(state, tmp_path / "odd.safetensors", metadata={"dfd_ray": "[1]"})
    save_file(state, tmp_path / "lean.safetensors", metadata={"dfd_ray": '{"format_version": 1, "classes": ["REAL", "FAKE"]}'})
    save_file(
        state,
        tmp_path / "newer.safetensors",
        metadata={"dfd_ray": '{"format_version": 2, "classes": ["REAL", "FAKE"]}'},
    )
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps(Canary(canary)))
    torch.save({"x": Canary(canary)}, tmp_path / "torch.safetensors")
    save(tmp_path / "torn.safetensors", network())
    torn = (tmp_path / "torn.safetensors").read_bytes()
    (tmp_path / "torn.safetensors").write_bytes(torn[: len(torn) // 2])
    save(tmp_path / "resnet.safetensors", network(), backbone="test_resnet")
    save(tmp_path / "unknown.safetensors", network(), backbone="no_such_net")
    save(tmp_path / "three.safetensors", network(3))
    names = "bare odd lean newer pickle torch torn resnet unknown three missing"
    for name in names.split():
        with pytest.raises(WeightsError) as error:
            load_classifier(tmp_path / f"{name}.safetensors")
        assert f"{name}.safetensors" in str(error.value) and "\n" not in str(error.value)
    assert not canary.exists()


def test_extra_facts_cannot_replace_the_format_s(tmp_path):
    with pytest.raises(ValueError, match="backbone"):
        save(tmp_path / "model.safetensors", network(), extra={"backbone": "x"})
