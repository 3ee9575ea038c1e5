"""What of a network learns: its head's start, and what keeps its initial weights."""

from __future__ import annotations

from typing import Any, cast

from timm.models import group_parameters
from torch import nn

from dfd_ray.errors import ConfigurationError


def start_head(module: nn.Module) -> None:
    """Start the head near zero, so that training begins at even odds.

    timm's own initialisation of EfficientNet's head suits a thousand classes; for two it gives logits so large that the
    first epoch is spent on unlearning them (a loss of 2.6 instead of 0.7).
    """
    head = cast(Any, module).get_classifier()
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)


def freeze_layers(module: nn.Module, count: int) -> None:
    """Let the first `count` groups of a timm model's layers keep their weights.

    The groups are timm's own (`group_matcher`, coarse): the stem, the stages or blocks in their order, and last the head.
    A few videos teach them little that holds elsewhere, and a step that does not go back through them is shorter.
    Raises ConfigurationError if nothing would be left to learn.
    """
    matcher = cast(Any, module).group_matcher(coarse=True)
    groups = group_parameters(module, matcher, return_values=True)
    if count >= len(groups):
        raise ConfigurationError(
            f"train.frozen_layers = {count}: the network has {len(groups)} groups of layers, one must learn"
        )
    for group in sorted(groups)[:count]:
        for parameter in groups[group]:
            parameter.requires_grad_(False)


def set_training(module: nn.Module, freeze_norm: bool) -> None:
    """Put a network in training mode, but for its batch normalisation if that keeps its means and variances."""
    module.train()
    if freeze_norm:
        for layer in module.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()
