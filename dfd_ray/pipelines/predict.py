"""predict: from a folder of new videos to their probabilities.

    videos ──▶ as in preprocess ──▶ ScoreFaces (actors) ──▶ scores/ ──▶ predictions/, submission.csv

The frames, crops and classifiers are those of the run that trained; nothing but the scores is written in between.
"""

from __future__ import annotations

import csv
import io
import posixpath
import time
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfd_ray.config import Config
from dfd_ray.corpus.listing import METADATA, check_folder, list_videos
from dfd_ray.errors import CorpusError, RunError, Status
from dfd_ray.models.grad_cam import check_grad_cam
from dfd_ray.pipelines.explain import explain
from dfd_ray.pipelines.index import write_manifest
from dfd_ray.runtime.progress import show_progress
from dfd_ray.runtime.resumable_table import check_whole, is_complete, read_rows, resumable, write_rows
from dfd_ray.runtime.session import check_placeable, ray_session, run_as_actors, torch_device
from dfd_ray.runtime.terminal import say
from dfd_ray.stages.detect import find_faces_of
from dfd_ray.stages.score import ScoreFaces
from dfd_ray.store.model_files import check_models, models_digest
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.storage import absolute_uri, exists, join, read_json, write_bytes
from dfd_ray.store.summary import NOTHING_DONE, Summary, count_statuses, elapsed
from dfd_ray.store.tables import check_compatible, count_rows, read_metadata, read_table, with_metadata
from dfd_ray.verdict.calibration import Calibration
from dfd_ray.verdict.video_probability import aggregate_videos, face_log_odds, methods_of


def predict(config: Config, videos: str, out: str) -> Summary:
    """Write `<out>/predictions/` and `<out>/submission.csv`: a line for every file in `videos`, broken ones included.

    `config.run` is the run whose classifiers score. Raises RunError when it has none, CorpusError for an empty folder.
    """
    started = time.monotonic()
    run = cast(str, config.run)
    models = models_digest(run)
    if config.predict.explain:
        check_grad_cam()
    index_new(config, absolute_uri(videos), out)
    if (known := read_metadata(out, "scores").get("models", models)) != models:
        raise RunError(f"--out {out} was scored by classifiers {known}, and {run} has {models} now; use another --out")
    there_before = count_rows(out, "scores")
    if not is_complete(out, "scores", config):
        check_models(config)
        score_new(config, out, models)
    predictions, note = predictions_of(config, read_table(out, "scores").sort_by("video_id"))
    if config.predict.explain:
        say(f"explanations: {explain(config, out, predictions)}")
    # Made anew each time, since it takes no network and may be calibrated by now; the same again is no work.
    if count_rows(out, "predictions") and exists(join(out, "submission.csv")):
        check_compatible(out, "predictions", config)
        if read_table(out, "predictions").equals(predictions.cast(SCHEMAS["predictions"])):
            return summarise(out, started, note=NOTHING_DONE)
    write_predictions(config, out, predictions)
    return summarise(out, started, note, there_before)


def index_new(config: Config, videos: str, out: str) -> None:
    """Write the manifest of a folder: every file in it but the hidden ones and a `metadata.json`."""
    check_folder(videos, "--videos")
    entries = [entry for entry in list_videos(videos, suffixes=("",)) if posixpath.basename(entry.video_id) != METADATA]
    if not entries:
        raise CorpusError(f"--videos {videos}: the folder is empty")
    entries.sort(key=lambda entry: entry.video_id)
    if count_rows(out, "manifest"):
        indexed = read_metadata(out, "manifest").get("corpus")
        if indexed != videos:
            raise RunError(f"--out {out} holds predictions of {indexed}; use another --out")
        if read_table(out, "manifest", ["video_id"]).column("video_id").to_pylist() != [entry.video_id for entry in entries]:
            raise RunError(f"{videos} holds other files than when --out {out} was begun; use another --out")
        check_compatible(out, "manifest", config)
        return
    rows = [
        {"video_id": entry.video_id, "uri": join(videos, entry.video_id), "part": entry.part, "bytes": entry.bytes}
        for entry in entries
    ]
    schema = with_metadata(SCHEMAS["manifest"], "manifest", config, corpus=videos)
    write_manifest(out, pa.Table.from_pylist(rows, schema=schema))


