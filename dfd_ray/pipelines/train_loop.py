"""The training loop, as every Ray Train worker runs it."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import ray.train
import torch
from ray.train import Checkpoint
from ray.train.torch import get_device, prepare_model
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dfd_ray.config import Config
from dfd_ray.errors import TrainingError
from dfd_ray.faces.crop import decode_jpeg
from dfd_ray.models.aggregation import sigmoid
from dfd_ray.models.backbones import InputSpec, create_backbone, normalise
from dfd_ray.models.classifier import score_faces
from dfd_ray.models.fine_tuning import freeze_layers, set_training, start_head
from dfd_ray.pipelines.model_store import export_model, is_trained
from dfd_ray.pipelines.summary import elapsed
from dfd_ray.pipelines.training_data import face_rows
from dfd_ray.storage import join, write_json
from dfd_ray.tables import iterate_batches

PROGRESS = "progress.json"
"""The last finished epoch, beside the checkpoints, for the driver's progress bar."""


@dataclass(frozen=True)
class FoldPlan:
    """How the model without a fold is trained; the same on every worker."""

    fold: int
    batch_size: int
    """Faces a worker and step."""
    steps: int
    """Of an epoch, on every worker."""
    rates: dict[str, float]
    """How often an epoch shows a face, by label."""


def train_folds(job: dict[str, Any]) -> None:
    """Train a model for every fold in turn, and keep each as it is finished."""
    config: Config = job["config"]
    torch.set_num_threads(max(1, int(config.resources.train.num_cpus)))
    for plan in job["folds"]:
        if not is_trained(config, plan.fold):  # a worker that starts again finds the folds behind it
            train_fold(config, plan)


def train_fold(config: Config, plan: FoldPlan) -> None:
    """Train one model: the whole of it on this page."""
    settings = config.train
    torch.manual_seed(settings.seed)
    rank = ray.train.get_context().get_world_rank()
    device = get_device()

    module, spec = create_backbone(
        settings.backbone,
        weights=settings.weights,
        num_classes=2,
        drop_rate=settings.dropout,
        image_size=settings.image_size,
        field="train.weights",
    )
    start_head(module)
    freeze_layers(module, settings.frozen_layers)
    learnt = [parameter for parameter in module.parameters() if parameter.requires_grad]
    model = prepare_model(module)
    rule = get_ema_multi_avg_fn(settings.average)  # type: ignore[no-untyped-call]
    average = AveragedModel(module, multi_avg_fn=rule, use_buffers=True)
    optimiser = torch.optim.AdamW(learnt, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, cosine(settings.warmup, settings.epochs * plan.steps))
    state = {"module": module, "average": average, "optimiser": optimiser, "schedule": schedule}
    history = restore(state, plan.fold)

    for epoch in range(len(history), settings.epochs):
        clock, losses = time.monotonic(), []
        batches = ray.train.get_dataset_shard(f"fold-{plan.fold}").iter_batches(
            batch_size=plan.batch_size, drop_last=True, prefetch_batches=2
        )
        set_training(model, settings.freeze_norm)
        for batch in batches:
            logits = model(normalise(torch.tensor(batch["image"]), spec, device))
            label = torch.tensor(batch["label"], device=device)
            loss = nn.functional.cross_entropy(logits, label, label_smoothing=settings.label_smoothing)
            if not torch.isfinite(loss):
                raise TrainingError(describe_divergence(loss.item(), epoch + 1, batch["video_id"]))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if settings.clip_gradient is not None:
                nn.utils.clip_grad_norm_(learnt, settings.clip_gradient)
            optimiser.step()
            schedule.step()
            average.update_parameters(module)
            losses.append(loss.item())
        metrics: dict[str, Any] = {
            "epoch": epoch + 1,
            "train_loss": float(np.mean(losses)),
            "learning_rate": schedule.get_last_lr()[0],
        }
        if rank == 0:
            metrics |= validate(average.module, spec, cast(str, config.run), plan.fold)
        history.append(metrics | {"seconds": elapsed(clock)})
        report(config, plan.fold, history, state, rank)
    if rank == 0:
        export_model(config, plan.fold, average.module, spec, history)


def describe_divergence(loss: float, epoch: int, video_ids: npt.NDArray[np.object_]) -> str:
    """Return a message for a loss that is no number, naming the videos of its batch."""
    names = ", ".join(sorted(set(video_ids.tolist())))
    return f"the loss is {loss} in epoch {epoch}, on faces of {names}; lower train.learning_rate, or look at these videos"


def validate(module: nn.Module, spec: InputSpec, run: str, fold: int) -> dict[str, float | None]:
    """Score the held-out faces, one worker alone: a curve to look at. Nothing is chosen by it, so it may be looked at."""
    from sklearn.metrics import log_loss, roc_auc_score

    module.eval()
    logits, labels = [np.empty(0, np.float32)], [np.empty(0, np.int64)]
    for videos in iterate_batches(run, "faces", ["label", "fold", "faces"]):
        held_out = pc.and_(pc.equal(videos.column("fold"), fold), videos.column("label").is_valid())
        faces = face_rows(videos.filter(held_out))
        logits.append(score_faces(module, spec, [decode_jpeg(image) for image in faces.column("image").to_pylist()]))
        labels.append(faces.column("label").to_numpy())
    label, probability = np.concatenate(labels), sigmoid(np.concatenate(logits))
    if not len(label):
        return {"validation_loss": None, "validation_auc": None}
    both = len(set(label.tolist())) == 2
    return {
        "validation_loss": float(log_loss(label, probability, labels=[0, 1])),
        "validation_auc": float(roc_auc_score(label, probability)) if both else None,
    }


def report(config: Config, fold: int, history: list[dict[str, Any]], state: dict[str, Any], rank: int) -> None:
    """Hand the epoch's metrics to Ray Train, with a checkpoint of all that a resume needs, written by the first worker."""
    with tempfile.TemporaryDirectory() as folder:
        if rank == 0:
            values = {name: part.state_dict() for name, part in state.items()}
            torch.save({**values, "fold": fold, "history": history}, os.path.join(folder, "state.pt"))
            write_json(join(cast(str, config.run), "training", PROGRESS), history[-1] | {"fold": fold})
        ray.train.report(history[-1], checkpoint=Checkpoint.from_directory(folder) if rank == 0 else None)


def restore(state: dict[str, Any], fold: int) -> list[dict[str, Any]]:
    """Load the run's last checkpoint, if it is of this fold, and return the epochs it has behind it."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return []
    with checkpoint.as_directory() as folder:
        values = torch.load(os.path.join(folder, "state.pt"), map_location="cpu", weights_only=True)
    if values["fold"] != fold:
        return []
    for name, part in state.items():
        part.load_state_dict(values[name])
    return list(values["history"])


def cosine(warmup: float, steps: int) -> Any:
    """Return the learning rate's factor by step: a linear rise over the first share of the steps, then a cosine to zero."""
    rise = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return float(0.5 * (1 + np.cos(np.pi * min(1.0, (step - rise) / max(1, steps - rise)))))

    return factor
