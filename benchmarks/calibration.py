"""What the calibration of new videos is worth, on drawn scores: one line for the mean of the models, or a line for each.

    python -m benchmarks.calibration [--corpora 60]

No network is run. A drawn corpus gives lines as `evaluate` fits them, and 4,000 new videos of the same kind test them. Before,
one line was fitted on the scores of one model over 8 frames, and applied to the mean of five models over 16. Now each model has
its own. A difference has a 95 % interval over corpora. A slope above 1 means that the probabilities are too cautious.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np

from dfd_ray.arrays import Float64Array, Int64Array
from dfd_ray.verdict.aggregation import sigmoid
from dfd_ray.verdict.calibration import Calibration, average_models, fit_calibration
from dfd_ray.verdict.video_probability import calibrate_models

MODELS, NEW, CLIP = 5, 4000, 0.01
SHARE = 0.81
"""Of FAKE videos, as among the 69 clips."""


class Case(NamedTuple):
    """A kind of corpus and of models."""

    videos: int
    signal: float
    """Half the distance of REAL from FAKE, in standard deviations of what all models see alike of a video."""
    differ: float
    """Standard deviation of the models' scales (log) and, doubled, of their shifts."""
    aggregation: str


CASES = [
    Case(videos, signal, differ, aggregation)
    for videos, signal in ((69, 0.35), (1000, 0.8))
    for differ in (0.0, 0.4)
    for aggregation in ("mean", "mean_logit")
]


def draw(
    case: Case, videos: int, frames: int, models: Float64Array, random: np.random.Generator
) -> tuple[Int64Array, Float64Array]:
    """Return labels (n,) and log-odds (models, n, frames); `models` (2, models) are their scales and shifts."""
    label = (random.random(videos) < SHARE).astype(np.int64)
    label[: 2 * MODELS] = np.arange(2 * MODELS) % 2  # every fold has both classes
    video = case.signal * (2 * label - 1) + random.normal(size=videos) + 0.5 * random.normal(size=(MODELS, videos))
    frame = 0.8 * random.normal(size=(videos, frames)) + 0.5 * random.normal(size=(MODELS, videos, frames))
    return label, 2 * models[0][:, None, None] * (video[..., None] + frame) + models[1][:, None, None]


def aggregate_all(faces: Float64Array, aggregation: str) -> Float64Array:
    """Return the probabilities of videos from the log-odds of their faces, the last axis."""
    return sigmoid(faces.mean(-1)) if aggregation == "mean_logit" else sigmoid(faces).mean(-1)


def measure(label: Int64Array, probability: Float64Array) -> tuple[float, float]:
    """Return the log loss, and the slope that the log-odds lack."""
    clipped = np.clip(probability, CLIP, 1 - CLIP)
    return float(-np.log(np.where(label == 1, clipped, 1 - clipped)).mean()), fit_calibration(clipped, label).slope


def run_corpus(case: Case, random: np.random.Generator) -> list[tuple[float, float]]:
    """Return log loss and slope of what was done before and of what is done now, for one corpus."""
    models = np.stack([np.exp(case.differ * random.normal(size=MODELS)), 0.5 + 2 * case.differ * random.normal(size=MODELS)])
    label, faces = draw(case, case.videos, 8, models, random)
    fold = np.empty(case.videos, np.int64)
    fold[np.argsort(label, kind="stable")] = np.arange(case.videos) % MODELS
    raw = aggregate_all(faces, case.aggregation)[fold, np.arange(case.videos)]
    together = fit_calibration(raw, label)
    lines: dict[int, Calibration] = calibrate_models(together, raw, label, fold, range(MODELS))
    truth, new = draw(case, NEW, 16, models, random)
    before = together.apply(aggregate_all(new.mean(0), case.aggregation))
    now = average_models(aggregate_all(new[..., ::2], case.aggregation).T, [lines[one] for one in range(MODELS)])
    return [measure(truth, probability) for probability in (before, now)]


def main() -> None:
    """Print a row for each case."""
    parser = argparse.ArgumentParser(description="The calibration of new videos, on drawn scores")
    parser.add_argument("--corpora", type=int, default=60)
    corpora = parser.parse_args().corpora
    print("| videos | models | aggregation | log loss before | now | difference | slope before | now |\n" + "|---" * 8 + "|")
    for number, case in enumerate(CASES):
        random = np.random.default_rng(number)
        found = np.array([run_corpus(case, random) for _ in range(corpora)])
        loss, slope = found[..., 0], np.median(found[..., 1], axis=0)
        gap = loss[:, 1] - loss[:, 0]
        half = 1.96 * gap.std(ddof=1) / np.sqrt(corpora)
        models = "differ" if case.differ else "alike"
        ends = f"{gap.mean():+.4f} ({gap.mean() - half:+.4f} to {gap.mean() + half:+.4f})"
        means = loss.mean(axis=0)
        print(f"| {case.videos} | {models} | {case.aggregation} | {means[0]:.4f} | {means[1]:.4f} | {ends} ", end="")
        print(f"| {slope[0]:.2f} | {slope[1]:.2f} |")


if __name__ == "__main__":
    main()
