from __future__ import annotations

import json
import pickle
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.special import expit, softmax

from dfd_ray.errors import WeightsError
from dfd_ray.models.backbones import InputSpec, create_backbone, embed_faces
from dfd_ray.models.classifier import FAKE, draw_patterns, load_classifier, save_classifier, score_faces

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


def facts_of(path: Path) -> dict[str, object]:
    with safe_open(str(path), framework="pt") as file:
        return json.loads(file.metadata()["dfd_ray"])


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
    save_file(state, tmp_path / "lean.safetensors", metadata={"dfd_ray": '{"format_version": 2, "classes": ["REAL", "FAKE"]}'})
    save_file(
        state,
        tmp_path / "newer.safetensors",
        metadata={"dfd_ray": '{"format_version": 3, "classes": ["REAL", "FAKE"]}'},
    )
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps(Canary(canary)))
    torch.save({"x": Canary(canary)}, tmp_path / "torch.safetensors")
    save(tmp_path / "torn.safetensors", network())
    torn = (tmp_path / "torn.safetensors").read_bytes()
    (tmp_path / "torn.safetensors").write_bytes(torn[: len(torn) // 2])
    save(tmp_path / "resnet.safetensors", network(), backbone="test_resnet")
    save(tmp_path / "unknown.safetensors", network(), backbone="no_such_net")
    save(tmp_path / "good.safetensors", network())
    three = {name: value.contiguous() for name, value in network(3).state_dict().items()}
    save_file(three, tmp_path / "three.safetensors", metadata={"dfd_ray": json.dumps(facts_of(tmp_path / "good.safetensors"))})
    names = "bare odd lean newer pickle torch torn resnet unknown three missing"
    for name in names.split():
        with pytest.raises(WeightsError) as error:
            load_classifier(tmp_path / f"{name}.safetensors")
        assert f"{name}.safetensors" in str(error.value) and "\n" not in str(error.value)
    assert not canary.exists()


def test_extra_facts_cannot_replace_the_format_s(tmp_path):
    with pytest.raises(ValueError, match="backbone"):
        save(tmp_path / "model.safetensors", network(), extra={"backbone": "x"})


@pytest.mark.parametrize("change", ["weight", "mean", "golden", "golden is short", "not a number"])
def test_a_classifier_that_scores_otherwise_than_it_did_is_refused(tmp_path, change):
    module = network()
    with torch.no_grad():
        module.classifier.weight *= 300  # as sure as a trained one
    save(tmp_path / "model.safetensors", module)
    facts = facts_of(tmp_path / "model.safetensors")
    assert len(set(facts["golden"])) == 4, "the patterns are told apart"
    if change in ("weight", "not a number"):
        with torch.no_grad():
            module.classifier.weight[0] *= 1.5 if change == "weight" else float("nan")
    elif change == "mean":
        facts["mean"] = [0.5, 0.5, 0.5]
    elif change == "golden":
        facts["golden"][2] += 0.1 + 0.02 * abs(facts["golden"][2])  # twice what is borne
    else:
        facts["golden"].pop()
    tensors = {name: value.contiguous() for name, value in module.state_dict().items()}
    save_file(tensors, tmp_path / "changed.safetensors", metadata={"dfd_ray": json.dumps(facts)})
    message = "golden scores" if change == "golden is short" else "does not score as it did when it was saved"
    with pytest.raises(WeightsError, match=message) as error:
        load_classifier(tmp_path / "changed.safetensors")
    assert "\n" not in str(error.value)


def test_the_patterns_are_the_same_everywhere():
    patterns = draw_patterns()
    assert patterns.shape == (4, 200, 200, 3)
    assert zlib.crc32(patterns.tobytes()) == 53766356
    assert patterns.std() > 50


def test_timm_loads_the_file_as_the_tutorial_says(tmp_path, monkeypatch):
    module = network()
    save(tmp_path / "model.safetensors", module)
    page = (Path(__file__).parents[2] / "docs/tutorials/own-videos.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "timm.create_model" in block)
    assert len(code.strip().splitlines()) == 5
    for written, here in (
        ("tf_efficientnet_lite0", TINY),
        ("runs/demo/models/fold-0.safetensors", str(tmp_path / "model.safetensors")),
    ):
        assert written in code
        code = code.replace(written, here)
    names: dict[str, object] = {}
    exec(code, names)
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(names["model"](images), module(images))
