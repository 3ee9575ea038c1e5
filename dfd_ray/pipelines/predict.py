"""predict: from a folder of new videos to their probabilities.

    videos ──▶ as in preprocess ──▶ ScoreFaces (actors) ──▶ scores/ ──aggregate, calibrate──▶ predictions/, submission.csv

The frames, crops and classifiers are those of the run that trained. As many frames of a video are taken as were judged there,
since each classifier is calibrated for those. The job stores no crops, only their scores.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from dfd_ray.config import Config
from dfd_ray.corpus.labelled import describe_learnt, find_learnt, read_labelled
from dfd_ray.corpus.manifest import list_new_videos, write_manifest
from dfd_ray.errors import RunError, Status
from dfd_ray.models.grad_cam import check_grad_cam
from dfd_ray.pipelines.evaluate import list_scores
from dfd_ray.report.explanations import explain_videos, read_explained
from dfd_ray.report.heat_maps import HEAT_MAP_PAGE, write_heat_map_page
from dfd_ray.runtime.resumable_table import fill_table, is_complete, read_rows, write_rows
from dfd_ray.runtime.session import ray_session
from dfd_ray.runtime.terminal import say
from dfd_ray.stages.detect import find_faces_of
from dfd_ray.stages.extract import LISTED
from dfd_ray.stages.score import score_faces_of
from dfd_ray.store.model_files import check_models, digest_models, list_trained_folds
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.sources import compare_videos, digest_source, digest_sources
from dfd_ray.store.storage import absolute_uri, delete_file, exists, read_json, write_bytes, write_json
from dfd_ray.store.summary import NOTHING_DONE, Summary, count_statuses, describe_cut_short, time_job
from dfd_ray.store.tables import (
    check_compatible,
    count_rows,
    read_metadata,
    read_promises,
    read_table,
    with_metadata,
    write_file,
)
from dfd_ray.verdict.predictions import Judgement, measure_new, predict_new
from dfd_ray.verdict.video_probability import count_judged_frames, refuse_not_finite

CALIBRATION = ("evaluation", "calibration.json")
ANEW = "delete {run.location}/predictions and run `dfd-ray evaluate`, which writes it anew"


@time_job
def predict(run: Run, videos: str, out: str) -> Summary:
    """Write `<out>/predictions/` and `<out>/submission.csv`: a line for every video in `videos`, broken ones included.

    The classifiers are those of `run`. Raises RunError when it has none, CorpusError for a folder without a video.
    """
    new = Run(out, run.config)
    models = digest_models(run)
    if run.config.predict.explain:
        check_grad_cam()
    left_out = index_new(new, absolute_uri(videos))
    refuse_other_scores(run, out, models)
    there_before = count_rows(out, "scores")
    if not is_complete(new, "scores"):
        check_models(run)
        score_new(run, new, models)
    facts, folds = read_calibration(run), list_trained_folds(run)
    scores = read_table(out, "scores").sort_by("video_id")
    refuse_not_finite(scores, new.path("scores"))
    try:
        predictions, remarks = predict_new(scores, facts, run.config, folds)
    except ValueError as error:
        raise RunError(
            f"{run.path(*CALIBRATION)} does not fit the models of the run: {error}; {ANEW.format(run=run)}"
        ) from None
    if run.config.predict.explain:
        say(f"explanations: {explain_new(run, new, predictions)}")
    predictions, metrics, notes = score_labelled_videos(run, absolute_uri(videos), predictions)
    notes = [*remarks, *left_out, *notes]
    # Computed again each time, since it takes no network and the run may be calibrated by now. The same rows are no work.
    if count_rows(out, "predictions") and exists(new.path("submission.csv")):
        check_compatible(new, "predictions")
        if read_table(out, "predictions").equals(predictions.cast(SCHEMAS["predictions"])):
            return summarise(new, len(folds), 0, [NOTHING_DONE, *notes], metrics)
    write_predictions(new, predictions, metrics)
    return summarise(new, len(folds), there_before, notes, metrics)


def score_labelled_videos(run: Run, videos: str, predictions: pa.Table) -> tuple[pa.Table, dict[str, object] | None, list[str]]:
    """Return the predictions with the labels that the folder gives, their scores, None without labels, and notes.

    Labels are read at the end alone, so nothing that is done with a video depends on them. Videos that the run has learnt from
    are given none.
    """
    labelled, notes = read_labelled(videos)
    if labelled is None:
        return predictions, None, notes
    video_ids = predictions.column("video_id").to_pylist()
    learnt = find_learnt(run, videos, labelled)
    judged = labelled.leave_out(set(learnt))
    notes += [f"labels are those of {labelled.layout}", *describe_learnt(learnt, labelled, judged)]
    labels = pa.array([judged.label.get(one) for one in video_ids], pa.string())
    predictions = predictions.set_column(predictions.column_names.index("label"), "label", labels)
    if labels.null_count == len(labels):
        return predictions, None, notes
    metrics = measure_new(run.config, predictions, judged)
    return predictions, metrics, [*notes, *cast(list[str], metrics["remarks"])]


def index_new(new: Run, videos: str) -> list[str]:
    """Write the manifest of new videos and return notes on the files that are left out.

    Raises RunError if there is a manifest of another folder or of other files.
    """
    manifest, notes = list_new_videos(videos)
    if count_rows(new.location, "manifest"):
        indexed = read_metadata(new.location, "manifest").get("corpus")
        if indexed != videos:
            raise RunError(f"--out {new.location} holds predictions of {indexed}; use another --out")
        then = read_table(new.location, "manifest", ["video_id", "bytes"])
        if change := compare_videos(then, manifest, "bytes"):
            raise RunError(f"{videos} holds other files than when --out {new.location} was begun: {change}; use another --out")
        check_compatible(new, "manifest")
        return notes
    write_manifest(new.location, manifest.cast(with_metadata(SCHEMAS["manifest"], "manifest", new.config, corpus=videos)))
    return notes


def refuse_other_scores(run: Run, out: str, models: str) -> None:
    """Raise RunError if `out` holds scores of other classifiers, or of another number of frames than is judged now."""
    stored = read_metadata(out, "scores")
    if not stored:
        return
    if (known := stored.get("models", models)) != models:
        raise RunError(f"--out {out} was scored by classifiers {known}, and {run.location} has {models} now; use another --out")
    # An older version took `frames_unlabelled` frames, and kept only the mean of the classifiers.
    if (frames := stored.get("frames")) != count_judged_frames(run.config):
        said = "by an older version" if frames is None else f"over {frames} frames of a video"
        raise RunError(f"--out {out} was scored {said}, not over {count_judged_frames(run.config)} frames; use another --out")


def score_new(run: Run, new: Run, models: str) -> None:
    """Write `scores/` in one pass over the videos; `models` says in its metadata which classifiers scored them."""
    at_once = run.config.resources.videos_per_task
    with fill_table("predict", new, "scores") as counter:
        videos = read_rows(new, "manifest", LISTED, at_once)
        faces = find_faces_of(videos, take_judged_frames(run.config), counter, pools=2)
        facts = {"models": models, "frames": count_judged_frames(run.config)}
        scores = score_faces_of(faces, run, at_once, pools=2)
        write_rows(scores, new, "scores", SCHEMAS["scores"], digest_sources(new, "scores") | {"models": models}, **facts)


def take_judged_frames(config: Config) -> Config:
    """Return the configuration that samples of a new video, which has no label, the frames that `evaluate` would judge.

    The three numbers of frames only change places, so the combs are those of the faces that the classifiers learnt from.
    """
    settings = config.preprocess
    numbers = sorted([settings.frames_real, settings.frames_fake, settings.frames_unlabelled])
    judged = dict(zip(("frames_unlabelled", "frames_fake", "frames_real"), numbers, strict=True))
    return config.model_copy(update={"preprocess": settings.model_copy(update=judged)})


def read_calibration(run: Run) -> Judgement | None:
    """Return how the run's evaluation judges new videos, None before it was evaluated.

    Raises RunError where the file is not what `evaluate` writes, is of other classifiers, or is for another aggregation or
    number of frames than the configuration asks for.
    """
    location = run.path(*CALIBRATION)
    if not exists(location):
        return None
    models = digest_source(run, "models")
    if any(one.get("made_from", {}).get("models", models) != models for one in read_promises(run.location, "predictions")):
        raise RunError(
            f"{location} is of other classifiers than {run.path('models')} holds now; "
            f"delete {run.path('predictions')} and {run.path('scores')} and run `dfd-ray evaluate` again"
        )
    try:
        facts = Judgement.from_dict(read_json(location))
    except ValueError as error:
        said = "it is not JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else error
        raise RunError(f"{location} cannot be used: {said}; {ANEW.format(run=run)}") from None
    asked = run.config.evaluate.aggregation
    if asked not in ("auto", facts.aggregation):
        raise RunError(
            f"evaluate.aggregation = {asked}, but the calibration in {location} is for "
            f"{facts.aggregation}; use that, or delete {run.path('predictions')} and run `dfd-ray evaluate` with the other"
        )
    if facts.frames not in (None, frames := count_judged_frames(run.config)):
        raise RunError(
            f"preprocess asks to judge {frames} frames of a video, but the calibration in {location} is for {facts.frames}; "
            "leave out --config and --set: the run's own configuration fits its models"
        )
    return facts


def explain_new(run: Run, new: Run, predictions: pa.Table) -> str:
    """Write `explanations.html` of the `predict.explain` videos most likely FAKE, and return its location.

    Reads only these videos again, and finds their faces again: `scores/` has no crops. Does nothing when they are explained
    already.
    """
    scored = predictions.filter(pc.equal(predictions.column("status"), Status.OK)).sort_by([("probability", "descending")])
    chosen = scored.slice(0, run.config.predict.explain)
    probability = dict(zip(chosen.column("video_id").to_pylist(), chosen.column("probability").to_pylist(), strict=True))
    if exists(new.path(HEAT_MAP_PAGE)) and read_explained(new.location) == probability:
        return new.path(HEAT_MAP_PAGE)
    videos = read_table(new.location, "manifest", LISTED)
    wanted = videos.filter(pc.is_in(videos.column("video_id"), chosen.column("video_id").combine_chunks()))
    rows = []
    if len(wanted):
        with ray_session(new):
            rows = find_faces_of(ray.data.from_arrow(wanted), take_judged_frames(run.config)).take_all()
    rows.sort(key=lambda row: -probability[row["video_id"]])
    return write_heat_map_page(new.location, explain_videos(run, new.location, rows, probability))


def write_predictions(new: Run, predictions: pa.Table, metrics: dict[str, object] | None) -> None:
    """Write Kaggle's `submission.csv` and the scores, if any, and last the table, whose presence says that these are there."""
    delete_file(new.path("evaluation", "metrics.json"))
    if metrics:
        write_json(new.path("evaluation", "metrics.json"), metrics)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["filename", "label"])
    for name, value in zip(*(predictions.column(c).to_pylist() for c in ("video_id", "probability")), strict=True):
        rows.writerow([name, f"{value:.6f}"])
    write_bytes(new.path("submission.csv"), text.getvalue().encode())
    made_from = digest_sources(new, "predictions")
    schema = with_metadata(SCHEMAS["predictions"], "predictions", new.config, made_from=made_from)
    write_file(new.path("predictions", "part-0.parquet"), predictions.cast(schema))


def summarise(new: Run, models: int, there_before: int, notes: list[str], metrics: Mapping[str, Any] | None = None) -> Summary:
    """Count the rows by status, and how many videos with a face are scored FAKE and REAL; print the scores, if any."""
    predictions = read_table(new.location, "predictions", ["status", "probability"])
    scored = predictions.filter(pc.equal(predictions.column("status"), Status.OK)).column("probability").to_numpy()
    scores = read_table(new.location, "scores", ["video_id", "status", "error", "frames_wanted", "frames_decoded"])
    return Summary(
        job="predict",
        table=new.path("submission.csv"),
        there_before=there_before,
        **count_statuses(scores),
        notes=[*notes, *describe_cut_short(scores)],
        details={
            "models": models,
            "frames of a video": f"{count_judged_frames(new.config)} at most",
            "scored FAKE (0.5 or more)": int((scored >= 0.5).sum()),
            "scored REAL": int((scored < 0.5).sum()),
            **(list_scores(metrics) if metrics else {}),
        },
    )
