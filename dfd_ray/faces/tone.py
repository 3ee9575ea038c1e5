"""The skin tone of a face, from its crop."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dfd_ray.arrays import Image

TONES = ("very light", "light", "intermediate", "tan", "brown", "dark")
"""Names of the skin tones, the lightest first."""
LOWER_ENDS = (55.0, 41.0, 28.0, 10.0, -30.0, -np.inf)
"""Lower ends, in degrees, of the range of angles of each of `TONES`. Source: A. Chardon et al. (1991)."""
CHEEK = 0.12
"""Radius of the patches of skin, as a share of the distance between the eyes."""


def tone_angle(face: Image, landmarks: npt.ArrayLike) -> float | None:
    """Return the individual typology angle of a face's skin in degrees, larger for lighter skin, or None without skin.

    `face` is (h, w, 3) uint8 RGB; `landmarks` (5, 2) are in its pixels. The angle is arctan((L* - 50) / b*) of the median
    colour of two patches, halfway from each eye to the corner of the mouth below it; a patch outside the picture does not
    count. The light of the scene changes the angle, so it orders videos only roughly.
    """
    points = np.asarray(landmarks, np.float64).reshape(5, 2)
    radius = CHEEK * float(np.linalg.norm(points[1] - points[0]))
    mask = np.zeros(face.shape[:2], np.uint8)
    for eye, mouth in ((points[0], points[3]), (points[1], points[4])):
        centre = np.rint((eye + mouth) / 2)
        if np.isfinite(centre).all() and radius >= 1:
            cv2.circle(mask, (int(centre[0]), int(centre[1])), round(radius), 1, -1)
    skin = face[mask > 0]
    if not len(skin):
        return None
    colour = np.median(skin, axis=0).astype(np.float32) / 255
    lightness, _, blue_yellow = cv2.cvtColor(colour[None, None], cv2.COLOR_RGB2LAB)[0, 0]
    return float(np.degrees(np.arctan2(lightness - 50, blue_yellow)))


def tone_name(angle: float) -> str:
    """Return the name of the range that holds an angle in degrees."""
    return next(name for low, name in zip(LOWER_ENDS, TONES, strict=True) if angle > low)
