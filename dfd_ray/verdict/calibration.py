"""Calibrate probabilities by Platt's scaling of their log-odds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import logit

from dfd_ray.arrays import Float64Array
from dfd_ray.verdict.aggregation import sigmoid

CLIP = 1e-7
"""Distance that probabilities keep from 0 and 1, so that their log-odds are finite (at most 16.2)."""
RIDGE = 1.0
"""Weight of the penalty slope² / 2 (scikit-learn's C = 1). It draws few or uninformative videos towards the base rate."""


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
    def from_dict(cls, values: dict[str, float]) -> Calibration:
        """Return the calibration that `to_dict` wrote. Raises KeyError or ValueError if `to_dict` did not write the values."""
        return cls(float(values["slope"]), float(values["intercept"]), float(values["base_rate"]))


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
    score = np.asarray(probability, np.float64)
    truth = np.asarray(label)
    if score.ndim != 1 or score.shape != truth.shape or not len(score):
        raise ValueError(f"probabilities {score.shape} and labels {truth.shape} must be lists of one length, not empty")
    if np.isnan(score).any() or not np.isin(truth, (0, 1)).all():
        raise ValueError("probabilities must be numbers, and labels 0 or 1")
    fakes = int(truth.sum())
    reals = len(truth) - fakes
    base_rate = (fakes + 1) / (fakes + reals + 2)
    if not fakes or not reals:
        return Calibration(0.0, float(np.log(fakes + 1) - np.log(reals + 1)), base_rate)
    target = np.where(truth == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))
    return replace(fit_line(log_odds(score), target), base_rate=base_rate)


def fit_line(x: Float64Array, target: Float64Array) -> Calibration:
    """Return the slope (at least 0) and intercept from `x` (n,) to `target` (n,) that minimise cross-entropy plus ridge."""

    def objective(line: Float64Array) -> tuple[float, Float64Array]:
        slope, intercept = line
        z = slope * x + intercept
        loss = np.sum(np.logaddexp(0, z) - target * z) + RIDGE * slope**2 / 2
        error = sigmoid(z) - target
        return float(loss) / len(x), np.array([error @ x + RIDGE * slope, error.sum()]) / len(x)

    start = np.array([0.0, logit(target.mean())])
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)], options={"ftol": 1e-14, "gtol": 1e-9}
    )
    return Calibration(float(found.x[0]), float(found.x[1]))
