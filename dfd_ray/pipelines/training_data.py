"""The faces that training sees: Ray Data from `faces/` to the workers. It loads no network library."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import ray.data
from ray.data import Dataset, RandomSeedConfig
from ray.data.expressions import col

from dfd_ray.config import Config
from dfd_ray.faces.crop import decode_jpeg
from dfd_ray.models.augment import training_augmentation
from dfd_ray.pipelines.cluster import tasks
from dfd_ray.storage import open_location
from dfd_ray.tables import flatten_faces, table_files

AUGMENT_AT_ONCE = 32
"""Faces an augmentation task takes."""


def training_faces(config: Config, held_out: int, size: int) -> Dataset:
    """Return the faces of the other folds, in a new order every epoch, decoded and augmented to `size` pixels."""
    run = cast(str, config.run)
    videos = ray.data.read_parquet(
        table_files(run, "faces"), filesystem=open_location(run)[0], columns=["label", "fold", "faces"]
    )
    videos = videos.filter(expr=(col("fold") != held_out) & col("label").is_not_null())
    faces = videos.map_batches(face_rows, batch_format="pyarrow")
    faces = faces.random_shuffle(seed=RandomSeedConfig(seed=config.train.seed, reseed_after_execution=True))
    return faces.map_batches(
        augment,
        fn_kwargs={"size": size, "recipe": config.train.augmentation},
        batch_format="pyarrow",
        batch_size=AUGMENT_AT_ONCE,
        **tasks(config.resources.extract),
    )


def face_rows(videos: pa.Table) -> pa.Table:
    """Flatten labelled videos into faces: `image` (JPEG), `label` (0 REAL, 1 FAKE)."""
    faces = flatten_faces(videos, ["label"])
    label = pc.equal(faces.column("label"), "FAKE").cast(pa.int64())
    return pa.table({"image": faces.column("image"), "label": label})


def augment(faces: pa.Table, size: int, recipe: Literal["none", "report"]) -> dict[str, npt.NDArray[Any]]:
    """Decode and augment faces: `image` (n, size, size, 3) uint8, `label` (n,) int64."""
    transform = training_augmentation(size, recipe)
    images = [transform(decode_jpeg(image)) for image in faces.column("image").to_pylist()]
    return {"image": np.stack(images), "label": faces.column("label").to_numpy()}
