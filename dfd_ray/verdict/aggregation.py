"""From the scores of a video's faces to the probability that the video is FAKE."""

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
"""Of the frames looked at, the share beyond which `confident` believes faces that are surely FAKE: the winner's constant, 11,
and the 32 frames that it was made for. Like the next ones from `confident_strategy`."""
FAKE_SHARE = 0.4
REAL_SHARE = 0.9


def sigmoid(logits: npt.ArrayLike) -> Float64Array:
    """Return the probabilities that log-odds stand for, float64 of the same shape, without overflow."""
    return np.asarray(expit(np.asarray(logits, np.float64)), np.float64)


def aggregate(logits: npt.ArrayLike, method: Method, frames: int = 32) -> float:
    """Return the probability of FAKE of one video.

    `logits` (n,) log-odds of FAKE of its faces. "mean" averages the faces' probabilities; "mean_logit" averages the
    log-odds; "confident" is `confident_mean` of the probabilities, found in so many `frames`. Raises ValueError for no
    face, for log-odds that are not finite, and for an unknown method.
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
    """Return the mean over the confident faces if there are many of one kind, else over all.

    `probability` (n,) of FAKE, n at least 1, found in `frames` frames. More faces than 11/32 of the frames and 40 % of
    the faces above 0.8: their mean; more than 90 % below 0.2: their mean. Source: `confident_strategy` of the Deepfake
    Detection Challenge's winner (S. Seferbekov, github.com/selimsef/dfdc_deepfake_challenge), whose 40 % is rounded down to
    whole faces.
    """
    count = len(probability)
    fake = probability > CONFIDENT_FAKE
    real = probability < CONFIDENT_REAL
    if fake.sum() > max(np.floor(FAKE_SHARE * count), MIN_FAKE_FACES * frames):
        return float(probability[fake].mean())
    if real.sum() > REAL_SHARE * count:
        return float(probability[real].mean())
    return float(probability.mean())
