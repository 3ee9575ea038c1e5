"""Augment training faces. No other module imports albumentations."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Literal, TypeAlias

import av
import cv2
import numpy as np

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # otherwise it looks up its newest version on the network when imported

import albumentations as A

from dfd_ray.arrays import Image

Recipe = Literal["none", "report", "best"]
Step: TypeAlias = A.BasicTransform | A.BaseCompose

NOISE = (10**0.5 / 255, 50**0.5 / 255)
"""Standard deviation as a share of 255. The variance, 10 to 50, was albumentations' default in 2020."""
BLUR_SIGMA = (0.8, 0.8)
"""Pixels. OpenCV derives this sigma from a kernel of 3, albumentations' default in 2020."""
DOWN_AND_UP = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
RATE_FACTORS = (18, 38)
"""Range of x264's constant rate factors in `best`: from a hardly visible loss to the worst of video hosts."""


class H264(A.ImageOnlyTransform):  # type: ignore[misc]
    """Encodes and decodes an image by H.264 at a rate factor drawn from RATE_FACTORS."""

    def get_params(self) -> dict[str, int]:
        """Draw the rate factor."""
        return {"rate_factor": self.py_random.randint(*RATE_FACTORS)}

    def apply(self, img: Image, rate_factor: int, **params: object) -> Image:
        """Return the re-encoded image."""
        return recode_h264(img, rate_factor)


def create_augmentation(size: int, recipe: Recipe, seed: int | None = None) -> Callable[[Image], Image]:
    """Return a function that turns a face (h, w, 3) uint8 RGB into a training face (size, size, 3) uint8.

    The recipe "none" only resizes; "report" does `list_report_steps`, "best" `list_best_steps`. A `seed` makes the sequence of
    calls repeatable; None draws a new one. Raises ValueError for another recipe.
    """
    pipeline = A.Compose(list_steps(recipe, size), seed=seed)
    return lambda image: np.asarray(pipeline(image=image)["image"], np.uint8)


def list_steps(recipe: Recipe, size: int) -> list[Step]:
    """Return the augmentations of a recipe in their order. Raises ValueError for another recipe."""
    if recipe == "none":
        return [A.Resize(size, size, interpolation=cv2.INTER_LINEAR, area_for_downscale="image")]
    if recipe == "report":
        return list_report_steps(size)
    if recipe == "best":
        return list_best_steps(size)
    raise ValueError(f"recipe must be none, report or best, got {recipe!r}")


def show_steps(image: Image, recipe: Recipe, size: int, draws: int) -> list[tuple[str, list[Image]]]:
    """Return the name of each augmentation of a recipe, and `draws` pictures of its effect alone, always applied.

    `image` is (h, w, 3) uint8 RGB; the pictures are (size, size, 3) uint8. Steps that only resize are left out.
    """
    shown = []
    for step in iterate_steps(list_steps(recipe, size)):
        step.p = 1.0
        pipeline = A.Compose([step, *list_steps("none", size)], seed=0)
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(step).__name__)
        shown.append((name, [np.asarray(pipeline(image=image)["image"], np.uint8) for _ in range(draws)]))
    return shown


def iterate_steps(steps: list[Step]) -> Iterator[Step]:
    """Yield the augmentations in a list and inside its `OneOf`, except those that only resize."""
    for step in steps:
        if isinstance(step, A.OneOf):
            yield from iterate_steps(step.transforms)
        elif not isinstance(step, A.Resize | A.LongestMaxSize | A.PadIfNeeded):
            yield step


def recode_h264(image: Image, rate_factor: int) -> Image:
    """Encode an image (h, w, 3) uint8 RGB as a key frame of H.264, and return it decoded, (h, w, 3) uint8.

    `rate_factor` is x264's constant rate factor. Colours are 4:2:0, as in videos; an odd last row or column stays as it is.
    Raises ValueError for an image of less than 16 pixels each way.
    """
    height, width = (side - side % 2 for side in image.shape[:2])
    if min(height, width) < 16:
        raise ValueError(f"H.264 needs 16 pixels each way, not {image.shape}")
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.thread_count = Fraction(1, 25), 1
    encoder.options = {"crf": str(rate_factor), "preset": "veryfast", "tune": "zerolatency"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
    packets = [*encoder.encode(frame.reformat(format="yuv420p")), *encoder.encode(None)]
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    result = image.copy()
    result[:height, :width] = frames[0].to_ndarray(format="rgb24")
    return result


def list_report_steps(size: int) -> list[Step]:
    """Return the report's augmentations (section 2.2.5); what it omits comes from the list that it follows.

    Faces of any size become squares of `size` pixels, with their aspect ratio kept and the rest black. Source of the blur, the
    flip and the three resizes: `create_train_transforms` by the winner of the Deepfake Detection Challenge
    (S. Seferbekov, github.com/selimsef/dfdc_deepfake_challenge). Where albumentations has changed a default since, the old
    value is set.
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
        # What was ShiftScaleRotate: one scale for both axes, a shift for each.
        A.Affine(
            translate_percent={"x": (-0.1, 0.1), "y": (-0.1, 0.1)},
            scale=(0.8, 1.2),
            keep_ratio=True,
            rotate=(-10, 10),
            border_mode=cv2.BORDER_CONSTANT,
            p=0.5,
        ),
    ]


def list_best_steps(size: int) -> list[Step]:
    """Return augmentations that help with faces from other sources than the training's; squares of `size` pixels.

    They vary what differs between data sets and says nothing about forgery (framing, tone, sharpness, noise, encoding) for
    REAL and FAKE alike, so that none of it separates the classes. The strengths are our own, and mild: the traces of blending
    are faint, and a small network has to find them in a few thousand faces.
    """
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(
            translate_percent={"x": (-0.05, 0.05), "y": (-0.05, 0.05)},
            scale=(0.95, 1.15),
            keep_ratio=True,
            rotate=(-6, 6),
            border_mode=cv2.BORDER_REFLECT_101,
            p=0.5,
        ),
        A.OneOf(
            [
                A.RandomBrightnessContrast(0.15, 0.15),
                A.HueSaturationValue(8, 20, 10),
                A.RandomGamma((80, 125)),
                A.RGBShift(12, 12, 12),
            ],
            p=0.4,
        ),
        A.ToGray(p=0.03),
        A.OneOf(
            [
                A.Downscale(scale_range=(0.35, 0.9), interpolation_pair=DOWN_AND_UP, p=1),
                A.GaussianBlur(blur_limit=0, sigma_limit=(0.3, 1.4), p=0.4),
                A.MotionBlur(blur_limit=(3, 5), p=0.2),
                A.Sharpen(alpha=(0.1, 0.4), p=0.2),
            ],
            p=0.25,
        ),
        A.GaussNoise(std_range=(2 / 255, 8 / 255), p=0.1),
        A.OneOf([A.ImageCompression(quality_range=(35, 95)), H264()], p=0.4),
        A.CoarseDropout(num_holes_range=(1, 2), hole_height_range=(0.1, 0.3), hole_width_range=(0.1, 0.3), p=0.1),
        A.Resize(size, size, interpolation=cv2.INTER_LINEAR, area_for_downscale="image"),
    ]
