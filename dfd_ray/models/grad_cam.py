"""Show by Grad-CAM where a classifier looks. Needs pytorch-grad-cam, an optional dependency."""

from __future__ import annotations

import importlib.util
from typing import cast

import cv2
import numpy as np
import torch
from torch import nn

from dfd_ray.arrays import Float32Array, Image
from dfd_ray.errors import ConfigurationError
from dfd_ray.models.backbones import InputSpec, TimmModel, normalise
from dfd_ray.models.classifier import FAKE

OPACITY = 0.45
"""Opacity of the heat map at its maximum."""


def check_grad_cam() -> None:
    """Raise ConfigurationError if pytorch-grad-cam is not installed."""
    if importlib.util.find_spec("pytorch_grad_cam") is None:
        raise ConfigurationError("evaluate.explain and predict.explain need a package: pip install grad-cam")


def explain_face(module: nn.Module, spec: InputSpec, image: Image) -> Float32Array:
    """Return how much each pixel of a face speaks for FAKE, (h, w) float32 from 0 to 1.

    `image` is (h, w, 3) uint8 RGB, `module` a classifier in eval mode. The heat comes from the features of the last stage, so
    it is coarse: 7 or 8 places a side. Raises ConfigurationError for a network that is not convolutional.
    Source: R. Selvaraju et al., "Grad-CAM" (2017, arXiv 1610.02391).
    """
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    stages = cast("TimmModel", module).feature_info
    batch = normalise(torch.tensor(image[None]), spec, next(module.parameters()).device)
    try:
        with GradCAM(model=module, target_layers=[module.get_submodule(stages[-1]["module"])]) as method:
            heat = method(input_tensor=batch, targets=[ClassifierOutputTarget(FAKE)])[0]
    except (ValueError, IndexError) as error:
        raise ConfigurationError(
            f"evaluate.explain, predict.explain: Grad-CAM needs a convolutional network, not {type(module).__name__}"
        ) from error
    return np.asarray(cv2.resize(heat, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def paint_heat(image: Image, heat: Float32Array) -> Image:
    """Paint `heat` (h, w), from 0 (clear) to 1 (red), over a face (h, w, 3) uint8 RGB; return (h, w, 3) uint8."""
    colours = cv2.applyColorMap(np.uint8(255 * np.clip(heat, 0, 1)), cv2.COLORMAP_TURBO)[:, :, ::-1]
    weight = OPACITY * np.clip(heat, 0, 1)[:, :, None]
    return np.asarray(np.rint((1 - weight) * image + weight * colours), np.uint8)
