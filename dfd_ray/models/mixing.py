"""Mixed faces: a FAKE face and a REAL one laid on it, shown with a target between the two.

Without them a network soon knows its training faces by heart. Source: H. Zhang et al., "mixup: Beyond empirical risk
minimization" (2018, arXiv 1710.09412). A fake shares its pose with the video it was made from; here, where frames of the two
are not sampled in step, the five landmarks do the aligning, which works for any pair.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dfd_ray.arrays import Float64Array, Image

SMALLEST_SCALE, LARGEST_SCALE = 0.25, 4.0
"""Bounds of how much the REAL face is resized; beyond them the landmarks of one are no face's."""


def mix_faces(
    fake: Image, fake_landmarks: npt.ArrayLike, real: Image, real_landmarks: npt.ArrayLike, random: np.random.Generator
) -> tuple[Image, float] | None:
    """Return a FAKE face mixed with a REAL one, and the share of the FAKE, drawn evenly from 0 to 1.

    `fake` and `real` (h, w, 3) uint8 RGB of any sizes, the landmarks (5, 2) in pixels of each. The REAL face is moved, turned
    and scaled so that its landmarks come nearest to those of the FAKE one; the result has the size of the FAKE. Returns None
    where no such map is found. Raises ValueError for landmarks of another shape.
    """
    matrix = fit_similarity(np.asarray(real_landmarks, np.float64), np.asarray(fake_landmarks, np.float64))
    if matrix is None:
        return None
    height, width = fake.shape[:2]
    aligned = cv2.warpAffine(real, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    share = float(random.random())
    mixed = share * fake.astype(np.float32) + (1 - share) * aligned.astype(np.float32)
    return np.asarray(np.rint(mixed), np.uint8), share


def fit_similarity(source: Float64Array, target: Float64Array) -> Float64Array | None:
    """Return the map (2, 3) of shift, turn and scale that brings points (5, 2) nearest to others, by least squares."""
    if source.shape != (5, 2) or target.shape != (5, 2):
        raise ValueError(f"landmarks must be (5, 2), not {source.shape} and {target.shape}")
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        return None
    one, zero = np.ones(5), np.zeros(5)
    x, y = source.T
    rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    cos, sin, right, down = np.linalg.lstsq(rows, np.concatenate(target.T), rcond=None)[0]
    if not SMALLEST_SCALE <= np.hypot(cos, sin) <= LARGEST_SCALE:
        return None
    return np.array([[cos, -sin, right], [sin, cos, down]])
