"""Calibrate probabilities by Platt's scaling of their log-odds, and average those of several models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import logit

from dfd_ray.arrays import Float64Array, Int64Array
from dfd_ray.verdict.aggregation import sigmoid

CLIP = 1e-7
"""Distance that probabilities keep from 0 and 1, so that their log-odds are finite (at most 16.2)."""
RIDGE = 1.0
"""Weight of the penalty slope² / 2 (scikit-learn's C = 1). It draws few or uninformative videos towards the base rate.

A model's own line has the same weight on half its squared distance from the line of the other models: the distance between
the calibrated log-odds, on average over the model's own videos.
"""


@dataclass(frozen=True)
class Calibration:
    """A straight line on the log-odds: calibrated log-odds = `slope` * log-odds + `intercept`, with `slope` ≥ 0."""

    slope: float
    intercept: float
    base_rate: float = 0.5
    """Share of FAKE among the videos that it is meant for."""

    def __post_init__(self) -> None:
        if not (np.isfinite([self.slope, self.intercept]).all() and self.slope >= 0 and 0 < self.base_rate < 1):
            raise ValueError(f"no calibration: slope {self.slope}, intercept {self.intercept}, base rate {self.base_rate}")

    def apply(self, probability: npt.ArrayLike) -> Float64Array:
        """Return calibrated probabilities, float64 of the same shape; NaN stays NaN."""
        return sigmoid(self.slope * log_odds(probability) + self.intercept)

    def with_prior(self, prior: float) -> Calibration:
        """Return the calibration for videos with a share `prior` of FAKE. By Bayes' rule, this shifts the log-odds."""
        return Calibration(self.slope, self.intercept + float(logit(prior) - logit(self.base_rate)), prior)

    def to_dict(self) -> dict[str, float]:
        """Return the three numbers, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> Calibration:
        """Return the calibration that `to_dict` wrote. Raises ValueError, which names the number, for others."""
        names = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping):
            raise ValueError(f"expected {', '.join(names)}, got {values!r}")
        for name in names:
            if not isinstance(values.get(name), int | float):
                raise ValueError(f"it has no number {name}" if name not in values else f"its {name} is {values[name]!r}")
        return cls(*(float(values[name]) for name in names))


def log_odds(probability: npt.ArrayLike) -> Float64Array:
    """Return the log-odds of probabilities clipped to [CLIP, 1 - CLIP], float64 of the same shape; NaN stays NaN."""
    return np.asarray(logit(np.clip(np.asarray(probability, np.float64), CLIP, 1 - CLIP)), np.float64)


def fit_calibration(probability: npt.ArrayLike, label: npt.ArrayLike) -> Calibration:
    """Fit Platt's scaling: a logistic regression of the label on the log-odds.

    `probability` (n,) is that of FAKE; `label` (n,) is 0 (REAL) or 1 (FAKE); n is at least 1. Platt's smoothed targets,
    (F + 1) / (F + 2) for F fakes and 1 / (R + 2) for R reals, keep the fit finite where a threshold separates the classes. A
    ridge on the slope makes the fit unique where all scores are equal. The slope is never negative: scores that point the
    wrong way are ignored, not reversed. With one class the slope is 0, and every video gets the smoothed base rate
    (F + 1) / (F + R + 2). Raises ValueError for no videos, unequal lengths, other labels, or NaN.
    Source: J. Platt, "Probabilistic outputs for support vector machines" (1999).
    """
    score, truth = check_labelled(probability, label)
    fakes = int(truth.sum())
    reals = len(truth) - fakes
    base_rate = measure_base_rate(truth)
    if not fakes or not reals:
        return Calibration(0.0, float(np.log(fakes + 1) - np.log(reals + 1)), base_rate)
    target = np.where(truth == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))
    start = np.array([0.0, float(logit(target.mean()))])
    return replace(fit_line(log_odds(score), target, np.zeros(2), np.diag([RIDGE, 0.0]), start), base_rate=base_rate)


def draw_calibration(others: Calibration, probability: npt.ArrayLike, label: npt.ArrayLike) -> Calibration:
    """Return the calibration of one model: the line of other models, drawn to the model's own held-out videos.

    `probability` (n,) and `label` (n,) are of those videos. Many videos give the line that they alone would, few hardly move
    that of the others. The result is for the base rate of `others`, whatever share of the model's own videos is FAKE. Raises
    ValueError as `fit_calibration` does.
    """
    score, truth = check_labelled(probability, label)
    centre = others.with_prior(measure_base_rate(truth))
    line, x = np.array([centre.slope, centre.intercept]), log_odds(score)
    inputs = np.stack([x, np.ones(len(x))])
    own = fit_line(x, truth.astype(np.float64), line, RIDGE * inputs @ inputs.T / len(x), line)
    return replace(own, base_rate=centre.base_rate).with_prior(others.base_rate)


def average_models(probability: Float64Array, lines: Sequence[Calibration] = ()) -> Float64Array:
    """Return the probability of each video (n,) by several models: the mean of their log-odds, each calibrated by its own line.

    `probability` (n, models) is that of each model, and `lines` has one for each; without lines nothing is calibrated. NaN
    stays NaN. Log loss is convex in the log-odds, so that of the result is at most the mean of the models' own.
    """
    if not lines:
        return probability[:, 0] if probability.shape[1] == 1 else sigmoid(log_odds(probability).mean(axis=1))
    slope, intercept = (np.array([getattr(line, name) for line in lines]) for name in ("slope", "intercept"))
    return sigmoid((slope * log_odds(probability) + intercept).mean(axis=1))


def check_labelled(probability: npt.ArrayLike, label: npt.ArrayLike) -> tuple[Float64Array, Int64Array]:
    """Return both as arrays. Raises ValueError for no videos, unequal lengths, other labels than 0 and 1, or NaN."""
    score, truth = np.asarray(probability, np.float64), np.asarray(label)
    if score.ndim != 1 or score.shape != truth.shape or not len(score):
        raise ValueError(f"probabilities {score.shape} and labels {truth.shape} must be lists of one length, not empty")
    if np.isnan(score).any() or not np.isin(truth, (0, 1)).all():
        raise ValueError("probabilities must be numbers, and labels 0 or 1")
    return score, truth.astype(np.int64)


def measure_base_rate(label: Int64Array) -> float:
    """Return the share of FAKE among labels (n,) as if there were one video more of each class, so neither 0 nor 1."""
    return float((label.sum() + 1) / (len(label) + 2))


def fit_line(
    x: Float64Array, target: Float64Array, centre: Float64Array, weight: Float64Array, start: Float64Array
) -> Calibration:
    """Return the slope (at least 0) and intercept from `x` (n,) to `target` (n,) that minimise cross-entropy plus ridge.

    The ridge is half the squared distance of slope and intercept from `centre` (2,), by the matrix `weight` (2, 2). The search
    begins at `start` (2,).
    """

    def objective(line: Float64Array) -> tuple[float, Float64Array]:
        z = line[0] * x + line[1]
        pull = weight @ (line - centre)
        loss = np.sum(np.logaddexp(0, z) - target * z) + pull @ (line - centre) / 2
        error = sigmoid(z) - target
        return float(loss) / len(x), (np.array([error @ x, error.sum()]) + pull) / len(x)

    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)], options={"ftol": 1e-14, "gtol": 1e-9}
    )
    return Calibration(float(found.x[0]), float(found.x[1]))
