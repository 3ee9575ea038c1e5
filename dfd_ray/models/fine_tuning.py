"""Set up fine-tuning: the head's initial weights, frozen layers, the optimiser and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, cast

import torch
from timm.models import group_parameters
from torch import nn

from dfd_ray.errors import ConfigurationError
from dfd_ray.models.backbones import TimmModel

Optimiser = Literal["adamw", "sgd"]
Schedule = Literal["cosine", "polynomial"]
MOMENTUM = 0.9
POWER = 0.9
"""Exponent of the polynomial schedule. Source: L.-C. Chen et al., "DeepLab" (2016, arXiv 1606.00915)."""


def start_head(module: nn.Module) -> None:
    """Start the head near zero, so that training begins at even odds.

    timm initialises EfficientNet's head for a thousand classes. With two, the logits are so large that the first epoch only
    unlearns them (a loss of 2.6 instead of 0.7).
    """
    head = cast("TimmModel", module).get_classifier()
    # Networks made for distillation have two heads; their logits are averaged.
    for layer in nn.ModuleList(head if isinstance(head, tuple) else [head]).modules():
        if isinstance(layer, nn.Linear | nn.Conv2d) and len(layer.weight) == module.num_classes:
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def freeze_layers(module: nn.Module, count: int) -> None:
    """Freeze the first `count` groups of a timm model's layers, and let all others learn.

    The groups are timm's own (`group_matcher`, coarse): the stem, the stages or blocks in their order, and last the head.
    A few videos teach the first groups little that holds elsewhere, and a step without their gradients is shorter. Raises
    ConfigurationError if no group is left to learn, or if timm has no groups for the network.
    """
    if not count:
        module.requires_grad_(True)
        return
    if not hasattr(module, "group_matcher"):
        raise ConfigurationError(f"train.frozen_layers = {count}: timm has no groups of {type(module).__name__}'s layers")
    groups = group_parameters(module, cast("TimmModel", module).group_matcher(coarse=True), return_values=True)
    if count >= len(groups):
        found = f"the network has {len(groups)} groups of layers, one must learn"
        raise ConfigurationError(f"train.frozen_layers = {count}: {found}")
    for place, group in enumerate(sorted(groups)):
        for parameter in groups[group]:
            parameter.requires_grad_(place >= count)


def create_optimiser(module: nn.Module, name: Optimiser, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Return AdamW or SGD over all weights of a network. Frozen weights have no gradient, so that it does not change them."""
    if name == "sgd":
        return torch.optim.SGD(module.parameters(), learning_rate, MOMENTUM, weight_decay=weight_decay, nesterov=True)
    return torch.optim.AdamW(module.parameters(), learning_rate, weight_decay=weight_decay)


def schedule_learning_rate(schedule: Schedule, warmup: float, updates: int) -> Callable[[int], float]:
    """Return a function from the number of an update to the factor of the learning rate: a linear rise, then a fall to zero.

    The rise takes the share `warmup` of the `updates`. "cosine" falls by half a cosine, "polynomial" as (1 - done) ** POWER.
    """
    rise = max(1, round(warmup * updates))

    def factor(update: int) -> float:
        if update < rise:
            return (update + 1) / rise
        done = min(1.0, (update - rise) / max(1, updates - rise))
        return float((1 - done) ** POWER if schedule == "polynomial" else 0.5 * (1 + math.cos(math.pi * done)))

    return factor


def set_training(module: nn.Module, freeze_norm: bool) -> None:
    """Put a network in training mode. With `freeze_norm`, its batch normalisation keeps its means and variances."""
    module.train()
    if freeze_norm:
        for layer in module.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()
