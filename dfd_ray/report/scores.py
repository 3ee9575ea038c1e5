"""How good the probabilities are, in words and in rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.arrays import BoolArray, Float64Array
from dfd_ray.corpus.wording import count_of
from dfd_ray.labels import LABELS
from dfd_ray.report.data import Metrics
from dfd_ray.verdict.metrics import CALIBRATION_BINS, IntervalScore, ReliabilityBin, measure_reliability

MEANINGS = {
    "log_loss": ("Log loss", "Kaggle's metric. It punishes confident errors. Lower is better."),
    "log_loss_balanced": (
        "Log loss, classes weighed equally",
        "As if there were as many REAL as FAKE videos. Lower is better.",
    ),
    "roc_auc": ("ROC AUC", "The chance that a FAKE video scores above a REAL one. Higher is better."),
    "average_precision": (
        "Average precision",
        "How many of the videos at the top of the list are FAKE, if sorted by probability. Higher is better.",
    ),
    "balanced_accuracy": (
        "Balanced accuracy",
        "Share of videos called right at the threshold 0.5, as the mean of both classes. Higher is better.",
    ),
    "equal_error_rate": (
        "Equal error rate",
        "Share of videos called wrong, at the threshold where it is the same for both classes. Lower is better.",
    ),
    "weighted_precision": (
        "Weighted precision",
        "Precision where half of the fakes are found, with a hundred times as many REAL videos. Higher is better.",
    ),
    "brier": ("Brier score", "The mean squared error of the probability. Lower is better."),
    "calibration_error": (
        "Calibration error",
        "How far the probability is from the share of FAKE, on average over ten bins. Lower is better.",
    ),
}
"""Name and meaning of each score."""
SHARES = ("roc_auc", "average_precision", "balanced_accuracy", "equal_error_rate", "weighted_precision")
"""The scores whose ruler ends at 1."""


@dataclass(frozen=True)
class Score:
    """A score, its 95 % interval, and the score of answering the base rate."""

    name: str
    title: str
    meaning: str
    value: float
    low: float | None
    high: float | None
    baseline: float | None
    top: float
    """The end of the ruler that shows them. It begins at 0."""
    difference: IntervalScore | None = None
    """The score minus that of the base rate, both on the same videos of each replicate; None where it was not measured."""

    @property
    def interval(self) -> str:
        """The interval as text, empty if there is none."""
        return show_ends(self.low, self.high)

    @property
    def gap(self) -> str:
        """The difference and its interval as text, empty if there is none."""
        if self.difference is None or self.difference["value"] is None:
            return ""
        ends = show_ends(self.difference["low"], self.difference["high"])
        return f"{self.difference['value']:+.3f} ({f'95 % interval {ends}' if ends else 'no interval'})"

    def percent(self, value: float) -> float:
        """Return the place of a value on the ruler, in percent of its length."""
        return round(100 * min(max(value / self.top, 0.0), 1.0), 2)


def show_ends(low: float | None, high: float | None) -> str:
    """Return an interval as text, empty if there is none."""
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def list_scores(metrics: Metrics) -> list[Score]:
    """Return the scores of `evaluation/metrics.json` that have a value, the known ones first, in their order."""
    stored = metrics.get("scores") or {}
    baselines = score_base_rate(metrics)
    found = []
    for name in [*MEANINGS, *(name for name in stored if name not in MEANINGS)]:
        score = stored.get(name)
        if not score or (value := score.get("value")) is None:
            continue
        title, meaning = MEANINGS.get(name, (name.replace("_", " "), ""))
        bounds = [bound for bound in (value, score.get("high"), baselines.get(name)) if bound is not None]
        top = 1.0 if name in SHARES else 1.15 * max([*bounds, 1e-6])
        difference = metrics.get("versus_constant") if name == "log_loss" else None
        found.append(
            Score(name, title, meaning, value, score.get("low"), score.get("high"), baselines.get(name), top, difference)
        )
    return found


def score_base_rate(metrics: Metrics) -> dict[str, float]:
    """Return the scores of answering the base rate for every video, by name."""
    constants, by_class = metrics.get("constants") or {}, metrics.get("by_class") or {}
    known = {"log_loss": constants.get("natural"), "log_loss_balanced": constants.get("balanced")}
    known |= {"roc_auc": 0.5, "balanced_accuracy": 0.5, "equal_error_rate": 0.5}
    real, fake = by_class.get("REAL", 0), by_class.get("FAKE", 0)
    if real + fake and not (real and fake):
        return {}  # of one class alone, the base rate is the answer
    if real + fake:
        share = fake / (real + fake)
        known |= {"average_precision": share, "brier": share * (1 - share)}
    return {name: value for name, value in known.items() if value is not None}


def summarise_scores(scores: list[Score], videos: int | None, rough: bool = False) -> str:
    """Return the result in one to three sentences: the log loss, the best constant's and what that means, and the AUC.

    `videos` is the number of those that are scored, None if it is not known; `rough` says that they are of few groups.
    """
    by_name = {score.name: score for score in scores}
    loss, auc = by_name.get("log_loss"), by_name.get("roc_auc")
    if loss is None:
        return "No classifier has been scored on this run yet."
    subject = f"Over {videos:,} labelled videos, the" if videos else "The"
    text = f"{subject} log loss is {loss.value:.3f}{show_interval(loss)}"
    if loss.baseline is not None:
        text += f". The best constant answer gets {loss.baseline:.3f}: {judge_loss(loss)}"
        text += f". The difference is {loss.gap}" if loss.gap else ""
    text += f". ROC AUC is {auc.value:.3f}{show_interval(auc)}." if auc else "."
    return f"{text} The intervals are rough: they draw from few groups." if rough else text


def summarise_predictions(predictions: pa.Table) -> str:
    """Return in one or two sentences how many new videos are likely FAKE, and how many have no score."""
    scored = predictions.filter(pc.equal(predictions.column("status"), "ok")).column("probability").to_numpy()
    text = f"{int((scored >= 0.5).sum()):,} of {len(scored):,} videos with a face have a probability of FAKE of 0.5 or more."
    others = len(predictions) - len(scored)
    return text + (f" {count_of(others, 'video')} without a face to score: the probability is a setting." if others else "")


def show_interval(score: Score) -> str:
    """Return the interval in brackets, or that there is none, with a space before them."""
    return f" (95 % interval {score.interval})" if score.interval else " (no interval)"


def judge_loss(loss: Score) -> str:
    """Say whether a log loss beats that of the best constant, if the interval of their difference shows it."""
    low, high = (loss.difference["low"], loss.difference["high"]) if loss.difference else (None, None)
    if low is None or high is None:
        return "without an interval of the difference, it may be luck"
    if high < 0:
        return "the model knows more than the base rate"
    if low > 0:
        return "the model is worse than the base rate alone"
    return "this run does not show that the model knows more than the base rate"


def select_judged(predictions: pa.Table, column: str) -> tuple[Float64Array, BoolArray]:
    """Return the probabilities (n,) in a column, and whether each video is FAKE (n,), of videos that have both.

    A number that is no probability, which a table of another program may hold, is left out.
    """
    values = predictions.column(column)
    possible = pc.and_(pc.greater_equal(values, 0), pc.less_equal(values, 1))  # null where the value is
    table = predictions.filter(pc.and_(pc.is_in(predictions.column("label"), pa.array(LABELS)), possible))
    fake = pc.equal(table.column("label"), "FAKE").to_numpy(zero_copy_only=False).astype(bool)
    return table.column(column).to_numpy().astype(np.float64), fake


def compare_by_bin(predictions: pa.Table, column: str) -> list[ReliabilityBin]:
    """Compare the probabilities in a column with the share of FAKE, bin by bin, without intervals."""
    probability, fake = select_judged(predictions, column)
    return measure_reliability(fake, probability, np.zeros(len(fake), np.int64), bootstrap=0) if len(fake) else []


def count_by_bin(predictions: pa.Table) -> dict[str, list[int]]:
    """Return the videos of each class by bin of probability, CALIBRATION_BINS numbers each."""
    probability, fake = select_judged(predictions, "probability")
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    return {name: np.histogram(probability[chosen], edges)[0].tolist() for name, chosen in (("REAL", ~fake), ("FAKE", fake))}


def sort_by_error(predictions: pa.Table, limit: int) -> pa.Table:
    """Return at most `limit` rows, the largest log loss first. Unlabelled videos come last, likely fakes first."""
    probability = predictions.column("probability").to_numpy().astype(np.float64)
    labels = np.array(predictions.column("label").to_pylist(), dtype=object)
    given = np.where(labels == "FAKE", probability, np.where(labels == "REAL", 1 - probability, np.nan))
    # The log loss falls as the probability given to the truth rises.
    order = np.lexsort((-np.nan_to_num(probability, nan=-1.0), np.where(np.isnan(given), np.inf, given)))
    return predictions.take(pa.array(order[:limit]))


def make_table_island(rows: pa.Table) -> dict[str, list[object]]:
    """Return predictions column by column, ready for JSON. What is missing or not a number is None."""
    columns = ("video_id", "label", "fold", "probability", "raw_probability", "faces_used", "status")
    return {name: [round_for_json(value) for value in rows.column(name).to_pylist()] for name in columns}


def round_for_json(value: object) -> object:
    """Return a float with four digits, None for NaN or infinity, and anything else unchanged."""
    if not isinstance(value, float):
        return value
    return round(value, 4) if math.isfinite(value) else None