def score_new(config: Config, out: str, models: str) -> None:
    """Write `<out>/scores/` in one pass over the videos; `models` says in its metadata which classifiers scored."""
    run, resources = cast(str, config.run), config.resources
    with ray_session(config), resumable(out, "scores"), show_progress("predict", out, "scores") as counter:
        check_placeable("score", resources.score)
        rows = read_rows(out, "manifest", ["video_id", "uri", "label", "group", "fold"], resources.videos_per_task)
        rows = find_faces_of(rows, config, counter, pools=2)
        rows = rows.map_batches(
            ScoreFaces,
            fn_constructor_args=(run, torch_device(resources.score), config.embed.batch_size),
            batch_format="pyarrow",
            batch_size=resources.videos_per_task,
            **run_as_actors(resources.score, pools=2),
        )
        write_rows(
            rows, out, "scores", with_metadata(SCHEMAS["scores"], "scores", config, models=models), resources.videos_per_file
        )
        check_whole(out, "scores")


def predictions_of(config: Config, scores: pa.Table) -> tuple[pa.Table, str]:
    """Return the rows of `predictions/` for rows of `scores/`, and a remark if one is due."""
    run = cast(str, config.run)
    location = join(run, "evaluation", "calibration.json")
    facts: dict[str, Any] = read_json(location) if exists(location) else {}
    asked = config.evaluate.aggregation
    if facts and asked not in ("auto", facts["aggregation"]):
        raise RunError(
            f"evaluate.aggregation = {asked}, but the calibration in {location} is for "
            f"{facts['aggregation']}; use that, or delete {join(run, 'predictions')} and run `dfd-ray evaluate` with the other"
        )
    method = facts["aggregation"] if facts else methods_of(config.evaluate)[0]
    faces = face_log_odds(scores)
    raw = aggregate_videos(scores, faces, method, config.preprocess.frames_unlabelled)
    note, probability = "", raw
    if not facts:
        note = "not calibrated: run `dfd-ray evaluate` on the training run first"
    elif not facts.get("calibration"):
        note = "not calibrated, as evaluate.calibrate says; predict.prior has no effect"
    else:
        calibration = Calibration.from_dict(facts["calibration"])
        if config.predict.prior is not None:
            calibration = calibration.with_prior(config.predict.prior)
        probability = calibration.apply(raw)
    probability = np.clip(probability, config.evaluate.clip, 1 - config.evaluate.clip)
    probability = np.where(np.isfinite(raw), probability, config.predict.fallback_probability)
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


def write_predictions(config: Config, out: str, predictions: pa.Table) -> None:
    """Write Kaggle's `submission.csv`, and last the table, whose presence says that the other is there."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["filename", "label"])
    for name, value in zip(*(predictions.column(c).to_pylist() for c in ("video_id", "probability")), strict=True):
        rows.writerow([name, f"{value:.6f}"])
    write_bytes(join(out, "submission.csv"), text.getvalue().encode())
    buffer = io.BytesIO()
    pq.write_table(predictions.cast(with_metadata(SCHEMAS["predictions"], "predictions", config)), buffer)
    write_bytes(join(out, "predictions", "part-0.parquet"), buffer.getvalue())


def summarise(out: str, started: float, note: str = "", there_before: int = 0) -> Summary:
    """Count the statuses, and tell how the probabilities fall."""
    predictions = read_table(out, "predictions", ["status", "probability"])
    scored = predictions.filter(pc.equal(predictions.column("status"), Status.OK)).column("probability").to_numpy()
    summary = Summary(
        job="predict",
        table=absolute_uri(join(out, "submission.csv")),
        there_before=there_before,
        seconds=elapsed(started),
        notes=[note] if note else [],
        details={"scored FAKE (0.5 or more)": int((scored >= 0.5).sum()), "scored REAL": int((scored < 0.5).sum())},
    )
    reasons = read_table(out, "scores", ["status", "error"])
    return count_statuses(summary, reasons)
