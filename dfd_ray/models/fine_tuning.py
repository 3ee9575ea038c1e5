"""How a network learns: its head's start, what keeps its initial weights, the optimiser and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from timm.models import group_parameters
from torch import nn

from dfd_ray.errors import ConfigurationError

Optimiser = Literal["adamw", "sgd"]
Schedule = Literal["cosine", "polynomial"]
MOMENTUM = 0.9
POWER = 0.9
"""Of the polynomial: L.-C. Chen et al., "DeepLab" (2016, arXiv 1606.00915)."""


def start_head(module: nn.Module) -> None:
    """Start the head near zero, so that training begins at even odds.

    timm's own initialisation of EfficientNet's head suits a thousand classes; for two it gives logits so large that the
    first epoch is spent on unlearning them (a loss of 2.6 instead of 0.7).
    """
    head = cast(Any, module).get_classifier()
    # Networks made for distillation have two heads, and their logits are the mean.
    for layer in nn.ModuleList(head if isinstance(head, tuple) else [head]).modules():
        if isinstance(layer, nn.Linear | nn.Conv2d) and len(layer.weight) == module.num_classes:
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def freeze_layers(module: nn.Module, count: int) -> None:
    """Let the first `count` groups of a timm model's layers keep their weights, and all others learn.

    The groups are timm's own (`group_matcher`, coarse): the stem, the stages or blocks in their order, and last the head.
    A few videos teach them little that holds elsewhere, and a step that does not go back through them is shorter.
    Raises ConfigurationError if nothing would be left to learn, or timm has no groups of the network.
    """
    if not count:
        module.requires_grad_(True)
        return
    if not hasattr(module, "group_matcher"):
        raise ConfigurationError(f"train.frozen_layers = {count}: timm has no groups of {type(module).__name__}'s layers")
    matcher = cast(Any, module).group_matcher(coarse=True)
    groups = group_parameters(module, matcher, return_values=True)
    if count >= len(groups):
        raise ConfigurationError(
            f"train.frozen_layers = {count}: the network has {len(groups)} groups of layers, one must learn"
        )
    for place, group in enumerate(sorted(groups)):
        for parameter in groups[group]:
            parameter.requires_grad_(place >= count)


def create_optimiser(module: nn.Module, name: Optimiser, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Return AdamW or SGD over all of a network's weights; those that are frozen have no gradient, and are left alone."""
    if name == "sgd":
        return torch.optim.SGD(module.parameters(), learning_rate, MOMENTUM, weight_decay=weight_decay, nesterov=True)
    return torch.optim.AdamW(module.parameters(), learning_rate, weight_decay=weight_decay)


def schedule_learning_rate(schedule: Schedule, warmup: float, updates: int) -> Callable[[int], float]:
    """Return the learning rate's factor by update: a linear rise over the first share of them, then a fall to zero.

    `warmup` is that share, of `updates` in all. "cosine" falls by half a cosine, "polynomial" as (1 - done) ** POWER.
    """
    rise = max(1, round(warmup * updates))

    def factor(update: int) -> float:
        if update < rise:
            return (update + 1) / rise
        done = min(1.0, (update - rise) / max(1, updates - rise))
        return float((1 - done) ** POWER if schedule == "polynomial" else 0.5 * (1 + math.cos(math.pi * done)))

    return factor


def set_training(module: nn.Module, freeze_norm: bool) -> None:
    """Put a network in training mode, but for its batch normalisation if that keeps its means and variances."""
    module.train()
    if freeze_norm:
        for layer in module.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.eval()
