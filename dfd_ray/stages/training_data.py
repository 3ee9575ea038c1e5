"""What training sees: which folds a model learns from, and Ray Data from `faces/` to the workers.

This module loads neither torch nor albumentations, which takes 2.5 s in each process: of a training's processes, most do
without.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ray.data import Dataset
from ray.data.expressions import col

from dfd_ray.arrays import AnyArray, Float32Array, Image
from dfd_ray.config import Config
from dfd_ray.errors import TrainingError
from dfd_ray.faces.crop import decode_jpeg
from dfd_ray.labels import LABELS, TRAIN_ONLY
from dfd_ray.models.balancing import compute_balancing_rates, count_repeats
from dfd_ray.models.blending import self_blend
from dfd_ray.models.mixing import mix_faces
from dfd_ray.runtime.resumable_table import read_files
from dfd_ray.runtime.session import run_as_tasks
from dfd_ray.sections import Train
from dfd_ray.store.face_rows import flatten_labelled, locate_landmarks
from dfd_ray.store.run import Run
from dfd_ray.store.storage import read_json, write_json
from dfd_ray.store.tables import read_table

AUGMENT_AT_ONCE = 32
"""Faces of an augmentation task; enough that both classes are among them."""
FACES_PER_BLOCK, MOST_BLOCKS = 128, 1000
"""They set the number of parts of the shuffled faces: enough to keep every core busy, and not so many that each is tiny."""
LOWEST_PRIORITY = 19
"""As `nice` counts."""
KEYS = 2**62
"""Random keys are below this; two of millions are hardly ever equal."""


class Labelled(NamedTuple):
    """A labelled video of a fold, and how many faces it has."""

    video_id: str
    label: str
    fold: int
    faces: int


@dataclass(frozen=True)
class FoldPlan:
    """How the model without a fold is trained, the same on every worker."""

    fold: int
    batch_size: int
    """Faces that a worker takes in a step."""
    steps: int
    """Steps of an epoch, on every worker. Batches are whole: an epoch leaves out the last faces of its order, fewer than
    `batch_size` times the workers, and each epoch has another order."""
    rates: dict[str, float]
    """How often an epoch shows a face, by label."""
    shown: int
    """Faces an epoch shows, to all workers together."""


def read_labelled(run: Run) -> list[Labelled]:
    """Return the videos to train or test on, without reading their images."""
    videos = read_table(run.location, "faces", ["video_id", "label", "fold", "faces.list.element.face_index"])
    columns = [videos.column(name).to_pylist() for name in ("video_id", "label", "fold")]
    lengths = pc.list_value_length(videos.column("faces")).to_pylist()
    rows = (Labelled(*row) for row in zip(*columns, lengths, strict=True))
    return [row for row in rows if row.label is not None and row.fold is not None]


def count_by_fold(videos: list[Labelled]) -> dict[int, dict[str, int]]:
    """Return the number of faces, by fold and label."""
    counts: dict[int, dict[str, int]] = {}
    for video in videos:
        counts.setdefault(video.fold, {"REAL": 0, "FAKE": 0})[video.label] += video.faces
    return counts


def choose_folds(config: Config, counts: dict[int, dict[str, int]]) -> list[int]:
    """Return the folds to hold out; TrainingError when a model would see only one class, or there is no such fold."""
    totals = {label: sum(fold[label] for fold in counts.values()) for label in LABELS}
    for label, faces in totals.items():
        if not faces:
            raise TrainingError(f"training needs REAL and FAKE faces, and there is no {label} one: {totals}")
    scored = sorted(counts.keys() - {TRAIN_ONLY})
    if len(scored) < 2:
        raise TrainingError("training needs at least two groups of linked videos, one to learn from and one to test on")
    folds = scored if config.train.folds is None else list(config.train.folds)
    for fold in folds:
        if fold not in scored:
            raise TrainingError(f"train.folds names fold {fold}; this run has {scored}")
        for label in totals:
            if totals[label] == counts[fold][label]:
                raise TrainingError(
                    f"all {label} faces are in fold {fold}: the model without it would see one class only; "
                    f"index again with other --set index.folds or index.seed"
                )
    return folds


def plan_fold(config: Config, fold: int, videos: list[Labelled]) -> FoldPlan:
    """Return how often faces are shown, the size of the batches and the steps of an epoch.

    They must be the same on every worker, or the all-reduce of the gradients would wait for ever. Raises TrainingError if
    there are too few faces.
    """
    others = [video for video in videos if video.fold != fold]
    reals, fakes = (sum(video.faces for video in others if video.label == label) for label in LABELS)
    rates = compute_balancing_rates(reals, fakes) if config.train.balance else {"REAL": 1.0, "FAKE": 1.0}
    shown = sum(int(count_repeats(video.video_id, video.faces, rates[video.label]).sum()) for video in others)
    share = shown // config.train.workers
    batch_size = min(config.train.batch_size, share)
    if batch_size < 2:
        raise TrainingError(f"fold {fold} leaves {shown} faces to train on: too few for {config.train.workers} workers")
    return FoldPlan(fold, batch_size, share // batch_size, rates, shown)


def load_training_faces(run: Run, plan: FoldPlan, size: int) -> Dataset:
    """Return the faces of the other folds, in the order of the announced epoch, decoded and augmented to `size` pixels.

    Faces are sorted by random keys, which follow from the seed and the epoch alone. So the order changes each epoch, and is
    the same again when a killed job comes back to that epoch, on any machines.
    """
    videos = read_files(run, "faces", ["video_id", "label", "group", "fold", "width", "height", "faces"])
    videos = videos.filter(expr=(col("fold") != plan.fold) & col("label").is_not_null())
    faces = videos.map_batches(repeat_faces, fn_kwargs={"run": run, "rates": plan.rates}, batch_format="pyarrow")
    blocks = min(2 + plan.shown // FACES_PER_BLOCK, MOST_BLOCKS)
    faces = faces.sort("key", boundaries=[KEYS // blocks * i for i in range(1, blocks)])
    return faces.map_batches(
        augment_ahead,
        fn_kwargs={"size": size, "settings": run.config.train},
        batch_format="pyarrow",
        batch_size=AUGMENT_AT_ONCE,
        **run_as_tasks(run.config.resources.extract),
    )


def announce_epoch(run: Run, epoch: int) -> None:
    """Write down which epoch comes next, for the tasks that order the faces, before any worker asks for its batches."""
    write_json(run.path("training", "epoch.json"), {"epoch": epoch})


def repeat_faces(videos: pa.Table, run: Run, rates: dict[str, float]) -> pa.Table:
    """Return each face as often as the epoch shows it, with its place in the epoch's order.

    Columns: `image`, `label` (0 for REAL, 1 for FAKE), `video_id`, `group`, `landmarks` in pixels of the image, and `key`,
    random by seed, epoch and video.
    """
    faces = flatten_labelled(videos)
    landmarks = [points.ravel() for points in locate_landmarks(faces, run.config.preprocess)]
    faces = faces.select(["image", "label", "video_id", "group"])
    faces = faces.append_column("landmarks", pa.array(landmarks, pa.list_(pa.float32(), 10)))
    lengths = pc.list_value_length(videos.column("faces")).to_pylist()
    names = zip(videos.column("video_id").to_pylist(), videos.column("label").to_pylist(), lengths, strict=True)
    times = {video_id: count_repeats(video_id, count, rates[label]) for video_id, label, count in names}
    faces = faces.take(np.repeat(np.arange(len(faces)), np.concatenate([np.empty(0, np.int64), *times.values()])))
    seed = [run.config.train.seed, read_json(run.path("training", "epoch.json"))["epoch"]]
    keys = [np.random.default_rng([*seed, zlib.crc32(name.encode())]).integers(KEYS, size=t.sum()) for name, t in times.items()]
    return faces.append_column("key", pa.array(np.concatenate([np.empty(0, np.int64), *keys])))


def augment_ahead(faces: pa.Table, size: int, settings: Train) -> dict[str, AnyArray]:
    """Do as `augment` at the lowest priority, so that batches made ahead take no core from the training workers."""
    os.setpriority(os.PRIO_PROCESS, 0, LOWEST_PRIORITY)
    return augment(faces, size, settings)


def augment(faces: pa.Table, size: int, settings: Train) -> dict[str, AnyArray]:
    """Decode and augment faces: `image` (n, size, size, 3) uint8, `label` (n,) float32, the share of FAKE, `video_id` (n,).

    The random choices follow from the seed and the faces, in their order: equal batches are augmented alike.
    """
    from dfd_ray.models.augment import create_augmentation

    encoded = faces.column("image").to_pylist()
    seed = [settings.seed, zlib.crc32(b"".join(encoded))]
    images, label = change_fakes(faces, [decode_jpeg(image) for image in encoded], settings, np.random.default_rng(seed))
    transform = create_augmentation(size, settings.augmentation, seed=seed[1] ^ settings.seed)
    video_id = faces.column("video_id").to_numpy(zero_copy_only=False)
    return {"image": np.stack([transform(image) for image in images]), "label": label, "video_id": video_id}


def change_fakes(
    faces: pa.Table, images: list[Image], settings: Train, random: np.random.Generator
) -> tuple[list[Image], Float32Array]:
    """Return images and labels, with some FAKE ones, chosen at random, replaced by faces made of the REAL ones.

    `faces` (n rows) has `label` of 0 and 1, `group`, and `landmarks` in pixels of each of the `images`. A share
    `self_blending` becomes self-blended REAL faces, and of the rest a share `mixup` is mixed with a REAL face, of its own group
    where there is one. The labels (n,) are the share of FAKE. A FAKE image stays where there is no REAL one, or where
    the landmarks span no face. A face and its blend are augmented apart on purpose: augmented alike, they taught less that
    transfers (docs/transfer.md).
    """
    label = faces.column("label").to_numpy()
    group = faces.column("group").to_numpy(zero_copy_only=False)
    landmarks = np.array(faces.column("landmarks").to_pylist(), np.float32).reshape(-1, 5, 2)
    reals = np.flatnonzero(label == 0)
    result, share = list(images), label.astype(np.float32)
    for place in np.flatnonzero(label == 1) if len(reals) else []:
        if random.random() < settings.self_blending:
            source = random.choice(reals)
            blended = self_blend(images[source], landmarks[source], random)
            result[place] = images[place] if blended is None else blended
        elif random.random() < settings.mixup:
            related = reals[group[reals] == group[place]]
            source = random.choice(related if len(related) else reals)
            mixed = mix_faces(images[place], landmarks[place], images[source], landmarks[source], random)
            result[place], share[place] = (images[place], 1.0) if mixed is None else mixed
    return result, share
