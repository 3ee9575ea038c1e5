"""train: from the faces to one classifier for every fold that is held out.

    faces ──read──▶ flatten ──▶ shuffle (every epoch) ──▶ augment (tasks, CPU) ──shards──▶ train_fold (workers) ──▶ models/

Ray Train runs the workers; a killed job resumes at its last finished epoch.
"""

from __future__ import annotations

import os
import time
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import ray.data
from ray.data import Dataset, RandomSeedConfig
from ray.data.expressions import Expr, col
from ray.train import CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from dfd_ray.config import Config
from dfd_ray.errors import ResourceError, TrainingError
from dfd_ray.faces.crop import decode_jpeg
from dfd_ray.models.augment import training_augmentation
from dfd_ray.models.backbones import create_backbone
from dfd_ray.pipelines.cluster import ATTEMPTS, ray_session, tasks
from dfd_ray.pipelines.model_store import export_model, is_trained, read_model
from dfd_ray.pipelines.resume import require
from dfd_ray.pipelines.summary import Summary, elapsed
from dfd_ray.pipelines.train_loop import train_fold
from dfd_ray.storage import absolute_uri, delete_folder, join, open_location, write_json
from dfd_ray.tables import flatten_faces, read_table, table_files

AUGMENT_AT_ONCE = 32
"""Faces an augmentation task takes."""


def train(config: Config) -> Summary:
    """Write `models/`: a classifier for every fold held out, each trained on the others."""
    started = time.monotonic()
    run = cast(str, config.run)
    require(run, "faces", config)
    counts = faces_by_fold(run)
    folds = folds_to_train(config, counts)
    pending = [fold for fold in folds if not is_trained(config, fold)]
    if not pending:
        return summarise(config, started, folds, note="already complete; nothing done")
    # Weights that cannot be had are found out here, before anything is started.
    create_backbone(config.train.backbone, weights=config.train.weights, num_classes=2, field="train.weights")
    with ray_session(config):
        check_room(config)
        for fold in pending:
            print(
                f"fold {fold}: training on {sum(sum(c.values()) for f, c in counts.items() if f != fold)} faces",
                flush=True,
            )
            clock = time.monotonic()
            last = fit_fold(config, fold, counts)
            print(f"fold {fold}: {describe_epoch(last)}, {time.monotonic() - clock:.0f} s", flush=True)
    delete_folder(join(run, "training"))
    return summarise(config, started, folds)


