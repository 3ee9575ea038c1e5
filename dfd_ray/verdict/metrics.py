"""Measure how good the probabilities of videos are, with intervals that resample linked videos together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from dfd_ray.arrays import Float64Array, Int64Array, spread_rows
from dfd_ray.labels import LABELS

KAGGLE_CLIP = 1e-15
"""Distance that Kaggle's log loss keeps probabilities from 0 and 1."""
THRESHOLD = 0.5
"""Probability from which a video is called FAKE."""
CALIBRATION_BINS = 10
"""Number of bins of equal width in which the mean probability is compared with the share of FAKE."""
MAX_CURVE_POINTS = 500
PRECISION_WEIGHT = 100.0
PRECISION_RECALL = 0.5
"""How many times rarer fakes are assumed to be in the world than in the test, and the recall at which precision is measured."""
LEVEL = 0.95
"""Confidence level of the intervals."""
FEW_GROUPS = 20
"""Number of groups with a class below which a bootstrap's intervals are rough."""


EXCESS = "log_loss_excess"
"""The log loss minus that of the share of FAKE, given to every video."""


class Interval(TypedDict):
    """Both ends of an interval, None where it is not known."""

    low: float | None
    high: float | None


class IntervalScore(Interval):
    """A score and its interval; `value` is None where a class is missing."""

    value: float | None


class SubgroupScores(TypedDict):
    """The part of `VideoScores` that is kept of a subgroup."""

    videos: int
    by_class: dict[str, int]
    groups_by_class: dict[str, int]
    constants: dict[str, float]
    scores: dict[str, IntervalScore]
    versus_constant: IntervalScore


class VideoScores(SubgroupScores):
    """What `score_videos` returns, ready for JSON."""

    groups: int
    confusion_matrix: list[list[int]]
    bootstrap: dict[str, float]


class ReliabilityBin(Interval):
    """A bin of probability: its `mean` probability, its `share` of FAKE with an interval, and its `n` videos."""

    mean: float
    share: float
    n: int


class RocCurve(TypedDict):
    """Points of a ROC curve, as lists of one length."""

    fpr: list[float]
    tpr: list[float]
    threshold: list[float]


def score_videos(
    label: npt.ArrayLike, probability: npt.ArrayLike, group: npt.ArrayLike, *, bootstrap: int = 1000, seed: int = 0
) -> VideoScores:
    """Return the scores of videos, ready for JSON.

    `label` (n,) is 0 for REAL and 1 for FAKE, `probability` (n,) of FAKE, `group` (n,) of any integers; n at least 1.
    `scores` holds `log_loss`, `log_loss_balanced` (both classes weigh the same), `roc_auc`, `average_precision`,
    `balanced_accuracy`, `equal_error_rate`, `weighted_precision` (see `Ranking.scores`), `brier` and
    `calibration_error` (expected, over CALIBRATION_BINS), each with the 95 % percentile interval over `bootstrap` replicates
    that draw whole groups with replacement. A replicate that loses a class is skipped; `bootstrap.usable` counts the rest. A
    score that needs both classes is None where one is missing. The ends of an interval are None also without replicates and
    with a single group. `confusion_matrix` is [[tn, fp], [fn, tp]] at THRESHOLD. `constants` are the log losses of the best
    constant answer: `natural` on these videos, `balanced` on balanced classes. `versus_constant` is the log loss minus the
    natural constant's, on the same videos of each replicate; None where a class is missing. Raises ValueError otherwise.
    """
    truth, score, member = check_input(label, probability, group)
    ranking = Ranking(truth, score)
    values = ranking.scores(np.ones(len(truth)))
    replicates = resample(ranking, member, bootstrap, seed)
    called = score >= THRESHOLD
    scores: dict[str, IntervalScore] = {
        name: {"value": value, **percentile_interval([row[name] for row in replicates])} for name, value in values.items()
    }
    return {
        "videos": len(truth),
        "by_class": {name: int((truth == one).sum()) for one, name in enumerate(LABELS)},
        "groups": len(np.unique(member)),
        "groups_by_class": {name: len(np.unique(member[truth == one])) for one, name in enumerate(LABELS)},
        "versus_constant": scores.pop(EXCESS),
        "scores": scores,
        "confusion_matrix": [[int(((truth == row) & (called == guess)).sum()) for guess in (0, 1)] for row in (0, 1)],
        "constants": {"natural": entropy(float(truth.mean())), "balanced": math.log(2)},
        "bootstrap": {"replicates": bootstrap, "usable": len(replicates), "level": LEVEL},
    }


