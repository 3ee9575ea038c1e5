"""What each model trains on: the folds to hold out, and how often an epoch shows the faces of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pyarrow.compute as pc

from dfd_ray.config import Config
from dfd_ray.errors import TrainingError
from dfd_ray.labels import LABELS, TRAIN_ONLY
from dfd_ray.models.balancing import compute_balancing_rates, count_repeats
from dfd_ray.store.run import Run
from dfd_ray.store.tables import read_table


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
