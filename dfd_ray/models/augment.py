"""Augmentations of training faces, through albumentations; the one module that knows it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask the network for its newest version on import

import albumentations as A

Image = npt.NDArray[np.uint8]

NOISE = (10**0.5 / 255, 50**0.5 / 255)
"""Standard deviation as a share of 255: the variance of 10 to 50 that was albumentations' default in 2020."""
BLUR_SIGMA = (0.8, 0.8)
"""Pixels: what OpenCV derives from a kernel of 3, as albumentations had it in 2020."""


def training_augmentation(size: int, recipe: Literal["none", "report"], seed: int | None = None) -> Callable[[Image], Image]:
    """Return a function from a face (h, w, 3) uint8 RGB to one of (size, size, 3) that training sees.

    `recipe` "none" only resizes; "report" is `report_steps`. `seed` makes the sequence of calls repeatable,
    None takes a new one. Raises ValueError for another recipe.
    """
    if recipe == "none":
        steps = [A.Resize(size, size, interpolation=cv2.INTER_LINEAR, area_for_downscale="image")]
    elif recipe == "report":
        steps = report_steps(size)
    else:
        raise ValueError(f"recipe must be none or report, got {recipe!r}")
    pipeline = A.Compose(steps, seed=seed)
    return lambda image: np.asarray(pipeline(image=image)["image"], np.uint8)


def report_steps(size: int) -> list[Any]:
    """Return the report's augmentations (section 2.2.5), completed where it elides by the list it follows.

    Faces of any size become squares of `size` pixels, the aspect ratio kept and the rest black. Source of the blur, the
    flip and the three resizes: `create_train_transforms` of the Deepfake Detection Challenge's winner
    (S. Seferbekov, github.com/selimsef/dfdc_deepfake_challenge). Defaults that albumentations changed since are set
    to what they were then.
    """
    return [
        A.ImageCompression(quality_range=(60, 100), p=0.5),
        A.GaussNoise(std_range=NOISE, p=0.1),
        A.GaussianBlur(blur_limit=(3, 3), sigma_limit=BLUR_SIGMA, p=0.05),
        A.HorizontalFlip(p=0.5),
        A.OneOf(
            [
                A.LongestMaxSize(size, interpolation=cv2.INTER_CUBIC, area_for_downscale="image"),
                A.LongestMaxSize(size, interpolation=cv2.INTER_LINEAR, area_for_downscale="image"),
                A.LongestMaxSize(size, interpolation=cv2.INTER_LINEAR),
            ],
            p=1,
        ),
        A.PadIfNeeded(size, size, border_mode=cv2.BORDER_CONSTANT),
        A.OneOf([A.RandomBrightnessContrast(), A.FancyPCA(), A.HueSaturationValue()], p=0.7),
        A.ToGray(p=0.2),
        # ShiftScaleRotate by its newer name: one factor for both axes, a shift for each.
        A.Affine(
            translate_percent={"x": (-0.1, 0.1), "y": (-0.1, 0.1)},
            scale=(0.8, 1.2),
            keep_ratio=True,
            rotate=(-10, 10),
            border_mode=cv2.BORDER_CONSTANT,
            p=0.5,
        ),
    ]
