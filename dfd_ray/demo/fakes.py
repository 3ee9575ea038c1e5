"""Making the demo's fakes: by swapping faces, and by blending a face with itself."""

from __future__ import annotations

import cv2
import numpy as np

from dfd_ray.arrays import Float32Array, Float64Array, Image, UInt8Array

REACH = 2.0
"""Half the side of the square that is changed, in distances from eyes to mouth."""
SPREAD = (0.7, 1.4)
"""Limits of the factor on a donor's contrast: beyond these, skin turns blotchy."""
LEVELS = 4
"""Levels of the pyramids that blend faces. With 4, colours mix over some 16 pixels, and edges do not."""


def swap_face(picture: Image, landmarks: Float32Array, donor: Image, donor_landmarks: Float32Array) -> Image:
    """Return a picture with the donor's face in place of its own.

    The affine map that best takes the donor's landmarks (5, 2) to the picture's moves the donor. Its colours get the mean and
    spread of the face it covers. Pyramid blending hides the seam.
    """
    window = find_window(landmarks, picture)
    target, landmarks = picture[window], landmarks - find_corner(window)
    height, width = target.shape[:2]
    known = np.column_stack([donor_landmarks, np.ones(len(donor_landmarks))])
    move = np.linalg.lstsq(known, landmarks.astype(np.float64), rcond=None)[0].T
    moved = np.asarray(cv2.warpAffine(donor, move, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.uint8)
    mask = draw_face_mask(landmarks, width, height)
    swapped = picture.copy()
    swapped[window] = blend_pyramids(match_colours(moved, target, mask), target, soften(mask, landmarks))
    return swapped


def self_blend(picture: Image, landmarks: Float32Array, random: np.random.Generator) -> Image:
    """Return a picture whose face is blended with a recoloured, slightly moved and blurred copy of itself.

    After Shiohara and Yamasaki, "Detecting deepfakes with self-blended images" (2022), with constants of our own: a shift
    of up to 4 % of the distance between the eyes and the mouth, a scale of 2 to 5 %, a mask deformed by up to a tenth, a
    ratio of 0.7 to 1.
    """
    window = find_window(landmarks, picture)
    target, landmarks = picture[window], landmarks - find_corner(window)
    height, width = target.shape[:2]
    centre, extent = landmarks.mean(axis=0), measure_face(landmarks)
    scale = 1 + float(random.choice([-1, 1]) * random.uniform(0.02, 0.05))
    move = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), 0, scale)
    move[:, 2] += random.uniform(-0.04, 0.04, 2) * extent
    copy = cv2.warpAffine(recolour(target, random), move, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    copy = cv2.GaussianBlur(copy, (0, 0), float(random.uniform(0.01, 0.03) * extent))
    mask = draw_face_mask(landmarks, width, height, deform=random.normal(0, 0.05, (3, 2)))
    weight = (soften(mask, landmarks) * random.uniform(0.7, 1.0))[..., None]
    blended = picture.copy()
    blended[window] = np.rint(target * (1 - weight) + copy * weight)
    return blended


def find_window(landmarks: Float32Array, picture: Image) -> tuple[slice, slice]:
    """Return the rows and columns of a picture (h, w, 3) that faking the face at the landmarks may change."""
    centre, reach = landmarks.mean(axis=0), REACH * measure_face(landmarks)
    low = np.maximum(centre - reach, 0).astype(int)
    high = np.minimum(centre + reach, picture.shape[1::-1]).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def find_corner(window: tuple[slice, slice]) -> Float32Array:
    """Return x and y of a window's upper left corner, (2,) float32."""
    return np.array([window[1].start, window[0].start], np.float32)


def measure_face(landmarks: Float32Array) -> float:
    """Return the distance in pixels from between the eyes to the middle of the mouth."""
    return float(np.linalg.norm(landmarks[3:].mean(axis=0) - landmarks[:2].mean(axis=0)))


def draw_face_mask(landmarks: Float32Array, width: int, height: int, deform: Float64Array | None = None) -> UInt8Array:
    """Draw the inner face as (height, width) uint8, 255 inside: an ellipse around the landmarks (5, 2).

    `deform` (n, 2) bends it: the cosine and sine parts by which the radius changes with the angle, first harmonic first.
    """
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    down = (mouth - eyes) / max(measure_face(landmarks), 1e-3)
    across = np.array([down[1], -down[0]])
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    radius = np.ones_like(angle)
    for harmonic, (cosine, sine) in enumerate(() if deform is None else deform, start=1):
        radius += cosine * np.cos(harmonic * angle) + sine * np.sin(harmonic * angle)
    long = 1.15 * measure_face(landmarks)
    wide = 0.95 * max(float(np.linalg.norm(landmarks[1] - landmarks[0])), 0.6 * measure_face(landmarks))
    outline = long * np.outer(radius * np.cos(angle), down) + wide * np.outer(radius * np.sin(angle), across)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.rint((eyes + mouth) / 2 + outline).astype(np.int32)], 255)
    mask[:2] = mask[-2:] = 0  # what is beyond the border is not known, so nothing is blended across it
    mask[:, :2] = mask[:, -2:] = 0
    return mask


def soften(mask: UInt8Array, landmarks: Float32Array) -> Float32Array:
    """Return a mask (h, w) uint8 as float32 weights from 0 to 1 with a blurred edge."""
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 0.1 * measure_face(landmarks)), np.float32)


def blend_pyramids(front: Image, back: Image, weight: Float32Array) -> Image:
    """Blend front and back (h, w, 3) uint8 by the weight (h, w) of the front: Burt and Adelson (1983).

    Each band of frequencies is blended over its own distance, so neither colours nor edges break at the seam.
    """
    difference = front.astype(np.float32) - back
    bands, weights = [difference], [weight]
    for _ in range(LEVELS):
        bands.append(cv2.pyrDown(bands[-1]))
        weights.append(cv2.pyrDown(weights[-1]))
    joined = bands[-1] * weights[-1][..., None]
    for i in range(LEVELS - 1, -1, -1):
        size = bands[i].shape[1::-1]
        band = bands[i] - cv2.pyrUp(bands[i + 1], dstsize=size)
        joined = cv2.pyrUp(joined, dstsize=size) + band * weights[i][..., None]
    return np.clip(np.rint(back + joined), 0, 255).astype(np.uint8)


def match_colours(source: Image, target: Image, mask: UInt8Array) -> Image:
    """Return the source with the target's mean and spread of each Lab channel inside the mask.

    Reinhard et al., "Color transfer between images" (2001); source and target (h, w, 3) uint8 RGB, mask (h, w) uint8.
    """
    inside = mask > 0
    lab, goal = (cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32) for image in (source, target))
    mean, spread = lab[inside].mean(axis=0), lab[inside].std(axis=0) + 1e-3
    gain = np.clip(goal[inside].std(axis=0) / spread, *SPREAD)
    matched = (lab - mean) * gain + goal[inside].mean(axis=0)
    return np.asarray(cv2.cvtColor(np.clip(matched, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB), np.uint8)


def recolour(picture: Image, random: np.random.Generator) -> Image:
    """Return a picture made brighter or darker by up to 12 %, each channel by up to 4 % and 4 levels more."""
    gain = random.uniform(0.88, 1.12) * random.uniform(0.96, 1.04, 3)
    levels = np.arange(256)[:, None] * gain + random.uniform(-4, 4, 3)
    return np.asarray(cv2.LUT(picture, np.clip(levels, 0, 255).astype(np.uint8)[None]), np.uint8)
