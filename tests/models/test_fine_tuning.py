from __future__ import annotations

from itertools import pairwise

import pytest
import timm
import torch

from dfd_ray.errors import ConfigurationError
from dfd_ray.models.backbones import create_backbone
from dfd_ray.models.classifier import draw_patterns, load_classifier, save_classifier, score_faces
from dfd_ray.models.fine_tuning import create_optimiser, freeze_layers, schedule_learning_rate, set_training, start_head


@pytest.fixture
def network() -> torch.nn.Module:
    return timm.create_model("test_efficientnet", num_classes=2)


def test_the_first_groups_keep_their_weights_in_a_step(network):
    freeze_layers(network, 3)
    before = {name: value.clone() for name, value in network.named_parameters()}
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network(torch.rand(4, 3, 64, 64)).square().sum().backward()
    torch.optim.SGD(learnt, lr=0.1).step()
    changed = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    frozen = {name for name in before if name.startswith(("conv_stem", "bn1", "blocks.0", "blocks.1."))}
    assert changed == before.keys() - frozen


def test_none_frozen_is_the_default_and_all_frozen_is_refused(network):
    freeze_layers(network, 0)
    assert all(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(ConfigurationError, match=r"train\.frozen_layers = 7: the network has 7 groups"):
        freeze_layers(network, 7)
    freeze_layers(network, 6)
    assert {name for name, value in network.named_parameters() if value.requires_grad} == {
        "classifier.weight",
        "classifier.bias",
    }


@pytest.mark.parametrize("freeze", [False, True])
def test_frozen_normalisation_keeps_its_statistics(network, freeze):
    before = network.bn1.running_mean.clone()
    set_training(network, freeze)
    assert network.training
    network(torch.rand(4, 3, 64, 64))
    assert torch.equal(network.bn1.running_mean, before) == freeze


def test_training_begins_at_even_odds(network):
    start_head(network)
    assert network.eval()(torch.rand(4, 3, 64, 64)).abs().max() < 0.5


@pytest.mark.parametrize("name", ["pit_ti_distilled_224", "levit_128s"])
def test_a_network_with_several_heads_is_trained_saved_and_loaded(name, tmp_path):
    network, spec = create_backbone(name, weights="random", num_classes=2, image_size=64)
    start_head(network)
    faces = torch.rand(4, 3, spec.size, spec.size)
    with torch.no_grad():
        assert network(faces).abs().max() < 0.5
    set_training(network, False)
    freeze_layers(network, 0)
    logits = network(faces)
    assert logits.shape == (4, 2)
    logits.square().sum().backward()
    create_optimiser(network, "sgd", 0.01, 0.0).step()
    assert all(parameter.grad is not None for parameter in network.parameters()), "workers would wait for its gradient"
    network.eval()
    path = tmp_path / "model.safetensors"
    save_classifier(path, network, backbone=name, spec=spec, crop_margin=0.6)
    loaded, _, _ = load_classifier(path)
    patterns = draw_patterns()
    assert score_faces(loaded, spec, patterns).tolist() == score_faces(network, spec, patterns).tolist()


def test_a_network_without_groups_of_layers_is_trained_whole_or_refused():
    network = timm.create_model("pit_ti_224", num_classes=2).requires_grad_(False)
    with pytest.raises(ConfigurationError, match=r"train\.frozen_layers = 1: timm has no groups of PoolingVisionTransformer"):
        freeze_layers(network, 1)
    freeze_layers(network, 0)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_frozen_layers_thaw_and_what_was_frozen_was_not_touched(network):
    before = {name: value.clone() for name, value in network.named_parameters()}
    for name in ("adamw", "sgd"):
        freeze_layers(network, 6)
        optimiser = create_optimiser(network, name, 0.1, 0.5)
        network(torch.rand(4, 3, 64, 64)).square().sum().backward()
        optimiser.step()
        changed = {n for n, value in network.named_parameters() if not torch.equal(value, before[n])}
        assert changed == {"classifier.weight", "classifier.bias"}, "neither by a gradient nor by the decay"
        optimiser.zero_grad()
    freeze_layers(network, 0)
    network(torch.rand(4, 3, 64, 64)).square().sum().backward()
    optimiser.step()
    assert not torch.equal(network.conv_stem.weight, before["conv_stem.weight"])


@pytest.mark.parametrize("schedule", ["cosine", "polynomial"])
def test_the_learning_rate_rises_then_falls_to_zero(schedule):
    factor = schedule_learning_rate(schedule, 0.1, 100)
    rates = [factor(update) for update in range(101)]
    assert rates[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert rates[10] == 1.0
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert rates[100] == pytest.approx(0.0)
    assert rates[55] == pytest.approx(0.5 if schedule == "cosine" else 0.5**0.9)
