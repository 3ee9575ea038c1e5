"""Explanations of predictions, on request: where the classifiers look, on faces of the videos most likely FAKE."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from dfd_ray.config import Config
from dfd_ray.errors import Status
from dfd_ray.faces.crop import decode_jpeg, encode_jpeg
from dfd_ray.models.explain import explain_face, paint_heat
from dfd_ray.pipelines.cluster import ray_session
from dfd_ray.pipelines.model_store import read_model, trained_folds
from dfd_ray.pipelines.preprocess import find_faces_of
from dfd_ray.report.explanations import Explanation, write_explanations
from dfd_ray.tables import read_table
from dfd_ray.video import choose_frames

FACES = 3
"""Faces shown of a video, evenly spaced."""


def explain(config: Config, out: str, predictions: pa.Table) -> str:
    """Write `<out>/explanations.html` of the `predict.explain` videos most likely FAKE, and return its location.

    Only these are read again, and their faces found again: a run of any size keeps no crops of new videos.
    """
    scored = predictions.filter(pc.equal(predictions.column("status"), Status.OK)).sort_by([("probability", "descending")])
    chosen = scored.slice(0, config.predict.explain)
    probability = dict(zip(chosen.column("video_id").to_pylist(), chosen.column("probability").to_pylist(), strict=True))
    manifest = read_table(out, "manifest", ["video_id", "uri", "label", "group", "fold"])
    wanted = manifest.filter(pc.is_in(manifest.column("video_id"), chosen.column("video_id").combine_chunks()))
    found: list[dict[str, Any]] = []
    if len(wanted):
        with ray_session(config):
            found = find_faces_of(ray.data.from_arrow(wanted), config, None).take_all()
    models = [read_model(cast(str, config.run), fold)[:2] for fold in trained_folds(cast(str, config.run))]
    explanations = []
    for row in sorted(found, key=lambda row: -probability[row["video_id"]]):
        faces = [row["faces"][i] for i in choose_frames(np.arange(len(row["faces"])), FACES)]
        pictures = [explain_picture(decode_jpeg(face["image"]), models) for face in faces]
        numbers = [face["frame_index"] for face in faces]
        explanations.append(Explanation(row["video_id"], probability[row["video_id"]], numbers, pictures))
    return write_explanations(out, explanations)


def explain_picture(face: npt.NDArray[np.uint8], models: list[Any]) -> tuple[bytes, bytes]:
    """Return a face, and the same with the mean of the models' heat laid over it, as JPEG."""
    heat = np.mean([explain_face(module, spec, face) for module, spec in models], axis=0)
    return encode_jpeg(face), encode_jpeg(paint_heat(face, heat))
