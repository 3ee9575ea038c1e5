"""The training loop that every Ray Train worker runs."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import NotRequired, TypedDict, cast

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import ray.train
import torch
from ray.train import Checkpoint
from ray.train.torch import get_device, prepare_model
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dfd_ray.arrays import Float32Array, UInt8Array
from dfd_ray.errors import DfdError, TrainingError
from dfd_ray.faces.crop import decode_jpeg
from dfd_ray.models.backbones import InputSpec, create_backbone, normalise
from dfd_ray.models.classifier import score_faces
from dfd_ray.models.fine_tuning import create_optimiser, freeze_layers, schedule_learning_rate, set_training, start_head
from dfd_ray.runtime.trackers import log_epoch
from dfd_ray.sections import Train
from dfd_ray.stages.training_data import FoldPlan, announce_epoch
from dfd_ray.store.face_rows import flatten_labelled
from dfd_ray.store.model_files import Epoch, export_model, is_trained
from dfd_ray.store.run import Run
from dfd_ray.store.storage import exists, read_json, write_json
from dfd_ray.store.summary import elapsed
from dfd_ray.store.tables import iterate_batches
from dfd_ray.verdict.aggregation import sigmoid

PROGRESS = "progress.json"
"""The last finished epoch, beside the checkpoints, for the driver's progress bar."""
SCORE, UNSCORED = "score", 1e9
"""Ray keeps the best checkpoint by this, beside the last: the lowest loss on held-out faces, which is unknown in mid-epoch."""
STOPPED = "stopped.json"
"""Why training had to stop, beside the checkpoints: for the driver, and for Ray's next attempts, which would fail alike."""


class Job(TypedDict):
    """What the driver sends to the workers."""

    run: Run
    folds: list[FoldPlan]
    made_from: NotRequired[dict[str, str]]
    """Digests of what the models learn from."""


class Batch(TypedDict):
    """Faces from `augment`."""

    image: UInt8Array
    label: Float32Array
    video_id: npt.NDArray[np.object_]


Trained = Mapping[str, nn.Module | torch.optim.Optimizer | LambdaLR]
"""What a checkpoint holds the state of, by name."""


def train_folds(job: Job) -> None:
    """Train a model for every fold in turn, and save each when it is finished."""
    run = job["run"]
    stopped = run.path("training", STOPPED)
    if exists(stopped):
        raise TrainingError(read_json(stopped)["error"])
    torch.set_num_threads(max(1, int(run.config.resources.train.num_cpus)))
    try:
        for plan in job["folds"]:
            if not is_trained(run, plan.fold):  # a restarted worker skips the folds that are finished
                train_fold(run, plan, job.get("made_from", {}))
    except DfdError as error:
        write_json(stopped, {"error": str(error)})
        raise


