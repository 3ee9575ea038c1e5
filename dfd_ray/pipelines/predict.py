"""predict: from a folder of new videos to their probabilities.

    videos ──▶ as in preprocess ──▶ ScoreFaces (actors) ──▶ scores/ ──▶ predictions/, submission.csv

The frames, crops and classifiers are those of the run that trained; nothing but the scores is written in between.
"""

from __future__ import annotations

import csv
import io
import posixpath
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfd_ray.corpus.listing import METADATA, check_folder, list_videos
from dfd_ray.errors import CorpusError, RunError, Status
from dfd_ray.models.grad_cam import check_grad_cam
from dfd_ray.pipelines.explain import explain
from dfd_ray.pipelines.index import write_manifest
from dfd_ray.runtime.progress import show_progress
from dfd_ray.runtime.resumable_table import check_whole, is_complete, read_rows, resumable, write_rows
from dfd_ray.runtime.session import check_placeable, pick_device, ray_session, run_as_actors
from dfd_ray.runtime.terminal import say
from dfd_ray.stages.detect import find_faces_of
from dfd_ray.stages.score import ScoreFaces
from dfd_ray.store.model_files import check_models, models_digest
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.storage import absolute_uri, exists, join, read_json, write_bytes
from dfd_ray.store.summary import NOTHING_DONE, Summary, count_statuses, elapsed
from dfd_ray.store.tables import check_compatible, count_rows, read_metadata, read_table, with_metadata
from dfd_ray.verdict.calibration import Calibration
from dfd_ray.verdict.video_probability import aggregate_videos, list_methods, split_log_odds


def predict(run: Run, videos: str, out: str) -> Summary:
    """Write `<out>/predictions/` and `<out>/submission.csv`: a line for every file in `videos`, broken ones included.

    `run` is the one whose classifiers score. Raises RunError when it has none, CorpusError for an empty folder.
    """
    started = time.monotonic()
    models = models_digest(run)
    if run.config.predict.explain:
        check_grad_cam()
    new = Run(out, run.config)
    index_new(new, absolute_uri(videos))
    if (known := read_metadata(out, "scores").get("models", models)) != models:
        raise RunError(f"--out {out} was scored by classifiers {known}, and {run.location} has {models} now; use another --out")
    there_before = count_rows(out, "scores")
    if not is_complete(new, "scores"):
        check_models(run)
        score_new(run, new, models)
    predictions, note = predictions_of(run, read_table(out, "scores").sort_by("video_id"))
    if run.config.predict.explain:
        say(f"explanations: {explain(run, out, predictions)}")
    # Made anew each time, since it takes no network and may be calibrated by now; the same again is no work.
    if count_rows(out, "predictions") and exists(join(out, "submission.csv")):
        check_compatible(new, "predictions")
        if read_table(out, "predictions").equals(predictions.cast(SCHEMAS["predictions"])):
            return summarise(new, started, note=NOTHING_DONE)
    write_predictions(new, predictions)
    return summarise(new, started, note, there_before)


def index_new(new: Run, videos: str) -> None:
    """Write the manifest of a folder: every file in it but the hidden ones and a `metadata.json`."""
    check_folder(videos, "--videos")
    entries = [entry for entry in list_videos(videos, suffixes=("",)) if posixpath.basename(entry.video_id) != METADATA]
    if not entries:
        raise CorpusError(f"--videos {videos}: the folder is empty")
    entries.sort(key=lambda entry: entry.video_id)
    if count_rows(new.location, "manifest"):
        indexed = read_metadata(new.location, "manifest").get("corpus")
        if indexed != videos:
            raise RunError(f"--out {new.location} holds predictions of {indexed}; use another --out")
        if read_table(new.location, "manifest", ["video_id"]).column("video_id").to_pylist() != [
            entry.video_id for entry in entries
        ]:
            raise RunError(f"{videos} holds other files than when --out {new.location} was begun; use another --out")
        check_compatible(new, "manifest")
        return
    rows = [
        {"video_id": entry.video_id, "uri": join(videos, entry.video_id), "part": entry.part, "bytes": entry.bytes}
        for entry in entries
    ]
    schema = with_metadata(SCHEMAS["manifest"], "manifest", new.config, corpus=videos)
    write_manifest(new.location, pa.Table.from_pylist(rows, schema=schema))


