"""Make self-blended images: blend a slightly changed copy of a real face into itself.

A network that learns to tell these fakes from untouched faces has to look for traces of blending (an edge, a change of
colour, noise or sharpness). Most forgeries have such traces; those of one generator carry over less. Source of the
idea: K. Shiohara and T. Yamasaki, "Detecting deepfakes with self-blended images" (2022, arXiv 2204.08376).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dfd_ray.arrays import Float32Array, Float64Array, Image

OUTLINE = np.array(
    [
        (0.0, -0.75),
        (0.6, -0.7),
        (1.05, -0.4),
        (1.15, 0.2),
        (1.05, 0.8),
        (0.8, 1.3),
        (0.4, 1.65),
        (0.0, 1.75),
        (-0.4, 1.65),
        (-0.8, 1.3),
        (-1.05, 0.8),
        (-1.15, 0.2),
        (-1.05, -0.4),
        (-0.6, -0.7),
    ]
)
"""Outline of a face. x is in distances between the eyes, from their middle to the right; y is in distances from the eyes to
the mouth, downwards."""
PARTS = (
    (0.5, (-0.75, 1.75)),  # the whole outline, as a swapped face has it
    (0.2, (-0.45, 1.35)),  # brows to below the mouth
    (0.2, (0.45, 1.75)),  # the lower face, as where speech was put into a mouth
    (0.1, (-0.75, 0.5)),  # the upper face
)
"""Parts of a face that a mask covers: probability, and upper and lower end on the y axis of the outline."""
CORNER_JITTER = 0.08
"""Standard deviation of the shift of each corner of the outline, in distances between the eyes."""
SMALLEST_EYE_DISTANCE = 4.0
"""Pixels. Landmarks that span less than the square of this give no mask."""
RATIOS = (0.4, 0.6, 0.8, 1.0, 1.0, 1.0)
"""Weights of the copy inside the mask, equally likely."""


def self_blend(face: Image, landmarks: npt.ArrayLike, random: np.random.Generator) -> Image | None:
    """Blend a changed and shifted copy of a real face into it through a soft mask.

    `face` is (h, w, 3) uint8 RGB, at least 16 pixels each way; `landmarks` (5, 2) are x and y in its pixels of the left eye,
    right eye, nose, left and right corner of the mouth, left and right as seen in the picture. Returns a new (h, w, 3) uint8
    array that equals `face` outside the mask, or None if the landmarks span no face. Raises ValueError for other shapes or
    dtypes.
    """
    if face.ndim != 3 or face.shape[2] != 3 or face.dtype != np.uint8 or min(face.shape[:2]) < 16:
        raise ValueError(f"a face must be (h, w, 3) uint8 of 16 pixels or more, not {face.shape} {face.dtype}")
    mask = draw_mask(face.shape[:2], landmarks, random)
    if mask is None:
        return None
    copy = shift(change(face, random), random)
    weight = mask[:, :, None] * np.float32(random.choice(RATIOS))
    blended = np.rint(face + weight * (copy.astype(np.float32) - face))
    return np.asarray(np.clip(blended, 0, 255), np.uint8)


def draw_mask(shape: tuple[int, ...], landmarks: npt.ArrayLike, random: np.random.Generator) -> Float32Array | None:
    """Return a soft mask (h, w) float32 from 0 to 1 of a face or a part of it, or None if the landmarks span no face.

    `shape` starts with h and w; `landmarks` as for `self_blend`. An affine map that eyes and mouth define puts the outline on
    the face. Its corners are jittered, and the filled shape is bent and blurred.
    """
    points = read_landmarks(landmarks)
    left, right, mouth = points[0], points[1], (points[3] + points[4]) / 2
    middle = (left + right) / 2
    across, down = right - left, mouth - middle
    area = abs(across[0] * down[1] - across[1] * down[0])
    if not np.isfinite(points).all() or area < SMALLEST_EYE_DISTANCE**2:
        return None
    top, bottom = PARTS[random.choice(len(PARTS), p=[chance for chance, _ in PARTS])][1]
    outline = OUTLINE + random.normal(0, CORNER_JITTER, OUTLINE.shape)
    outline[:, 1] = np.clip(outline[:, 1], top, bottom)
    outline *= random.uniform(0.85, 1.1)
    corners = middle + outline[:, :1] * across + outline[:, 1:] * down
    mask = np.zeros(shape[:2], np.float32)
    cv2.fillConvexPoly(mask, cv2.convexHull(corners.astype(np.float32)).astype(np.int32), 1.0, cv2.LINE_AA)
    size = float(np.sqrt(area))
    mask = bend(mask, size * random.uniform(0.02, 0.12), size * random.uniform(0.2, 0.5), random)
    mask = cv2.GaussianBlur(mask, (0, 0), size * random.uniform(0.01, 0.15))
    mask[mask < 1 / 255] = 0  # a weight this small changes no pixel
    if mask.max() < 0.5:
        return None
    return np.asarray(mask / mask.max(), np.float32)


def read_landmarks(landmarks: npt.ArrayLike) -> Float64Array:
    """Return landmarks (5, 2) as float64. Raises ValueError for another shape."""
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2):
        raise ValueError(f"landmarks must be (5, 2), not {points.shape}")
    return points


def bend(mask: Float32Array, distance: float, smoothness: float, random: np.random.Generator) -> Float32Array:
    """Return a mask (h, w) float32 warped by smooth random shifts of `distance` pixels (standard deviation).

    `smoothness` is the sigma, in pixels, of the Gaussian that smooths the field of shifts.
    """
    height, width = mask.shape
    shifts = random.normal(0, 1, (height // 4 + 1, width // 4 + 1, 2)).astype(np.float32)
    shifts = cv2.GaussianBlur(shifts, (0, 0), max(smoothness / 4, 0.5))
    shifts *= distance / max(float(shifts.std()), 1e-6)
    shifts = cv2.resize(shifts, (width, height), interpolation=cv2.INTER_LINEAR)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    warped = cv2.remap(mask, x + shifts[:, :, 0], y + shifts[:, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(warped, np.float32)


def change(face: Image, random: np.random.Generator) -> Image:
    """Return a copy (h, w, 3) uint8 of the face with another tone, and often another sharpness.

    The inside of the mask is changed, never the surroundings. The paper changes the surroundings in half of the blends; that,
    or never sharpening the copy, carried over worse to fakes of other makes (docs/transfer.md).
    """
    copy = (face.astype(np.float32) - 128) * random.uniform(0.9, 1.1) + 128 + random.uniform(-12, 12)
    copy = copy + random.uniform(-10, 10, 3).astype(np.float32)
    grey = copy.mean(axis=2, keepdims=True)
    copy = grey + (copy - grey) * np.float32(random.uniform(0.75, 1.25))
    kind = random.choice(("rescaled", "blurred", "sharpened", "as it is"), p=(0.4, 0.15, 0.25, 0.2))
    if kind == "rescaled":
        small = [max(8, round(side * random.uniform(0.25, 0.75))) for side in face.shape[1::-1]]
        way = int(random.choice((cv2.INTER_LINEAR, cv2.INTER_CUBIC)))
        copy = cv2.resize(cv2.resize(copy, small, interpolation=cv2.INTER_AREA), face.shape[1::-1], interpolation=way)
    elif kind == "blurred":
        copy = cv2.GaussianBlur(copy, (0, 0), random.uniform(0.5, 1.5))
    elif kind == "sharpened":
        copy += np.float32(random.uniform(0.3, 1.0)) * (copy - cv2.GaussianBlur(copy, (0, 0), 1.5))
    return np.asarray(np.clip(copy, 0, 255), np.uint8)


def shift(face: Image, random: np.random.Generator) -> Image:
    """Return the face moved by up to 3 %, scaled by up to 4 % and turned by up to 2 degrees, with its edges repeated."""
    height, width = face.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), random.uniform(-2, 2), random.uniform(0.96, 1.04))
    matrix[:, 2] += random.uniform(-0.03, 0.03, 2) * (width, height)
    moved = cv2.warpAffine(face, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)