def fit_fold(config: Config, fold: int, counts: dict[int, dict[str, int]]) -> dict[str, Any]:
    """Train the model that never sees `fold`, keep it as `models/fold-N.safetensors`, and return its last epoch."""
    run, settings = cast(str, config.run), config.train
    total = sum(sum(labels.values()) for other, labels in counts.items() if other != fold)
    batch_size = min(settings.batch_size, total // settings.workers)
    if batch_size < 2:
        raise TrainingError(f"fold {fold} leaves {total} faces to train on: too few for {settings.workers} workers")
    job = {
        "settings": settings,
        "threads": max(1, int(config.resources.train.num_cpus)),
        "batch_size": batch_size,
        # Every rank must take the same number of steps, or the gradients' all-reduce waits for ever.
        "steps": total // settings.workers // batch_size,
    }
    gpus = config.resources.train.num_gpus
    trainer = TorchTrainer(
        train_fold,
        train_loop_config=job,
        scaling_config=ScalingConfig(
            num_workers=settings.workers,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": config.resources.train.num_cpus, **({"GPU": gpus} if gpus else {})},
        ),
        run_config=RunConfig(
            name=f"fold-{fold}",
            storage_path=absolute_uri(join(run, "training")),
            failure_config=FailureConfig(max_failures=ATTEMPTS, controller_failure_limit=ATTEMPTS),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
        datasets={
            "train": training_faces(config, fold),
            "validation": labelled_faces(run, col("fold") == fold),
        },
        # The validation faces are scored whole, by the first worker: a split would drop those that do not divide evenly.
        dataset_config=DataConfig(datasets_to_split=["train"]),
    )
    return export_model(config, fold, trainer.fit().checkpoint)


def training_faces(config: Config, held_out: int) -> Dataset:
    """Return the faces of the other folds, in a new order every epoch, decoded and augmented: `image`, `label`."""
    settings = config.train
    _, spec = create_backbone(settings.backbone, weights="random", image_size=settings.image_size)
    faces = labelled_faces(cast(str, config.run), col("fold") != held_out)
    faces = faces.random_shuffle(seed=RandomSeedConfig(seed=settings.seed, reseed_after_execution=True))
    return faces.map_batches(
        augment,
        fn_kwargs={"size": spec.size, "recipe": settings.augmentation},
        batch_format="pyarrow",
        batch_size=AUGMENT_AT_ONCE,
        **tasks(config.resources.extract),
    )


def labelled_faces(run: str, which: Expr) -> Dataset:
    """Return the faces of some labelled videos, a row each: `image` (JPEG), `label` (0 REAL, 1 FAKE)."""
    filesystem, _ = open_location(run)
    videos = ray.data.read_parquet(
        table_files(run, "faces"),
        filesystem=filesystem,
        columns=["label", "fold", "faces"],
    ).filter(expr=which & col("label").is_not_null())
    return videos.map_batches(face_rows, batch_format="pyarrow")


def face_rows(videos: pa.Table) -> pa.Table:
    """Flatten videos into faces with a numeric label."""
    faces = flatten_faces(videos, ["label"])
    label = pc.equal(faces.column("label"), "FAKE").cast(pa.int64())
    return pa.table({"image": faces.column("image"), "label": label})


def augment(faces: pa.Table, size: int, recipe: Literal["none", "report"]) -> dict[str, npt.NDArray[Any]]:
    """Decode and augment faces: `image` (n, size, size, 3) uint8, `label` (n,) int64."""
    transform = training_augmentation(size, recipe)
    images = [transform(decode_jpeg(image)) for image in faces.column("image").to_pylist()]
    return {"image": np.stack(images), "label": faces.column("label").to_numpy()}


def faces_by_fold(run: str) -> dict[int, dict[str, int]]:
    """Return the number of labelled faces, by fold and label."""
    videos = read_table(run, "faces", ["label", "fold", "faces.list.element.face_index"])
    counts: dict[int, dict[str, int]] = {}
    lengths = pc.list_value_length(videos.column("faces")).to_pylist()
    for label, fold, faces in zip(videos.column("label").to_pylist(), videos.column("fold").to_pylist(), lengths, strict=True):
        if label is not None and fold is not None:
            counts.setdefault(fold, {"REAL": 0, "FAKE": 0})[label] += faces
    return counts


def folds_to_train(config: Config, counts: dict[int, dict[str, int]]) -> list[int]:
    """Return the folds to hold out; TrainingError when a model would see one class only, or there is no such fold."""
    totals = {label: sum(fold[label] for fold in counts.values()) for label in ("REAL", "FAKE")}
    for label, faces in totals.items():
        if not faces:
            raise TrainingError(f"training needs REAL and FAKE faces, and there is no {label} one: {totals}")
    if len(counts) < 2:
        raise TrainingError("training needs at least two groups of linked videos, one to learn from and one to test on")
    folds = sorted(counts) if config.train.folds is None else list(config.train.folds)
    for fold in folds:
        if fold not in counts:
            raise TrainingError(f"train.folds names fold {fold}; this run has {sorted(counts)}")
        for label in totals:
            if totals[label] == counts[fold][label]:
                raise TrainingError(
                    f"all {label} faces are in fold {fold}: the model without it would see one class only; "
                    f"index again with other --set index.folds or index.seed"
                )
    return folds


def check_room(config: Config) -> None:
    """Raise ResourceError when the workers, and one task that feeds them, can never run at once."""
    resources = ray.cluster_resources()
    pool, workers = config.resources.train, config.train.workers
    if os.environ.get("RAY_ADDRESS"):
        return
    for name, wanted in [("CPU", workers * pool.num_cpus + 1), ("GPU", workers * pool.num_gpus)]:
        if wanted > resources.get(name, 0):
            raise ResourceError(
                f"training asks for {wanted:g} {name}s ({workers} workers, and a task that feeds them), Ray has "
                f"{resources.get(name, 0):g}; lower train.workers or resources.train.num_{name.lower()}s"
            )


def describe_epoch(metrics: dict[str, Any]) -> str:
    """Return an epoch's metrics as one line."""
    names = [("train_loss", "loss"), ("validation_loss", "held-out loss"), ("validation_auc", "held-out AUC")]
    known = [f"{text} {metrics[name]:.3f}" for name, text in names if metrics.get(name) is not None]
    return f"epoch {metrics['epoch']}: {', '.join(known)}"


def summarise(config: Config, started: float, folds: list[int], note: str = "") -> Summary:
    """Gather the folds' histories, and keep them as `models/history.json`."""
    run = cast(str, config.run)
    history = [{"fold": fold, "epochs": read_model(run, fold)[2]["history"]} for fold in folds]
    write_json(join(run, "models", "history.json"), {"backbone": config.train.backbone, "folds": history})
    return Summary(
        job="train",
        table=absolute_uri(join(run, "models")),
        rows=len(folds),
        ok=len(folds),
        seconds=elapsed(started),
        notes=[note] if note else [],
        details={"folds": len(folds), "epochs": config.train.epochs, "backbone": config.train.backbone},
    )