def are_few(groups_by_class: Mapping[str, int]) -> bool:
    """Return whether a class is in fewer than FEW_GROUPS groups, so that intervals are rough; False if nothing is known."""
    return min(groups_by_class.values(), default=FEW_GROUPS) < FEW_GROUPS


def check_input(
    label: npt.ArrayLike, probability: npt.ArrayLike, group: npt.ArrayLike
) -> tuple[Int64Array, Float64Array, Int64Array]:
    """Return the three as arrays, the groups numbered from 0. Raises ValueError for what `score_videos` does not accept."""
    truth, score, member = np.asarray(label), np.asarray(probability, np.float64), np.asarray(group)
    if truth.ndim != 1 or not len(truth) or not truth.shape == score.shape == member.shape:
        raise ValueError(f"need lists of one length, not empty: {truth.shape}, {score.shape}, {member.shape}")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    if not ((score >= 0) & (score <= 1)).all():
        raise ValueError("probabilities must be numbers from 0 to 1")
    return truth.astype(np.int64), score, np.unique(member, return_inverse=True)[1]


class Ranking:
    """Videos sorted by probability, so that any weights of them are scored in linear time.

    `label` (n,) is 0 or 1, `probability` (n,) is that of FAKE, from 0 to 1.
    """

    def __init__(self, label: Int64Array, probability: Float64Array) -> None:
        self.order = np.argsort(-probability, kind="stable")
        self.label = label[self.order]
        score = probability[self.order]
        # Equal probabilities are one step of a curve, which ends at the last of them.
        self.ends = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
        clipped = np.clip(score, KAGGLE_CLIP, 1 - KAGGLE_CLIP)
        self.loss = np.where(self.label == 1, -np.log(clipped), -np.log1p(-clipped))
        self.square = (score - self.label) ** 2
        self.right = (score >= THRESHOLD) == self.label
        self.gap = score - self.label
        self.bin = assign_bins(score)
        share = float(np.clip(self.label.mean(), KAGGLE_CLIP, 1 - KAGGLE_CLIP))
        self.excess = self.loss - np.where(self.label == 1, -np.log(share), -np.log1p(-share))

    def scores(self, weight: Float64Array) -> dict[str, float | None]:
        """Return all scores, and EXCESS, of the videos with weights `weight` (n,), in the order given to the constructor.

        The scores equal scikit-learn's with `sample_weight`. Those that need both classes are None if one class weighs
        nothing. The weighted precision is TP / (TP + 100 FP) of the shortest list that holds half of the fakes, after
        B. Dolhansky et al., "The DeepFake Detection Challenge dataset" (2020). The equal error rate is where the ROC curve,
        interpolated linearly, crosses the line on which misses equal false alarms.
        """
        weight = weight[self.order]
        fake, real = weight * self.label, weight * (1 - self.label)
        fakes, reals = fake.sum(), real.sum()
        total = fakes + reals
        found: dict[str, float | None] = {
            "log_loss": float(weight @ self.loss / total),
            "log_loss_balanced": None,
            "roc_auc": None,
            "average_precision": None,
            "balanced_accuracy": None,
            "equal_error_rate": None,
            "weighted_precision": None,
            EXCESS: None,
            "brier": float(weight @ self.square / total),
            "calibration_error": float(np.abs(np.bincount(self.bin, weight * self.gap)).sum() / total),
        }
        if fakes and reals:
            hits = np.concatenate([[0.0], np.cumsum(fake)[self.ends]])
            alarms = np.concatenate([[0.0], np.cumsum(real)[self.ends]])
            precision = hits[1:] / np.maximum(hits[1:] + alarms[1:], np.finfo(float).tiny)
            found["log_loss_balanced"] = float((fake @ self.loss / fakes + real @ self.loss / reals) / 2)
            found["roc_auc"] = float(np.trapezoid(hits, alarms) / (fakes * reals))
            found["average_precision"] = float(np.diff(hits) @ precision / fakes)
            found["balanced_accuracy"] = float((fake @ self.right / fakes + real @ self.right / reals) / 2)
            # False alarms minus misses rises along the curve from -1 to 1; the two rates are equal where it is 0.
            found["equal_error_rate"] = float(np.interp(0, alarms / reals + hits / fakes - 1, alarms / reals))
            half = int(np.searchsorted(hits, PRECISION_RECALL * fakes))
            found[EXCESS] = float(weight @ self.excess / total)
            found["weighted_precision"] = float(hits[half] / (hits[half] + PRECISION_WEIGHT * alarms[half]))
        return found