def train_fold(run: Run, plan: FoldPlan, made_from: dict[str, str]) -> None:
    """Train one model."""
    settings = run.config.train
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
    if rank:
        torch.manual_seed(settings.seed + rank)  # all workers start from the same weights, but dropout must differ
    module.to(device)
    rule = get_ema_multi_avg_fn(settings.average)  # type: ignore[no-untyped-call]
    average = AveragedModel(module, multi_avg_fn=rule, use_buffers=True)
    optimiser = create_optimiser(module, settings.optimiser, settings.learning_rate, settings.weight_decay)
    updates = settings.epochs * math.ceil(plan.steps / settings.accumulate)
    schedule = LambdaLR(optimiser, schedule_learning_rate(settings.schedule, settings.warmup, updates))
    state: Trained = {"module": module, "average": average, "optimiser": optimiser, "schedule": schedule}
    history, losses = restore(state, plan.fold, rank)

    begun, saved = len(history), time.monotonic()
    for epoch in range(begun, settings.epochs):
        clock = time.monotonic()
        if epoch in (begun, settings.frozen_epochs):
            freeze_layers(module, count_frozen_layers(settings, epoch))
            model = prepare_model(module)  # again, since other layers learn now
        set_training(model, settings.freeze_norm)
        for step, batch in enumerate(batches(run, plan, epoch, rank)):
            if step < len(losses):
                continue  # before the job was killed in mid-epoch, it learnt from these faces
            parts = min(settings.accumulate, plan.steps - step // settings.accumulate * settings.accumulate)
            whole = step % settings.accumulate == parts - 1
            model.require_backward_grad_sync = whole  # workers agree on whole updates only
            loss = compute_loss(model, batch, spec, device, settings)
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise TrainingError(describe_divergence(losses[-1], epoch + 1, batch["video_id"]))
            (loss / parts).backward()  # type: ignore[no-untyped-call]
            if not whole:
                continue
            if settings.clip_gradient is not None:
                nn.utils.clip_grad_norm_(module.parameters(), settings.clip_gradient)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            schedule.step()
            average.update_parameters(module)
            if settings.checkpoint_minutes and is_time(saved + 60 * settings.checkpoint_minutes, device):
                save_checkpoint(run, plan.fold, {"epoch": epoch + 1, "step": step + 1}, history, losses, state, rank)
                saved = time.monotonic()
        metrics: Epoch = {
            "epoch": epoch + 1,
            "train_loss": float(np.mean(losses)),
            "learning_rate": float(schedule.get_last_lr()[0]),
        }
        if rank == 0:
            scores = validate(average.module, spec, run, plan.fold, plan.batch_size)
            metrics["validation_loss"], metrics["validation_auc"] = scores
        metrics["seconds"] = elapsed(clock)
        history.append(metrics)
        losses = []
        save_checkpoint(run, plan.fold, metrics, history, losses, state, rank)
    if rank == 0:
        export_model(run, plan.fold, average.module, spec, history, made_from)


def batches(run: Run, plan: FoldPlan, epoch: int, rank: int) -> Iterator[Batch]:
    """Yield this worker's batches of an epoch."""
    if rank == 0:
        announce_epoch(run, epoch)  # no worker gets a batch before all have asked, so all get this epoch's
    shard = ray.train.get_dataset_shard(f"fold-{plan.fold}")
    yield from shard.iter_batches(batch_size=plan.batch_size, drop_last=True, prefetch_batches=2)


def compute_loss(model: nn.Module, batch: Batch, spec: InputSpec, device: torch.device, settings: Train) -> torch.Tensor:
    """Return the mean cross-entropy of a batch from `augment`, whose labels may be between REAL and FAKE."""
    images = normalise(torch.tensor(batch["image"]), spec, device)
    with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
        logits = model(images)
    fake = torch.tensor(batch["label"], device=device)
    return nn.functional.cross_entropy(
        logits.float(), torch.stack([1 - fake, fake], dim=1), label_smoothing=settings.label_smoothing
    )


def count_frozen_layers(settings: Train, epoch: int) -> int:
    """Return the number of groups of layers that keep their weights in an epoch; epochs count from 0."""
    return settings.frozen_layers if settings.frozen_epochs is None or epoch < settings.frozen_epochs else 0


def is_time(moment: float, device: torch.device) -> bool:
    """Return whether a moment has come by the first worker's clock: all workers must agree, since all make a checkpoint."""
    flag = torch.tensor(float(time.monotonic() >= moment), device=device)
    torch.distributed.broadcast(flag, 0)
    return bool(flag)


def describe_divergence(loss: float, epoch: int, video_ids: npt.NDArray[np.object_]) -> str:
    """Return a message for a loss that is not a finite number, naming the videos of its batch."""
    names = ", ".join(sorted(set(video_ids.tolist())))
    return f"the loss is {loss} in epoch {epoch}, on faces of {names}; lower train.learning_rate, or look at these videos"


def validate(module: nn.Module, spec: InputSpec, run: Run, fold: int, batch_size: int) -> tuple[float | None, float | None]:
    """Return the loss and AUC of the held-out faces, on one worker: a curve to look at. Nothing is chosen by it.

    Both are None without labelled faces, and the AUC with those of one class.
    """
    from sklearn.metrics import log_loss, roc_auc_score

    module.eval()
    logits, labels = [np.empty(0, np.float32)], [np.empty(0, np.int64)]
    for videos in iterate_batches(run.location, "faces", ["label", "fold", "faces"]):
        held_out = pc.and_(pc.equal(videos.column("fold"), fold), videos.column("label").is_valid())
        faces = flatten_labelled(videos.filter(held_out))
        images = [decode_jpeg(image) for image in faces.column("image").to_pylist()]
        logits.append(score_faces(module, spec, images, batch_size=batch_size))
        labels.append(faces.column("label").to_numpy())
    label, probability = np.concatenate(labels), sigmoid(np.concatenate(logits))
    if not len(label):
        return None, None
    both = len(set(label.tolist())) == 2
    auc = float(roc_auc_score(label, probability)) if both else None
    return float(log_loss(label, probability, labels=[0, 1])), auc


def save_checkpoint(
    run: Run, fold: int, metrics: Epoch | dict[str, int], history: list[Epoch], losses: list[float], state: Trained, rank: int
) -> None:
    """Report metrics to Ray Train, with a checkpoint of all that a resume needs.

    The first worker writes what is the same for all: networks, optimiser, schedule, the finished epochs, and the losses of
    the batches of the epoch at work. Every worker writes its own random state.
    """
    with tempfile.TemporaryDirectory() as folder:
        torch.save(read_random_state(), os.path.join(folder, f"random-{rank}.pt"))
        if rank == 0:
            values = {name: part.state_dict() for name, part in state.items()}
            torch.save({**values, "fold": fold, "history": history, "losses": losses}, os.path.join(folder, "state.pt"))
            if not losses:
                write_json(run.path("training", PROGRESS), {**metrics, "fold": fold})
                log_epoch(run, fold, cast(Epoch, metrics))
        score = metrics.get("validation_loss")
        scored = {**metrics, SCORE: UNSCORED if score is None else score}
        ray.train.report(scored, checkpoint=Checkpoint.from_directory(folder))


def read_random_state() -> dict[str, torch.Tensor]:
    """Return the state of the random numbers that training draws, which are dropout's."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def restore(state: Trained, fold: int, rank: int) -> tuple[list[Epoch], list[float]]:
    """Load the last checkpoint, if it is of this fold; return the finished epochs, and the losses of the one at work."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return [], []
    with checkpoint.as_directory() as folder:
        values = torch.load(os.path.join(folder, "state.pt"), map_location="cpu", weights_only=True)
        if values["fold"] != fold:
            return [], []
        random = torch.load(os.path.join(folder, f"random-{rank}.pt"), map_location="cpu", weights_only=True)
    for name, part in state.items():
        part.load_state_dict(values[name])
    torch.set_rng_state(random["cpu"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])
    return list(values["history"]), list(values["losses"])
