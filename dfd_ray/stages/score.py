"""Scoring faces with the trained classifiers, for `evaluate` and `predict`."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ray.actor import ActorHandle
from ray.data import Dataset
from torch import nn

from dfd_ray.arrays import Float32Array, Image
from dfd_ray.errors import Status
from dfd_ray.faces.crop import decode_jpeg
from dfd_ray.labels import NO_FOLD
from dfd_ray.models.backbones import InputSpec
from dfd_ray.models.classifier import check_golden, score_faces
from dfd_ray.runtime.progress import report_done
from dfd_ray.runtime.session import check_placeable, limit_exit, pick_device, run_as_actors
from dfd_ray.runtime.telemetry import observe
from dfd_ray.store.model_files import list_trained_folds, locate_model, read_model
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.tables import flatten_faces


def score_faces_of(
    videos: Dataset, run: Run, videos_at_once: int, counter: ActorHandle | None = None, pools: int = 1
) -> Dataset:
    """Return rows of `scores/` for rows of `faces/`; the classifiers are those of `run`.

    `pools` is the number of actor pools in the whole dataset.
    """
    pool = run.config.resources.score
    check_placeable("score", pool)
    return videos.map_batches(
        ScoreFaces,
        fn_constructor_args=(run, pick_device(pool), run.config.embed.batch_size, counter),
        batch_format="pyarrow",
        batch_size=videos_at_once,
        **run_as_actors(pool, pools),
    )


class ScoreFaces:
    """Score the faces of a batch of videos; an actor that keeps the classifiers it has loaded.

    The model that never saw a fold scores the videos of that fold. All models score a video of no fold (unlabelled, or
    new): the log-odds of each are kept, for each is calibrated by itself, and their mean. In: `video_id`, `fold`, `status`,
    `error_stage`, `error`, `faces` with `image`. Out: the schema of `scores/`, one row per row.
    """

    def __init__(self, run: Run, device: str, batch_size: int, counter: ActorHandle | None = None) -> None:
        import torch

        limit_exit()
        torch.set_num_threads(1)
        self.run = run
        self.device = device
        self.batch_size = batch_size
        self.counter = counter
        self.folds = list_trained_folds(run)
        self.models: dict[int, tuple[nn.Module, InputSpec]] = {}

    def __call__(self, videos: pa.Table) -> pa.Table:
        """Score the faces of some videos."""
        started = time.monotonic()
        faces = flatten_faces(videos, ["fold"])
        images = [decode_jpeg(image) for image in faces.column("image").to_pylist()]
        fold = pc.fill_null(faces.column("fold"), NO_FOLD).to_numpy(zero_copy_only=False).astype(int)
        log_odds = np.zeros(len(images), np.float32)
        by_model = np.zeros((len(self.folds), len(images)), np.float32)
        for one in np.unique(fold):
            chosen = np.flatnonzero(fold == one)
            found = self.score([images[i] for i in chosen], int(one))
            log_odds[chosen] = found.mean(axis=0)
            if one == NO_FOLD:
                by_model[:, chosen] = found
        lengths = pc.list_value_length(videos.column("faces")).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        scored = videos.select([name for name in SCHEMAS["scores"].names if name in videos.column_names])
        for name in ("frames_wanted", "frames_decoded"):  # which `faces/` of an older version lacks
            if name not in scored.column_names:
                scored = scored.append_column(name, pa.nulls(len(scored), pa.int32()))
        seen = pc.and_(pc.equal(scored.column("status"), Status.OK), pa.array(self.find_seen(videos)))
        scored = scored.set_column(1, "status", pc.if_else(seen, Status.IN_TRAINING, scored.column("status")))
        report_done(self.counter, scored.column("status").to_pylist())
        observe("score", scored.select(["video_id", "status"]).to_pylist(), time.monotonic() - started)
        scored = scored.append_column("log_odds", pa.ListArray.from_arrays(offsets, pa.array(log_odds)))
        several = [one is None and len(self.folds) > 1 for one in videos.column("fold").to_pylist()]
        parts = np.split(by_model, np.cumsum(lengths)[:-1], axis=1)
        kept = [part.tolist() if one else None for part, one in zip(parts, several, strict=True)]
        return scored.append_column("log_odds_by_model", pa.array(kept, pa.list_(pa.list_(pa.float32())))).cast(
            SCHEMAS["scores"]
        )

    def score(self, images: list[Image], fold: int) -> Float32Array:
        """Return the log-odds of FAKE, (models, n) float32, of the faces of a fold; zeros if every model has seen it."""
        models = self.folds if fold == NO_FOLD else [fold] if fold in self.folds else []
        scores = [score_faces(*self.model(one), images, batch_size=self.batch_size) for one in models]
        return np.stack(scores) if scores else np.zeros((1, len(images)), np.float32)

    def model(self, fold: int) -> tuple[nn.Module, InputSpec]:
        """Return the module and input of a model, loaded once."""
        if fold not in self.models:
            module, spec, facts = read_model(self.run, fold)
            module.to(self.device)
            if self.device != "cpu":  # on the CPU, `read_model` checked it
                check_golden(module, spec, facts["golden"], locate_model(self.run, fold))
            self.models[fold] = (module, spec)
        return self.models[fold]

    def find_seen(self, videos: pa.Table) -> list[bool]:
        """Return, for each video, whether every model trained on its fold."""
        return [fold is not None and fold not in self.folds for fold in videos.column("fold").to_pylist()]
