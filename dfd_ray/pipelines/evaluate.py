"""evaluate: from the faces and the classifiers to the probability of every video, and how good it is.

    faces ──read──▶ ScoreFaces (actors, GPU or CPU) ──▶ scores/ ──aggregate, calibrate──▶ predictions/, evaluation/

A model that never saw its fold scores every labelled video, and videos of other folds calibrate it. For new videos each model
is calibrated by what it scored here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from dfd_ray.errors import RunError
from dfd_ray.models.grad_cam import check_grad_cam
from dfd_ray.report.explanations import explain_errors
from dfd_ray.runtime.resumable_table import fill_table, is_complete, read_rows, require, write_rows
from dfd_ray.stages.score import score_faces_of
from dfd_ray.store.model_files import find_untrained_folds, list_trained_folds
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.sources import digest_sources
from dfd_ray.store.storage import delete_file, exists, list_files, read_json, write_json
from dfd_ray.store.summary import NOTHING_DONE, Summary, count_statuses, time_job
from dfd_ray.store.tables import read_table, with_metadata, write_file
from dfd_ray.verdict.metrics import IntervalScore
from dfd_ray.verdict.predictions import Judgement, measure_predictions, predict_own
from dfd_ray.verdict.video_probability import Verdict, count_judged_frames, refuse_not_finite

VIDEOS_AT_ONCE = 16
"""Videos whose faces are scored together, so that batches are full although most videos have eight faces."""


@time_job
def evaluate(run: Run) -> Summary:
    """Write `predictions/` (one row per video) and `evaluation/`."""
    if run.config.evaluate.explain:
        check_grad_cam()
    if is_complete(run, "predictions") and exists(run.path("evaluation", "metrics.json")):
        explain_errors(run)
        return summarise(run, NOTHING_DONE)
    require(run, "faces")
    require_models(run)
    if not is_complete(run, "scores"):
        with fill_table("evaluate", run, "scores") as counter:
            columns = ["video_id", "fold", "status", "error_stage", "error", "faces"]
            videos = read_rows(run, "faces", columns, VIDEOS_AT_ONCE)
            write_rows(score_faces_of(videos, run, VIDEOS_AT_ONCE, counter), run, "scores", SCHEMAS["scores"])
    videos = read_table(run.location, "manifest", ["video_id", "label", "group", "fold"])
    frames = read_table(run.location, "faces", ["video_id", "sampled", "faces.list.element.frame_index"])
    scores = read_table(run.location, "scores")
    refuse_not_finite(scores, run.path("scores"))
    try:
        predictions, judged = predict_own(videos, scores, frames, list_trained_folds(run), run.config)
    except ValueError as error:
        raise RunError(f"{run.path('scores')} is of an older version: {error}; delete it and run `dfd-ray evaluate`") from None
    metrics = measure_predictions(run.location, run.config, predictions, videos.column("group"), judged.remarks)
    write_evaluation(run, predictions, metrics, judged)
    explain_errors(run)
    return summarise(run)


def require_models(run: Run) -> None:
    """Raise RunError unless every classifier that the configuration asks for is there, and made by it."""
    if missing := find_untrained_folds(run):
        raise RunError(f"{run.path('models')} is not complete: no model without fold {missing[0]}; run `dfd-ray train` first")


def write_evaluation(run: Run, predictions: pa.Table, metrics: dict[str, object], judged: Verdict) -> None:
    """Write the calibration and the metrics, and last the table, whose presence says that the others are there."""
    delete_file(run.path("explanations.json"))  # those of earlier predictions
    frames = count_judged_frames(run.config)
    remarks = [] if judged.calibration else judged.remarks
    facts = Judgement(judged.aggregation, judged.calibration, judged.models, frames, remarks)
    write_json(run.path("evaluation", "calibration.json"), facts.to_dict())
    write_json(run.path("evaluation", "metrics.json"), metrics)
    made_from = digest_sources(run, "predictions")
    schema = with_metadata(SCHEMAS["predictions"], "predictions", run.config, made_from=made_from)
    write_file(run.path("predictions", "part-0.parquet"), predictions.cast(schema))


def summarise(run: Run, *notes: str) -> Summary:
    """Count the rows by status, and print the scores, each with its interval, and what limits them."""
    metrics = read_json(run.path("evaluation", "metrics.json"))
    return Summary(
        job="evaluate",
        table=run.path("predictions"),
        **count_statuses(read_table(run.location, "scores", ["status", "error"])),
        notes=[*notes, *metrics.get("remarks", [])],
        details={
            "models": len(list_files(run.path("models"), ".safetensors")),
            **list_scores(metrics),
        },
    )


def list_scores(metrics: Mapping[str, Any]) -> dict[str, object]:
    """Return what a summary says of the content of `evaluation/metrics.json`, each score with its interval."""
    probes = {name: (metrics.get(f"{name}_probe") or {}).get("roc_auc") for name in ("metadata", "geometry")}
    return {
        "videos judged": metrics.get("videos"),
        "groups": metrics.get("groups"),
        **{name: show_score(score) for name, score in metrics.get("scores", {}).items()},
        "constants": metrics.get("constants"),
        "log loss minus constant": show_score(metrics.get("versus_constant")),
        "AUC of file facts alone": show_score(probes["metadata"]),
        "AUC minus that": show_score(metrics.get("beyond_probe")),
        "AUC of the faces' geometry alone": show_score(probes["geometry"]),
    }


def show_score(score: IntervalScore | None) -> str | None:
    """Return a score and its interval as text, None where it has no value."""
    if score is None or score["value"] is None:
        return None
    interval = "no interval" if score["low"] is None else f"95 % interval {score['low']:.4f} to {score['high']:.4f}"
    return f"{score['value']:.4f} ({interval})"