def measure_reliability(
    label: npt.ArrayLike, probability: npt.ArrayLike, group: npt.ArrayLike, *, bootstrap: int = 1000, seed: int = 0
) -> list[ReliabilityBin]:
    """Return the share of FAKE in each of the CALIBRATION_BINS that holds a video, by rising probability.

    Accepts what `score_videos` accepts, and raises ValueError for the rest. The interval of the share is the 95 % percentile
    interval over replicates that draw whole groups and have a video in the bin. Its ends are None without replicates, or if
    the bin's videos are all of one group.
    """
    truth, score, member = check_input(label, probability, group)
    bins = assign_bins(score)
    replicates: list[list[float | None]] = []
    for weight in draw_weights(member, bootstrap, seed):
        count, fakes = (np.bincount(bins, values, CALIBRATION_BINS) for values in (weight, weight * truth))
        replicates.append([fake / total if total else None for fake, total in zip(fakes, count, strict=True)])
    rows: list[ReliabilityBin] = []
    for one in np.unique(bins):
        inside = bins == one
        linked = len(np.unique(member[inside])) < 2
        ends = percentile_interval([] if linked else [shares[one] for shares in replicates])
        mean, share = float(score[inside].mean()), float(truth[inside].mean())
        rows.append({"mean": mean, "share": share, "n": int(inside.sum()), **ends})
    return rows


def assign_bins(probability: Float64Array) -> Int64Array:
    """Return the bin (n,) of each probability (n,), from 0 to CALIBRATION_BINS - 1."""
    return np.minimum((probability * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)


def draw_weights(group: Int64Array, bootstrap: int, seed: int) -> Iterator[Float64Array]:
    """Yield the weights (n,) of the videos in each replicate; none if there is only one group.

    `group` (n,) is numbered from 0. Each replicate draws as many groups as there are, with replacement. The weight of a video
    is how often its group was drawn.
    """
    random = np.random.default_rng(seed)
    groups = int(group.max()) + 1
    for _ in range(bootstrap if groups > 1 else 0):
        yield np.bincount(random.integers(groups, size=groups), minlength=groups)[group].astype(np.float64)


def resample(ranking: Ranking, group: Int64Array, bootstrap: int, seed: int) -> list[dict[str, float | None]]:
    """Return the scores of each replicate of `draw_weights` that kept all classes."""
    expected = [name for name, value in ranking.scores(np.ones(len(group))).items() if value is not None]
    rows = (ranking.scores(weight) for weight in draw_weights(group, bootstrap, seed))
    return [row for row in rows if all(row[name] is not None for name in expected)]


def compare_areas(
    label: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    group: npt.ArrayLike,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> IntervalScore:
    """Return the AUC of the probabilities `first` minus that of `second`, with an interval that draws the same groups for both.

    Accepts and raises what `score_videos` does. All is None where a class is missing.
    """
    truth, _, member = check_input(label, first, group)
    rankings = [Ranking(truth, check_input(label, one, group)[1]) for one in (first, second)]

    def differ(weight: Float64Array) -> float | None:
        one, other = (ranking.scores(weight)["roc_auc"] for ranking in rankings)
        return None if one is None or other is None else one - other

    replicates = [differ(weight) for weight in draw_weights(member, bootstrap, seed)]
    return {"value": differ(np.ones(len(truth))), **percentile_interval(replicates)}


def percentile_interval(values: list[float | None]) -> Interval:
    """Return the percentile interval at LEVEL of the replicates' values; both ends are None if all values are."""
    known = [value for value in values if value is not None]
    if not known:
        return {"low": None, "high": None}
    low, high = np.percentile(known, [50 * (1 - LEVEL), 100 - 50 * (1 - LEVEL)])
    return {"low": float(low), "high": float(high)}


def entropy(share: float) -> float:
    """Return the log loss of always answering `share`, the share of FAKE. No other constant has a smaller one."""
    return sum(-part * math.log(part) for part in (share, 1 - share) if part > 0)


def trace_roc(label: npt.ArrayLike, probability: npt.ArrayLike) -> RocCurve:
    """Return at most MAX_CURVE_POINTS points of the ROC curve.

    The first point is (0, 0). Its threshold is the largest probability plus 1, so that no video is called FAKE. Raises
    ValueError for what `score_videos` does not accept, and if a class is missing.
    """
    from sklearn.metrics import roc_curve

    truth, score, _ = check_input(label, probability, np.zeros(np.shape(label), np.int64))
    if len(np.unique(truth)) < 2:
        raise ValueError("a ROC curve needs videos of both classes")
    fpr, tpr, threshold = roc_curve(truth, score)
    threshold[0] = score.max() + 1  # scikit-learn has infinity here, which JSON lacks
    chosen = spread_rows(len(fpr), MAX_CURVE_POINTS)
    return {"fpr": fpr[chosen].tolist(), "tpr": tpr[chosen].tolist(), "threshold": threshold[chosen].tolist()}
