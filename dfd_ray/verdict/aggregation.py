"""Combine the scores of a video's faces into the probability that the video is FAKE."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from dfd_ray.arrays import Float64Array

Method = Literal["mean", "mean_logit", "confident"]
METHODS: tuple[Method, ...] = get_args(Method)

CONFIDENT_FAKE = 0.8
CONFIDENT_REAL = 0.2
MIN_FAKE_FACES = 11 / 32
"""Confident FAKE faces needed, as a share of the frames: `confident_strategy` needs more than 11 in 32 frames."""
FAKE_SHARE = 0.4
REAL_SHARE = 0.9
"""Shares of the faces that must be confident. All five constants are those of `confident_strategy`."""


def sigmoid(logits: npt.ArrayLike) -> Float64Array:
    """Return the probabilities of log-odds, float64 of the same shape; large log-odds do not overflow."""
    return np.asarray(expit(np.asarray(logits, np.float64)), np.float64)


def aggregate(logits: npt.ArrayLike, method: Method, frames: int = 32) -> float:
    """Return the probability of FAKE of one video.

    `logits` (n,) are the log-odds of FAKE of its faces; `frames` is the number of frames that were searched. "mean" averages
    the probabilities of the faces, "mean_logit" their log-odds; "confident" calls `confident_mean`. Raises ValueError if
    there is no face, if log-odds are not finite, and for an unknown method.
    """
    values = np.asarray(logits, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError("a video's log-odds must be a non-empty list of finite numbers")
    if method == "mean":
        return float(sigmoid(values).mean())
    if method == "mean_logit":
        return float(sigmoid(values.mean()))
    if method == "confident":
        return confident_mean(sigmoid(values), frames)
    raise ValueError(f"unknown method {method!r}; it can be mean, mean_logit or confident")


def confident_mean(probability: Float64Array, frames: int = 32) -> float:
    """Return the mean of the confident faces if many of one class are confident, else the mean of all.

    `probability` (n,) is that of FAKE, n at least 1; `frames` is the number of frames that were searched. Returns the mean of
    the faces above 0.8 if they are more than 11/32 of the frames and more than 40 % of the faces, rounded down to whole
    faces. Otherwise returns the mean of the faces below 0.2 if they are more than 90 % of the faces. Source:
    `confident_strategy` by the winner of the Deepfake Detection Challenge (S. Seferbekov,
    github.com/selimsef/dfdc_deepfake_challenge).
    """
    count, fake, real = len(probability), probability > CONFIDENT_FAKE, probability < CONFIDENT_REAL
    if fake.sum() > max(np.floor(FAKE_SHARE * count), MIN_FAKE_FACES * frames):
        return float(probability[fake].mean())
    if real.sum() > REAL_SHARE * count:
        return float(probability[real].mean())
    return float(probability.mean())
