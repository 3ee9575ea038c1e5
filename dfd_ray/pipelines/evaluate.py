"""evaluate: from the faces and the classifiers to the probability of every video, and how good it is.

    faces ──read──▶ ScoreFaces (actors, GPU or CPU) ──▶ scores/ ──aggregate, calibrate──▶ predictions/, evaluation/

Every labelled video is scored by a model that never saw its fold, and calibrated by videos of other folds.
"""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfd_ray.errors import RunError
from dfd_ray.labels import NO_FOLD, TRAIN_ONLY
from dfd_ray.models.grad_cam import check_grad_cam
from dfd_ray.pipelines.explain import explain_errors
from dfd_ray.runtime.progress import show_progress
from dfd_ray.runtime.resumable_table import check_whole, is_complete, read_rows, require, resumable, write_rows
from dfd_ray.runtime.session import check_placeable, pick_device, ray_session, run_as_actors
from dfd_ray.stages.score import ScoreFaces
from dfd_ray.store.model_files import is_trained, trained_folds
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.storage import delete_file, exists, read_json, write_bytes, write_json
from dfd_ray.store.summary import NOTHING_DONE, Summary, count_statuses, elapsed
from dfd_ray.store.tables import read_table, with_metadata
from dfd_ray.verdict.breakdown import break_down
from dfd_ray.verdict.metrics import measure_reliability, score_videos, trace_roc
from dfd_ray.verdict.video_probability import (
    Verdict,
    aggregate_videos,
    calibrate_videos,
    choose_log_odds,
    count_judged_frames,
    list_methods,
)

VIDEOS_AT_ONCE = 16
"""Videos whose faces are scored together, so that batches are full although most videos have eight faces."""


def evaluate(run: Run) -> Summary:
    """Write `predictions/` (one row per video) and `evaluation/metrics.json`."""
    started = time.monotonic()
    if run.config.evaluate.explain:
        check_grad_cam()
    if is_complete(run, "predictions") and exists(run.path("evaluation", "metrics.json")):
        explain_errors(run)
        return summarise(run, started, note=NOTHING_DONE)
    require(run, "faces")
    require_models(run)
    if not is_complete(run, "scores"):
        score_all(run)
    videos = read_table(run.location, "manifest", ["video_id", "label", "group", "fold"])
    scores = read_table(run.location, "scores")
    scores = scores.take(pc.index_in(videos.column("video_id"), value_set=scores.column("video_id").combine_chunks()))
    most = count_judged_frames(run.config)
    faces = choose_log_odds(scores, read_table(run.location, "faces", ["video_id", "faces.list.element.frame_index"]), most)
    raw = {method: aggregate_videos(scores, faces, method, most) for method in list_methods(run.config.evaluate)}
    label = np.array([{"REAL": 0, "FAKE": 1}.get(value, -1) for value in videos.column("label").to_pylist()])
    fold = np.array([NO_FOLD if value is None else value for value in videos.column("fold").to_pylist()])
    judged = calibrate_videos(raw, label, fold, videos, run.config.evaluate)
    probability = judged.probability
    # Videos of a fold that every model has seen are not judged, not even those without a face.
    probability[(label >= 0) & ~np.isin(fold, trained_folds(run))] = np.nan
    predictions = pa.table(
        {
            "video_id": videos.column("video_id"),
            "label": videos.column("label"),
            "fold": videos.column("fold"),
            "probability": pa.array(probability, from_pandas=True),
            "raw_probability": pa.array(judged.raw, from_pandas=True),
            "faces_used": pa.array([len(log_odds) for log_odds in faces], pa.int32()),
            "status": scores.column("status"),
        }
    )
    delete_file(run.path("explanations.json"))  # those of earlier predictions
    write_evaluation(run, predictions, videos.column("group"), judged)
    explain_errors(run)
    return summarise(run, started)


def require_models(run: Run) -> None:
    """Raise RunError unless every classifier that the configuration asks for is there, and made by it."""
    if missing := find_untrained_folds(run):
        raise RunError(f"{run.path('models')} is not complete: no model without fold {missing[0]}; run `dfd-ray train` first")