def score_new(run: Run, new: Run, models: str) -> None:
    """Write `<out>/scores/` in one pass over the videos; `models` says in its metadata which classifiers scored."""
    resources = run.config.resources
    with ray_session(run), resumable(new, "scores"), show_progress("predict", new.location, "scores") as counter:
        check_placeable("score", resources.score)
        rows = read_rows(new, "manifest", ["video_id", "uri", "label", "group", "fold"], resources.videos_per_task)
        rows = find_faces_of(rows, run.config, counter, pools=2)
        rows = rows.map_batches(
            ScoreFaces,
            fn_constructor_args=(run, pick_device(resources.score), run.config.embed.batch_size),
            batch_format="pyarrow",
            batch_size=resources.videos_per_task,
            **run_as_actors(resources.score, pools=2),
        )
        write_rows(
            rows,
            new,
            "scores",
            with_metadata(SCHEMAS["scores"], "scores", run.config, models=models),
            resources.videos_per_file,
        )
        check_whole(new, "scores")


def predictions_of(run: Run, scores: pa.Table) -> tuple[pa.Table, str]:
    """Return the rows of `predictions/` for rows of `scores/`, and a remark if one is due."""
    location = run.path("evaluation", "calibration.json")
    facts: dict[str, Any] = read_json(location) if exists(location) else {}
    asked = run.config.evaluate.aggregation
    if facts and asked not in ("auto", facts["aggregation"]):
        raise RunError(
            f"evaluate.aggregation = {asked}, but the calibration in {location} is for "
            f"{facts['aggregation']}; use that, or delete {run.path('predictions')} and run `dfd-ray evaluate` with the other"
        )
    method = facts["aggregation"] if facts else list_methods(run.config.evaluate)[0]
    faces = split_log_odds(scores)
    raw = aggregate_videos(scores, faces, method, run.config.preprocess.frames_unlabelled)
    note, probability = "", raw
    if not facts:
        note = "not calibrated: run `dfd-ray evaluate` on the training run first"
    elif not facts.get("calibration"):
        note = "not calibrated, as evaluate.calibrate says; predict.prior has no effect"
    else:
        calibration = Calibration.from_dict(facts["calibration"])
        if run.config.predict.prior is not None:
            calibration = calibration.with_prior(run.config.predict.prior)
        probability = calibration.apply(raw)
    probability = np.clip(probability, run.config.evaluate.clip, 1 - run.config.evaluate.clip)
    probability = np.where(np.isfinite(raw), probability, run.config.predict.fallback_probability)
    count = len(scores)
    columns = {
        "video_id": scores.column("video_id"),
        "label": pa.nulls(count, pa.string()),
        "fold": pa.nulls(count, pa.int32()),
        "probability": pa.array(probability),
        "raw_probability": pa.array(raw, from_pandas=True),
        "faces_used": pa.array([len(log_odds) for log_odds in faces], pa.int32()),
        "status": scores.column("status"),
    }
    return pa.table(columns), note


def write_predictions(new: Run, predictions: pa.Table) -> None:
    """Write Kaggle's `submission.csv`, and last the table, whose presence says that the other is there."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["filename", "label"])
    for name, value in zip(*(predictions.column(c).to_pylist() for c in ("video_id", "probability")), strict=True):
        rows.writerow([name, f"{value:.6f}"])
    write_bytes(new.path("submission.csv"), text.getvalue().encode())
    buffer = io.BytesIO()
    pq.write_table(predictions.cast(with_metadata(SCHEMAS["predictions"], "predictions", new.config)), buffer)
    write_bytes(new.path("predictions", "part-0.parquet"), buffer.getvalue())


def summarise(new: Run, started: float, note: str = "", there_before: int = 0) -> Summary:
    """Count the statuses, and tell how the probabilities fall."""
    predictions = read_table(new.location, "predictions", ["status", "probability"])
    scored = predictions.filter(pc.equal(predictions.column("status"), Status.OK)).column("probability").to_numpy()
    summary = Summary(
        job="predict",
        table=new.path("submission.csv"),
        there_before=there_before,
        seconds=elapsed(started),
        notes=[note] if note else [],
        details={"scored FAKE (0.5 or more)": int((scored >= 0.5).sum()), "scored REAL": int((scored < 0.5).sum())},
    )
    reasons = read_table(new.location, "scores", ["status", "error"])
    return count_statuses(summary, reasons)
