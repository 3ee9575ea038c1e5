"""Explanations, on request: where the classifiers look, on faces of new videos most likely FAKE, or of the largest errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from dfd_ray.errors import Status
from dfd_ray.faces.crop import decode_jpeg, encode_jpeg
from dfd_ray.models.grad_cam import explain_face, paint_heat
from dfd_ray.report.data import read_object
from dfd_ray.report.heat_maps import HEAT_MAP_PAGE, ExplainedVideo, write_heat_map_page, write_heat_maps
from dfd_ray.report.scores import sort_by_error
from dfd_ray.runtime.session import ray_session
from dfd_ray.stages.detect import find_faces_of
from dfd_ray.store.model_files import read_model, trained_folds
from dfd_ray.store.run import Run
from dfd_ray.store.storage import absolute_uri, exists, join
from dfd_ray.store.tables import iterate_batches, read_table, table_files
from dfd_ray.video import choose_frames

FACES = 3
"""Faces shown of a video, of frames evenly spaced."""
NAMES_AT_ONCE, VIDEOS_AT_ONCE = 4096, 8
"""Rows read at once, without and with their faces."""


def explain(run: Run, out: str, predictions: pa.Table) -> str:
    """Write `<out>/explanations.html` of the `predict.explain` videos most likely FAKE, and return its location.

    Only these are read again, and their faces found again: a run of any size keeps no crops of new videos. Nothing is done
    when they are explained already.
    """
    scored = predictions.filter(pc.equal(predictions.column("status"), Status.OK)).sort_by([("probability", "descending")])
    chosen = scored.slice(0, run.config.predict.explain)
    probability = dict(zip(chosen.column("video_id").to_pylist(), chosen.column("probability").to_pylist(), strict=True))
    page = join(absolute_uri(out), HEAT_MAP_PAGE)
    if exists(page) and explained(out) == probability:
        return page
    manifest = read_table(out, "manifest", ["video_id", "uri", "label", "group", "fold"])
    wanted = manifest.filter(pc.is_in(manifest.column("video_id"), chosen.column("video_id").combine_chunks()))
    found: list[dict[str, Any]] = []
    if len(wanted):
        with ray_session(run):
            found = find_faces_of(ray.data.from_arrow(wanted), run.config).take_all()
    models = [read_model(run, fold)[:2] for fold in trained_folds(run)]
    found.sort(key=lambda row: -probability[row["video_id"]])
    explanations = [explain_video(row, probability[row["video_id"]], models) for row in found]
    write_heat_maps(out, explanations)
    return write_heat_map_page(out, explanations)


def explain_errors(run: Run) -> None:
    """Write `<run>/explanations.json` of the `evaluate.explain` videos that `predictions/` is most wrong about.

    Each is explained by the classifier that scored it. Only the files of `faces/` that hold these videos are read, and none
    when these videos are explained already.
    """
    if not run.config.evaluate.explain:
        return
    predictions = read_table(run.location, "predictions")
    scored = predictions.filter(pc.equal(predictions.column("status"), Status.OK))
    chosen = sort_by_error(scored, run.config.evaluate.explain).select(["video_id", "probability", "fold"]).to_pylist()
    if explained(run.location) == {row["video_id"]: row["probability"] for row in chosen}:
        return
    wanted = pa.array([row["video_id"] for row in chosen], pa.string())
    faces: dict[str, dict[str, Any]] = {}
    for file in table_files(run.location, "faces"):
        found = iterate_batches(run.location, "faces", ["video_id"], NAMES_AT_ONCE, [file])
        if any(pc.any(pc.is_in(batch.column("video_id"), wanted)).as_py() for batch in found):
            for batch in iterate_batches(run.location, "faces", ["video_id", "faces"], VIDEOS_AT_ONCE, [file]):
                rows = batch.filter(pc.is_in(batch.column("video_id"), wanted)).to_pylist()
                faces |= {row["video_id"]: row for row in rows}
    models = {fold: read_model(run, fold)[:2] for fold in trained_folds(run)}
    explanations = []
    for row in chosen:
        own = [models[row["fold"]]] if row["fold"] in models else list(models.values())
        explanations.append(explain_video(faces[row["video_id"]], row["probability"], own))
    write_heat_maps(run.location, explanations)


def explained(folder: str) -> dict[str, Any]:
    """Return the probability of each video that is explained in a folder, by its id."""
    found = (read_object(folder, "explanations.json", []) or {}).get("explanations") or []
    named = (one for one in found if isinstance(one, dict) and isinstance(one.get("video_id"), str))
    return {one["video_id"]: one.get("probability") for one in named}


def explain_video(row: dict[str, Any], probability: float, models: list[Any]) -> ExplainedVideo:
    """Return the most probable face of some frames of a video, a row of `faces/`, each plain and with its heat."""
    first = [face for face in row["faces"] if face["face_index"] == 0]
    faces = [first[i] for i in choose_frames(np.arange(len(first)), FACES)]
    pictures = [explain_picture(decode_jpeg(face["image"]), models) for face in faces]
    return ExplainedVideo(row["video_id"], probability, [face["frame_index"] for face in faces], pictures)


def explain_picture(face: npt.NDArray[np.uint8], models: list[Any]) -> tuple[bytes, bytes]:
    """Return a face, and the same with the mean of the models' heat laid over it, as JPEG."""
    heat = np.mean([explain_face(module, spec, face) for module, spec in models], axis=0)
    return encode_jpeg(face), encode_jpeg(paint_heat(face, heat))
