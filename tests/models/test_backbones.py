from __future__ import annotations

import pickle
import shutil
import time
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from dfd_ray.errors import ConfigurationError, WeightsError
from dfd_ray.models import weights as sources
from dfd_ray.models.backbones import InputSpec, create_backbone, embed_faces, feature_size, normalise

TINY = "test_efficientnet"
torch.set_num_threads(1)


def faces(count: int, size: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.skipif(sources.find_package_file("tf_efficientnet_lite0") is None, reason="the weights package is not installed")
def test_package_weights_know_a_cat():
    data = pytest.importorskip("skimage.data")
    module, spec = create_backbone("tf_efficientnet_lite0", num_classes=1000)
    assert (spec.size, spec.mean, spec.std) == (224, (0.5,) * 3, (0.5,) * 3)
    cat = data.chelsea()[:300, 75:375]
    assert embed_faces(module, spec, cat[None]).argmax() == 285
    embedder, _ = create_backbone("tf_efficientnet_lite0", weights="package")
    with torch.inference_mode():
        expected = module.forward_head(module.forward_features(normalise(torch.from_numpy(cat[None]), spec)), pre_logits=True)
    np.testing.assert_allclose(embed_faces(embedder, spec, cat[None]), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_embeddings_equal_a_plain_timm_loop(count):
    module, spec = create_backbone(TINY, weights="random", image_size=32)
    images = faces(count)
    vectors = embed_faces(module, spec, images, batch_size=3)
    assert vectors.shape == (count, feature_size(module)) and vectors.dtype == np.float32
    plain = timm.create_model(TINY, num_classes=0).eval()
    plain.load_state_dict(module.state_dict())
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    for image, vector in zip(images, vectors, strict=True):
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        x = torch.nn.functional.interpolate(x, (32, 32), mode="bilinear", antialias=True)
        with torch.inference_mode():
            np.testing.assert_allclose(vector, plain((x / 255 - mean) / std)[0], rtol=1e-3, atol=1e-4)


def test_faces_of_several_sizes():
    module, spec = create_backbone(TINY, weights="random", image_size=32)
    mixed = [faces(1, 40)[0], faces(1, 56)[0]]
    vectors = embed_faces(module, spec, mixed)
    np.testing.assert_allclose(vectors[1:], embed_faces(module, spec, mixed[1:]), rtol=1e-3, atol=1e-4)


def test_training_mode_is_refused():
    module, spec = create_backbone(TINY, weights="random")
    with pytest.raises(ValueError, match="eval"):
        embed_faces(module.train(), spec, faces(1))


def test_random_embedders_are_alike_and_leave_the_generator_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    states = [create_backbone(TINY, weights="random")[0].state_dict() for _ in range(2)]
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("name", [TINY, "mobilenetv3_small_050", "test_vit"])
def test_feature_size_is_the_width_of_the_output(name):
    module, spec = create_backbone(name, weights="random", image_size=64)
    assert embed_faces(module, spec, faces(1)).shape == (1, feature_size(module))


def test_normalise():
    spec = InputSpec(2, (0.5, 0.25, 0.0), (0.5, 1.0, 2.0))
    image = torch.tensor([[[[0, 51, 255]] * 2] * 2], dtype=torch.uint8)
    pixels = normalise(image, spec, dtype=torch.float64)
    assert pixels.shape == (1, 3, 2, 2) and pixels.dtype == torch.float64
    np.testing.assert_allclose(pixels[0, :, 0, 0], [-1, -0.05, 0.5], rtol=1e-6)
    large = normalise(torch.from_numpy(faces(2)), InputSpec(64, spec.mean, spec.std))
    assert large.shape == (2, 3, 64, 64) and large.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(ValueError, match="uint8"):
        normalise(image.float(), spec)
    with pytest.raises(ValueError, match="uint8"):
        normalise(image.permute(0, 3, 1, 2), spec)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("tf_eficientnet_b7", "tf_efficientnet_b7"), (f"{TINY}.nope", "r160_in1k"), ("hf-hub:someone/net", "no model")],
)
def test_unknown_names(name, hint):
    with pytest.raises(ConfigurationError) as error:
        create_backbone(name, weights="random")
    assert hint in one_line(error)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_a_file(tmp_path, suffix):
    trained, _ = create_backbone(TINY, weights="random", num_classes=2)
    path = tmp_path / f"weights{suffix}"
    state = {name: value.contiguous() for name, value in trained.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    for classes in (0, 2, 5):
        module, _ = create_backbone(TINY, weights=str(path), num_classes=classes)
        loaded = module.state_dict()
        assert all(torch.equal(loaded[name], state[name]) for name in loaded if classes == 2 or "classifier" not in name)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_is_never_run(tmp_path):
    canary = tmp_path / "canary"
    plain, zipped = tmp_path / "plain.pth", tmp_path / "zipped.pth"
    plain.write_bytes(pickle.dumps({"conv_stem.weight": Canary(canary)}))
    torch.save({"conv_stem.weight": Canary(canary)}, zipped)
    for path in (plain, zipped):
        with pytest.raises(WeightsError) as error:
            create_backbone(TINY, weights=str(path))
        assert path.name in one_line(error)
        assert not canary.exists()


def test_files_that_do_not_fit(tmp_path):
    other, _ = create_backbone("test_resnet", weights="random")
    good, _ = create_backbone(TINY, weights="random")
    cases = {
        "other.safetensors": {name: value.contiguous() for name, value in other.state_dict().items()},
        "shape.safetensors": {**good.state_dict(), "conv_stem.weight": torch.zeros(1)},
        "short.safetensors": {"conv_stem.weight": good.state_dict()["conv_stem.weight"]},
    }
    for name, state in cases.items():
        save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / name)
        with pytest.raises(WeightsError, match="does not fit") as error:
            create_backbone(TINY, weights=str(tmp_path / name))
        assert name in one_line(error)
    (tmp_path / "torn.safetensors").write_bytes(b"\x00" * 20)
    (tmp_path / "empty.pth").touch()
    torch.save([1, 2], tmp_path / "list.pth")
    for path in ("torn.safetensors", "empty.pth", "list.pth", "missing.pth", "odd.bin"):
        with pytest.raises(WeightsError) as error:
            create_backbone(TINY, weights=str(tmp_path / path), field="train.weights")
        assert path in one_line(error)


def test_package_of_a_model_without_one():
    with pytest.raises(WeightsError) as error:
        create_backbone(TINY, weights="package")
    assert "tf_efficientnet_lite0" in one_line(error)


def test_hub_failure_is_quick_and_says_what_to_do(monkeypatch):
    # Nothing listens on port 9 of this machine: the same everywhere, with or without a network.
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(WeightsError) as error:
        create_backbone(TINY, weights="auto", field="train.weights")
    assert time.monotonic() - started < 60
    text = one_line(error)
    assert all(part in text for part in (TINY, "train.weights=FILE", "train.backbone=tf_efficientnet_lite0"))


def test_hub_cache_needs_no_network(tmp_path, monkeypatch):
    trained, _ = create_backbone(TINY, weights="random", num_classes=1000)
    folder = tmp_path / "models--timm--test_efficientnet.r160_in1k"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    state = {name: value.contiguous() for name, value in trained.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    shutil.move(tmp_path / "model.safetensors", folder / "snapshots" / "abc")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(sources, "check_hub", lambda: pytest.fail("the network was asked"))
    module, _ = create_backbone(TINY, weights="hub", num_classes=2)
    assert torch.equal(module.state_dict()["conv_stem.weight"], state["conv_stem.weight"])
