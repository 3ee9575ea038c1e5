"""Where the classifiers look, on faces of the videos with the largest errors or of new ones, by Grad-CAM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import nn

from dfd_ray.arrays import Image
from dfd_ray.errors import Status
from dfd_ray.faces.crop import decode_jpeg, encode_jpeg
from dfd_ray.models.backbones import InputSpec
from dfd_ray.models.grad_cam import explain_face, paint_heat
from dfd_ray.report.data import read_object
from dfd_ray.report.heat_maps import ExplainedVideo, write_heat_maps
from dfd_ray.report.scores import sort_by_error
from dfd_ray.store.model_files import list_trained_folds, read_model
from dfd_ray.store.run import Run
from dfd_ray.store.tables import iterate_batches, read_table, table_files
from dfd_ray.video import choose_frames

FACES = 3
"""Faces shown of a video, of frames evenly spaced."""
NAMES_AT_ONCE, VIDEOS_AT_ONCE = 4096, 8
"""Rows read at once, without and with their faces."""

Classifier = tuple[nn.Module, InputSpec]


class FoundFace(TypedDict):
    """What is used of a face in a row of `faces/`."""

    frame_index: int
    face_index: int
    image: bytes


class FoundFaces(TypedDict):
    """What is used of a row of `faces/`."""

    video_id: str
    faces: list[FoundFace]


def explain_errors(run: Run) -> None:
    """Write `explanations.json` of the `evaluate.explain` videos that `predictions/` is most wrong about.

    The classifier that scored a video explains it. Reads only the files of `faces/` that hold these videos, and none when they
    are explained already.
    """
    if not run.config.evaluate.explain:
        return
    predictions = read_table(run.location, "predictions")
    scored = predictions.filter(pc.equal(predictions.column("status"), Status.OK))
    chosen = sort_by_error(scored, run.config.evaluate.explain).select(["video_id", "probability", "fold"]).to_pylist()
    probability = {row["video_id"]: row["probability"] for row in chosen}
    if read_explained(run.location) != probability:
        faces = find_rows(run, pa.array([row["video_id"] for row in chosen], pa.string()))
        rows = [faces[row["video_id"]] for row in chosen]
        explain_videos(run, run.location, rows, probability, {row["video_id"]: row["fold"] for row in chosen})


def find_rows(run: Run, wanted: pa.Array) -> dict[str, FoundFaces]:
    """Return the rows of `faces/` of some videos, by `video_id`."""
    found: dict[str, FoundFaces] = {}
    for file in table_files(run.location, "faces"):
        names = iterate_batches(run.location, "faces", ["video_id"], NAMES_AT_ONCE, [file])
        if any(pc.any(pc.is_in(batch.column("video_id"), wanted)).as_py() for batch in names):
            for batch in iterate_batches(run.location, "faces", ["video_id", "faces"], VIDEOS_AT_ONCE, [file]):
                rows = batch.filter(pc.is_in(batch.column("video_id"), wanted)).to_pylist()
                found |= {row["video_id"]: row for row in rows}
    return found


def read_explained(folder: str) -> dict[str, float | None]:
    """Return the probability of each video that is explained in a folder, by its id."""
    found = (read_object(folder, "explanations.json", []) or {}).get("explanations") or []
    named = (one for one in found if isinstance(one, dict) and isinstance(one.get("video_id"), str))
    return {one["video_id"]: one.get("probability") for one in named}


def explain_videos(
    run: Run,
    folder: str,
    rows: Sequence[FoundFaces],
    probability: Mapping[str, float],
    folds: Mapping[str, int | None] | None = None,
) -> list[ExplainedVideo]:
    """Explain rows of `faces/` by the run's classifiers; write `<folder>/explanations.json` and return the explanations.

    The classifier that never saw a video's fold explains it; all do where it has none.
    """
    models = {fold: read_model(run, fold)[:2] for fold in list_trained_folds(run)}
    explanations = []
    for row in rows:
        fold = folds[row["video_id"]] if folds else None
        own = [models[fold]] if fold in models else list(models.values())
        explanations.append(explain_video(row, probability[row["video_id"]], own))
    write_heat_maps(folder, explanations)
    return explanations


def explain_video(row: FoundFaces, probability: float, models: list[Classifier]) -> ExplainedVideo:
    """Return the most probable face of some frames of a video, each plain and with its heat."""
    first = [face for face in row["faces"] if face["face_index"] == 0]
    faces = [first[i] for i in choose_frames(np.arange(len(first)), FACES)]
    pictures = [explain_picture(decode_jpeg(face["image"]), models) for face in faces]
    return ExplainedVideo(row["video_id"], probability, [face["frame_index"] for face in faces], pictures)


def explain_picture(face: Image, models: list[Classifier]) -> tuple[bytes, bytes]:
    """Return a face, and the same face with the mean of the models' heat painted over it, as JPEG."""
    heat = np.mean([explain_face(module, spec, face) for module, spec in models], axis=0)
    return encode_jpeg(face), encode_jpeg(paint_heat(face, heat))
