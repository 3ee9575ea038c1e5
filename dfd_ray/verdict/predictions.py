"""The rows of `predictions/`: of a run's own videos, which other folds judge, and of new ones."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.config import Config
from dfd_ray.labels import NO_FOLD
from dfd_ray.verdict.aggregation import Method
from dfd_ray.verdict.breakdown import break_down
from dfd_ray.verdict.calibration import Calibration
from dfd_ray.verdict.metrics import measure_reliability, score_videos, trace_roc
from dfd_ray.verdict.video_probability import (
    Verdict,
    aggregate_videos,
    calibrate_videos,
    choose_log_odds,
    count_judged_frames,
    list_methods,
    split_log_odds,
)


class CalibrationFacts(TypedDict):
    """What `evaluation/calibration.json` holds: how new videos are judged."""

    calibration: dict[str, float] | None
    aggregation: Method


def predict_own(
    videos: pa.Table, scores: pa.Table, frames: pa.Table, folds: list[int], config: Config
) -> tuple[pa.Table, Verdict]:
    """Return the rows of `predictions/` for a run's own videos, in the order of `videos`, and how new ones are judged.

    `videos` are rows of `manifest/`, `scores` of `scores/`, `frames` of `faces/` with the `frame_index` of each face. `folds`
    are those that a model was kept away from.
    """
    scores = scores.take(pc.index_in(videos.column("video_id"), value_set=scores.column("video_id").combine_chunks()))
    most = count_judged_frames(config)
    faces = choose_log_odds(scores, frames, most)
    raw = {method: aggregate_videos(scores, faces, method, most) for method in list_methods(config.evaluate)}
    label = np.array([{"REAL": 0, "FAKE": 1}.get(value, -1) for value in videos.column("label").to_pylist()])
    fold = np.array([NO_FOLD if value is None else value for value in videos.column("fold").to_pylist()])
    judged = calibrate_videos(raw, label, fold, videos, config.evaluate)
    probability = judged.probability
    # Videos of a fold that every model has seen are not judged, not even those without a face.
    probability[(label >= 0) & ~np.isin(fold, folds)] = np.nan
    columns = {
        "video_id": videos.column("video_id"),
        "label": videos.column("label"),
        "fold": videos.column("fold"),
        "probability": pa.array(probability, from_pandas=True),
        "raw_probability": pa.array(judged.raw, from_pandas=True),
        "faces_used": pa.array([len(log_odds) for log_odds in faces], pa.int32()),
        "status": scores.column("status"),
    }
    return pa.table(columns), judged


def predict_new(scores: pa.Table, facts: CalibrationFacts | None, config: Config) -> tuple[pa.Table, str]:
    """Return the rows of `predictions/` for rows of `scores/` of new videos, and a remark where they are not calibrated.

    `facts` are those of the run whose classifiers scored them, None before it was evaluated.
    """
    method = facts["aggregation"] if facts else list_methods(config.evaluate)[0]
    faces = split_log_odds(scores)
    raw = aggregate_videos(scores, faces, method, config.preprocess.frames_unlabelled)
    note, probability = "", raw
    if not facts:
        note = "not calibrated: run `dfd-ray evaluate` on the training run first"
    elif not facts["calibration"]:
        note = "not calibrated, as evaluate.calibrate says; predict.prior has no effect"
    else:
        calibration = Calibration.from_dict(facts["calibration"])
        if config.predict.prior is not None:
            calibration = calibration.with_prior(config.predict.prior)
        probability = calibration.apply(raw)
    probability = np.clip(probability, config.evaluate.clip, 1 - config.evaluate.clip)
    probability = np.where(np.isfinite(raw), probability, config.predict.fallback_probability)
    columns = {
        "video_id": scores.column("video_id"),
        "label": pa.nulls(len(scores), pa.string()),
        "fold": pa.nulls(len(scores), pa.int32()),
        "probability": pa.array(probability),
        "raw_probability": pa.array(raw, from_pandas=True),
        "faces_used": pa.array([len(log_odds) for log_odds in faces], pa.int32()),
        "status": scores.column("status"),
    }
    return pa.table(columns), note


def measure_predictions(run: str, config: Config, predictions: pa.Table, groups: pa.ChunkedArray) -> dict[str, object]:
    """Return the content of `evaluation/metrics.json` for rows of `predictions/` and the group of each, ready for JSON."""
    settings = config.evaluate
    judged = pc.and_(predictions.column("label").is_valid(), predictions.column("probability").is_valid())
    table = predictions.filter(judged)
    metrics: dict[str, object] = {"videos": len(table), "aggregation": settings.aggregation}
    if len(table):
        label = pc.equal(table.column("label"), "FAKE").cast(pa.int64()).to_numpy()
        probability = table.column("probability").to_numpy()
        group = np.unique(groups.filter(judged).to_numpy(), return_inverse=True)[1]
        metrics |= score_videos(label, probability, group, bootstrap=settings.bootstrap, seed=settings.seed)
        metrics["reliability"] = measure_reliability(
            label, probability, group, bootstrap=settings.bootstrap, seed=settings.seed
        )
        metrics |= break_down(config, run, table, label, group)
        metrics["roc"] = trace_roc(label, probability) if len(set(label.tolist())) == 2 else None
    metrics["by_status"] = {row["values"]: row["counts"] for row in predictions.column("status").value_counts().to_pylist()}
    return metrics
