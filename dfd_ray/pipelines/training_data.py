"""The faces that training sees: Ray Data from `faces/` to the workers. It loads no network library."""

from __future__ import annotations

import zlib
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import ray.data
from ray.data import Dataset, RandomSeedConfig
from ray.data.expressions import col

from dfd_ray.config import Config
from dfd_ray.faces.crop import decode_jpeg, landmarks_on_crop
from dfd_ray.models.augment import training_augmentation
from dfd_ray.models.blending import self_blend
from dfd_ray.models.sampling import repeats
from dfd_ray.pipelines.cluster import tasks
from dfd_ray.sections import Preprocess, Train
from dfd_ray.storage import open_location
from dfd_ray.tables import flatten_faces, table_files

AUGMENT_AT_ONCE = 32
"""Faces an augmentation task takes; large enough that both classes are among them."""

Image = npt.NDArray[np.uint8]


def training_faces(config: Config, held_out: int, size: int, rates: dict[str, float]) -> Dataset:
    """Return the faces of the other folds, in a new order every epoch, decoded and augmented to `size` pixels.

    `rates` is how often a face is shown, by label.
    """
    run = cast(str, config.run)
    videos = ray.data.read_parquet(
        table_files(run, "faces"),
        filesystem=open_location(run)[0],
        columns=["video_id", "label", "fold", "width", "height", "faces"],
    )
    videos = videos.filter(expr=(col("fold") != held_out) & col("label").is_not_null())
    faces = videos.map_batches(shown_faces, fn_kwargs={"settings": config.preprocess, "rates": rates}, batch_format="pyarrow")
    faces = faces.random_shuffle(seed=RandomSeedConfig(seed=config.train.seed, reseed_after_execution=True))
    return faces.map_batches(
        augment,
        fn_kwargs={"size": size, "settings": config.train},
        batch_format="pyarrow",
        batch_size=AUGMENT_AT_ONCE,
        **tasks(config.resources.extract),
    )


def face_rows(videos: pa.Table) -> pa.Table:
    """Flatten labelled videos into faces, with all that both have; `label` becomes 0 for REAL and 1 for FAKE."""
    faces = flatten_faces(videos, [name for name in videos.column_names if name != "faces"])
    label = pc.equal(faces.column("label"), "FAKE").cast(pa.int64())
    return faces.set_column(faces.column_names.index("label"), "label", label)


def shown_faces(videos: pa.Table, settings: Preprocess, rates: dict[str, float]) -> pa.Table:
    """Flatten as `face_rows`, each face as often as it is shown: `image`, `label`, `video_id`, `landmarks` in its pixels."""
    faces = face_rows(videos)
    places = zip(*(faces.column(name).to_pylist() for name in ("landmarks", "box", "width", "height")), strict=True)
    landmarks = [
        landmarks_on_crop(points, np.array(box), settings.margin, width, height, settings.crop_size).ravel()
        for points, box, width, height in places
    ]
    faces = faces.select(["image", "label", "video_id"])
    faces = faces.append_column("landmarks", pa.array(landmarks, pa.list_(pa.float32(), 10)))
    lengths = pc.list_value_length(videos.column("faces")).to_pylist()
    names = zip(videos.column("video_id").to_pylist(), videos.column("label").to_pylist(), lengths, strict=True)
    times = [repeats(video_id, count, rates[label]) for video_id, label, count in names]
    return faces.take(np.repeat(np.arange(len(faces)), np.concatenate([np.empty(0, np.int64), *times])))


def augment(faces: pa.Table, size: int, settings: Train) -> dict[str, npt.NDArray[Any]]:
    """Decode and augment faces: `image` (n, size, size, 3) uint8, `label` (n,) int64, `video_id` (n,).

    What is random follows from the seed and the faces, in their order: equal batches are augmented alike.
    """
    encoded = faces.column("image").to_pylist()
    seed = [settings.seed, zlib.crc32(b"".join(encoded))]
    images = [decode_jpeg(image) for image in encoded]
    label = faces.column("label").to_numpy()
    landmarks = np.array(faces.column("landmarks").to_pylist(), np.float32).reshape(-1, 5, 2)
    images = replace_fakes(images, label, landmarks, settings.self_blending, np.random.default_rng(seed))
    transform = training_augmentation(size, settings.augmentation, seed=seed[1] ^ settings.seed)
    video_id = faces.column("video_id").to_numpy(zero_copy_only=False)
    return {"image": np.stack([transform(image) for image in images]), "label": label, "video_id": video_id}


def replace_fakes(
    images: list[Image],
    label: npt.NDArray[np.int64],
    landmarks: npt.NDArray[np.float32],
    share: float,
    random: np.random.Generator,
) -> list[Image]:
    """Return the images with a share of the FAKE ones, drawn at random, replaced by self-blended REAL ones among them.

    `images` (n) of any sizes, `label` (n,) of 0 and 1, `landmarks` (n, 5, 2) in pixels of each image. A FAKE image stays
    where there is no REAL one, or where the landmarks of the one that is drawn span no face. That a face and its blend are
    augmented apart is meant: alike and side by side, they taught less that carries over (docs/transfer.md).
    """
    reals = np.flatnonzero(label == 0)
    result = list(images)
    for place in np.flatnonzero(label == 1):
        if len(reals) and random.random() < share:
            source = random.choice(reals)
            blended = self_blend(images[source], landmarks[source], random)
            if blended is not None:
                result[place] = blended
    return result
