"""Mix a FAKE face with a REAL one; the target of the mixed face is between the two.

Without mixed faces a network soon knows its training faces by heart. Source: H. Zhang et al., "mixup: Beyond empirical risk
minimization" (2018, arXiv 1710.09412). The five landmarks align the two faces, so any pair can be mixed.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dfd_ray.arrays import Float64Array, Image
from dfd_ray.models.blending import read_landmarks

SMALLEST_SCALE, LARGEST_SCALE = 0.25, 4.0
"""Bounds of the scale of the REAL face. Beyond them the landmarks of one of the two are not those of a face."""


def mix_faces(
    fake: Image, fake_landmarks: npt.ArrayLike, real: Image, real_landmarks: npt.ArrayLike, random: np.random.Generator
) -> tuple[Image, float] | None:
    """Return a FAKE face mixed with a REAL one, and the share of the FAKE one, drawn uniformly from 0 to 1.

    `fake` and `real` are (h, w, 3) uint8 RGB of any sizes; their landmarks (5, 2) are in pixels. `fit_similarity` aligns the
    REAL face with the FAKE one. The result has the size of `fake`. Returns None if no such map exists. Raises ValueError for
    landmarks of another shape.
    """
    matrix = fit_similarity(read_landmarks(real_landmarks), read_landmarks(fake_landmarks))
    if matrix is None:
        return None
    height, width = fake.shape[:2]
    aligned = cv2.warpAffine(real, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    share = float(random.random())
    mixed = share * fake.astype(np.float32) + (1 - share) * aligned.astype(np.float32)
    return np.asarray(np.rint(mixed), np.uint8), share


def fit_similarity(source: Float64Array, target: Float64Array) -> Float64Array | None:
    """Fit the shift, turn and scale, (2, 3), that bring points (5, 2) nearest to others by least squares.

    Returns None for points that are not finite, and for a scale out of bounds.
    """
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        return None
    one, zero = np.ones(5), np.zeros(5)
    x, y = source.T
    rows = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    cos, sin, right, down = np.linalg.lstsq(rows, np.concatenate(target.T), rcond=None)[0]
    if not SMALLEST_SCALE <= np.hypot(cos, sin) <= LARGEST_SCALE:
        return None
    return np.array([[cos, -sin, right], [sin, cos, down]])
