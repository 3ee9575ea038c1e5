"""Pictures of what training does to faces, for the report: each augmentation by itself, self-blended and mixed faces."""

from __future__ import annotations

import base64
from typing import TypedDict

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.arrays import Float32Array, Image
from dfd_ray.faces.crop import decode_jpeg, encode_jpeg
from dfd_ray.labels import LABELS
from dfd_ray.models.augment import show_steps
from dfd_ray.models.blending import self_blend
from dfd_ray.models.mixing import mix_faces
from dfd_ray.store.face_rows import flatten_labelled, locate_landmarks
from dfd_ray.store.run import Run
from dfd_ray.store.storage import write_json
from dfd_ray.store.tables import iterate_batches

PIXELS = 120
DRAWS = 4
"""Pictures of each augmentation."""
PAIRS = 4
"""Pairs of a REAL and a FAKE face from which self-blended and mixed faces are made."""


class Example(TypedDict):
    """Pictures of one thing that training does, as `models/examples.json` holds them."""

    kind: str
    name: str
    pictures: list[str]
    """Small JPEGs in base64."""


def write_examples(run: Run) -> None:
    """Write `models/examples.json`: what the configuration's training does to the run's own faces."""
    settings = run.config.train
    faces = {label: pick_faces(run, label) for label in LABELS}
    random = np.random.default_rng(settings.seed)
    found: list[Example] = []
    for face, _ in faces["REAL"][:1]:
        if settings.augmentation != "none":
            shown = show_steps(face, settings.augmentation, PIXELS, DRAWS)
            found += [draw_example("augmentation", name, [face, *pictures]) for name, pictures in shown]
    if settings.self_blending:
        for face, landmarks in faces["REAL"]:
            blended = self_blend(face, landmarks, random)
            if blended is not None:
                found.append(draw_example("self-blended", "", [face, blended, draw_difference(face, blended)]))
    if settings.mixup:
        for (fake, its), (real, others) in zip(faces["FAKE"], faces["REAL"], strict=False):
            mixed = mix_faces(fake, its, real, others, random)
            if mixed is not None:
                found.append(draw_example("mixed", f"{mixed[1]:.0%} FAKE", [fake, real, mixed[0]]))
    write_json(run.path("models", "examples.json"), {"augmentation": settings.augmentation, "examples": found})


def pick_faces(run: Run, label: str) -> list[tuple[Image, Float32Array]]:
    """Return the first face of some videos of a class, each with its landmarks."""
    found: list[tuple[Image, Float32Array]] = []
    columns = ["video_id", "label", "width", "height", "faces"]
    for videos in iterate_batches(run.location, "faces", columns, 8):
        own = videos.filter(pc.equal(videos.column("label"), label))
        faces = flatten_labelled(own)
        first = np.unique(faces.column("video_id").to_numpy(zero_copy_only=False), return_index=True)[1]
        faces = faces.take(pa.array(first))
        images = [decode_jpeg(image) for image in faces.column("image").to_pylist()]
        found += zip(images, locate_landmarks(faces, run.config.preprocess), strict=True)
        if len(found) >= PAIRS:
            break
    return found[:PAIRS]


def draw_difference(first: Image, second: Image) -> Image:
    """Return the difference of two pictures, amplified four times; grey where they are equal."""
    return np.asarray(np.clip(128 + 4 * (second.astype(np.int16) - first), 0, 255), np.uint8)


def draw_example(kind: str, name: str, pictures: list[Image]) -> Example:
    """Return pictures as they are stored, with what they show."""
    small = [cv2.resize(picture, (PIXELS, PIXELS), interpolation=cv2.INTER_AREA) for picture in pictures]
    return {"kind": kind, "name": name, "pictures": [base64.b64encode(encode_jpeg(image)).decode() for image in small]}
