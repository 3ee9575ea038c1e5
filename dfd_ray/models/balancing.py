"""How often an epoch shows a face, so that both classes are seen equally often."""

from __future__ import annotations

import math
import zlib

import numpy as np

from dfd_ray.arrays import Int64Array


def count_repeats(video_id: str, faces: int, rate: float) -> Int64Array:
    """Return how often each of a video's faces is shown, (faces,) int64, `rate` times on average.

    A whole rate gives every face that number; of another one, the share beyond it goes to faces spread evenly over the
    video, beginning at a place that the name decides, so that videos of one face do not all round alike. It is the same
    in every process: driver and workers agree on the number of steps without counting. Raises ValueError for a rate
    below 1, which would leave faces out.
    """
    if not 1 <= rate < math.inf:
        raise ValueError(f"a face must be shown once or more, not {rate} times")
    start = zlib.crc32(video_id.encode()) / 2**32
    return np.asarray(np.diff(np.floor(start + rate * np.arange(faces + 1))), np.int64)


def compute_balancing_rates(reals: int, fakes: int) -> dict[str, float]:
    """Return the rate of each class at which REAL and FAKE are shown equally often and none less than once."""
    most = max(reals, fakes)
    return {"REAL": most / reals if reals else 1.0, "FAKE": most / fakes if fakes else 1.0}