def find_untrained_folds(run: Run) -> list[int]:
    """Return the folds without a classifier among those that the configuration asks for; RunError if another made one."""
    folds = read_table(run.location, "manifest", ["fold"]).column("fold").drop_null().unique().to_pylist()
    wanted = run.config.train.folds if run.config.train.folds is not None else sorted({*folds} - {TRAIN_ONLY})
    return [fold for fold in wanted if not is_trained(run, fold)]


def score_all(run: Run) -> None:
    """Write `scores/`: the log-odds of every face."""
    pool = run.config.resources.score
    with ray_session(run), resumable(run, "scores"), show_progress("evaluate", run.location, "scores") as counter:
        check_placeable("score", pool)
        columns = ["video_id", "fold", "status", "error_stage", "error", "faces"]
        videos = read_rows(run, "faces", columns, VIDEOS_AT_ONCE)
        videos = videos.map_batches(
            ScoreFaces,
            fn_constructor_args=(run, pick_device(pool), run.config.embed.batch_size, counter),
            batch_format="pyarrow",
            batch_size=VIDEOS_AT_ONCE,
            **run_as_actors(pool),
        )
        schema = with_metadata(SCHEMAS["scores"], "scores", run.config)
        write_rows(videos, run, "scores", schema, run.config.resources.videos_per_file)
        check_whole(run, "scores")


def write_evaluation(run: Run, predictions: pa.Table, groups: pa.ChunkedArray, found: Verdict) -> None:
    """Write the metrics, the calibration, and last the table, whose presence says that the others are there."""
    settings = run.config.evaluate
    judged = pc.and_(predictions.column("label").is_valid(), predictions.column("probability").is_valid())
    table = predictions.filter(judged)
    metrics: dict[str, Any] = {"videos": len(table), "aggregation": settings.aggregation}
    if len(table):
        label = pc.equal(table.column("label"), "FAKE").cast(pa.int64()).to_numpy()
        probability = table.column("probability").to_numpy()
        group = np.unique(groups.filter(judged).to_numpy(), return_inverse=True)[1]
        metrics |= score_videos(label, probability, group, bootstrap=settings.bootstrap, seed=settings.seed)
        metrics["reliability"] = measure_reliability(
            label, probability, group, bootstrap=settings.bootstrap, seed=settings.seed
        )
        metrics |= break_down(run.config, run.location, table, label, group)
        metrics["roc"] = trace_roc(label, probability) if len(set(label.tolist())) == 2 else None
    metrics["by_status"] = {row["values"]: row["counts"] for row in predictions.column("status").value_counts().to_pylist()}
    facts = {"calibration": found.calibration.to_dict() if found.calibration else None, "aggregation": found.aggregation}
    write_json(run.path("evaluation", "calibration.json"), facts)
    write_json(run.path("evaluation", "metrics.json"), metrics)
    buffer = io.BytesIO()
    pq.write_table(predictions.cast(with_metadata(SCHEMAS["predictions"], "predictions", run.config)), buffer)
    write_bytes(run.path("predictions", "part-0.parquet"), buffer.getvalue())


def summarise(run: Run, started: float, note: str = "") -> Summary:
    """Count the statuses, and tell the scores."""
    metrics = read_json(run.path("evaluation", "metrics.json"))
    scores = {
        name: f"{value['value']:.4f}"
        + ("" if value["low"] is None else f" (95 % interval {value['low']:.4f} to {value['high']:.4f})")
        for name, value in metrics.get("scores", {}).items()
        if value["value"] is not None
    }
    summary = Summary(
        job="evaluate",
        table=run.path("predictions"),
        seconds=elapsed(started),
        notes=[note] if note else [],
        details={**scores, "constants": metrics.get("constants"), "metadata_only": metrics.get("metadata_probe")},
    )
    return count_statuses(summary, read_table(run.location, "scores", ["status", "error"]))
