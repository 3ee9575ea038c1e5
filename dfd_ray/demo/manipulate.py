"""How the demo's fakes are made: by swapping faces, and by blending a face with itself."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dfd_ray.demo.footage import Image, Points


def swap_face(picture: Image, landmarks: Points, donor: Image, donor_landmarks: Points) -> Image:
    """Return a picture with the donor's face in the place of its own.

    The donor is turned, scaled and moved until the five landmarks (5, 2) of both fall on each other, its colours are given
    the mean and spread of the face it covers, and Poisson blending (Perez et al., 2003) hides the seam.
    """
    move, _ = cv2.estimateAffinePartial2D(donor_landmarks, landmarks)
    if move is None:
        return picture
    height, width = picture.shape[:2]
    moved = cv2.warpAffine(donor, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    mask = face_mask(landmarks, width, height)
    x, y, w, h = cv2.boundingRect(mask)
    part = (slice(y, y + h), slice(x, x + w))
    moved[part] = match_colours(np.asarray(moved[part], np.uint8), picture[part], mask[part])
    blended = cv2.seamlessClone(moved, picture, mask, (x + w // 2, y + h // 2), cv2.NORMAL_CLONE)
    return np.asarray(blended, np.uint8)


def self_blend(picture: Image, landmarks: Points, random: np.random.Generator) -> Image:
    """Return a picture whose face is blended with a recoloured, slightly moved copy of itself.

    Shiohara and Yamasaki, "Detecting deepfakes with self-blended images" (2022), after the paper, with constants of our
    own: a shift of up to 3 % of the distance between the eyes and the mouth, a scale of up to 4 %, a ratio of 0.5 to 1.
    """
    height, width = picture.shape[:2]
    centre = landmarks.mean(axis=0)
    extent = float(np.linalg.norm(landmarks[:2].mean(axis=0) - landmarks[3:].mean(axis=0)))
    move = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), 0, float(random.uniform(0.96, 1.04)))
    move[:, 2] += random.uniform(-0.03, 0.03, 2) * extent
    copy = cv2.warpAffine(recolour(picture, random), move, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    jittered = landmarks + random.normal(0, 0.05 * extent, landmarks.shape).astype(np.float32)
    mask = cv2.GaussianBlur(face_mask(jittered, width, height), (0, 0), 0.12 * extent).astype(np.float32) / 255
    weight = (mask * random.uniform(0.5, 1.0))[..., None]
    x, y, w, h = cv2.boundingRect((mask > 0).astype(np.uint8))
    part = (slice(y, y + h), slice(x, x + w))
    blended = picture.copy()
    blended[part] = picture[part] * (1 - weight[part]) + copy[part] * weight[part]
    return blended


def face_mask(landmarks: Points, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Return the inner face as (height, width) uint8, 255 inside: an ellipse about the landmarks (5, 2)."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    down = mouth - eyes
    extent = float(np.linalg.norm(down))
    across = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    centre = eyes + 0.5 * down
    angle = float(np.degrees(np.arctan2(down[1], down[0])))
    mask = np.zeros((height, width), np.uint8)
    axes = (round(1.15 * extent), round(0.95 * max(across, 0.6 * extent)))
    cv2.ellipse(mask, (round(float(centre[0])), round(float(centre[1]))), axes, angle, 0, 360, 255, -1)
    mask[:2] = mask[-2:] = 0  # Poisson blending wants a border outside the mask
    mask[:, :2] = mask[:, -2:] = 0
    return mask


def match_colours(source: Image, target: Image, mask: npt.NDArray[np.uint8]) -> Image:
    """Return the source with the target's mean and spread of each Lab channel inside the mask (Reinhard et al., 2001)."""
    inside = mask > 0
    lab, goal = (cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32) for image in (source, target))
    mean, spread = lab[inside].mean(axis=0), lab[inside].std(axis=0) + 1e-3
    matched = (lab - mean) * (goal[inside].std(axis=0) / spread) + goal[inside].mean(axis=0)
    return np.asarray(cv2.cvtColor(np.clip(matched, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB), np.uint8)


def recolour(picture: Image, random: np.random.Generator) -> Image:
    """Return a picture with each channel scaled by up to 12 % and shifted by up to 12 levels."""
    levels = np.arange(256)[:, None] * random.uniform(0.88, 1.12, 3) + random.uniform(-12, 12, 3)
    return np.asarray(cv2.LUT(picture, np.clip(levels, 0, 255).astype(np.uint8)[None]), np.uint8)
