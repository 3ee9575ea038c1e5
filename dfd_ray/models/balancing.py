"""Balance the classes: choose how often an epoch shows each face."""

from __future__ import annotations

import math
import zlib

import numpy as np

from dfd_ray.arrays import Int64Array


def count_repeats(video_id: str, faces: int, rate: float) -> Int64Array:
    """Return how often each of a video's faces is shown, (faces,) int64, `rate` times on average.

    A whole rate gives each face that number. A fraction goes to faces spread evenly over the video; the name of the video
    decides the first of them, so that videos of one face are not all rounded alike. The result is the same in every process,
    so that driver and workers agree on the number of steps. Raises ValueError for a rate below 1, which would leave out faces.
    """
    if not 1 <= rate < math.inf:
        raise ValueError(f"a face must be shown once or more, not {rate} times")
    start = zlib.crc32(video_id.encode()) / 2**32
    return np.asarray(np.diff(np.floor(start + rate * np.arange(faces + 1))), np.int64)


def compute_balancing_rates(reals: int, fakes: int) -> dict[str, float]:
    """Return the rate of each class at which REAL and FAKE are shown equally often, and no face less than once."""
    most = max(reals, fakes)
    return {"REAL": most / reals if reals else 1.0, "FAKE": most / fakes if fakes else 1.0}
