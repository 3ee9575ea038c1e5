"""train: from the faces to one classifier for every fold that is held out.

    faces ──read──▶ flatten ──▶ shuffle (every epoch) ──▶ augment (tasks, CPU) ──shards──▶ train_folds (workers) ──▶ models/

Ray Train runs the workers; a killed job resumes at its last finished epoch.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import pyarrow.compute as pc
import ray
from ray.data import DataContext, ExecutionOptions
from ray.train import CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from dfd_ray.config import Config
from dfd_ray.errors import ResourceError, TrainingError
from dfd_ray.labels import LABELS, TRAIN_ONLY
from dfd_ray.models.backbones import create_backbone
from dfd_ray.models.balancing import compute_balancing_rates, count_repeats
from dfd_ray.pipelines.training_examples import write_examples
from dfd_ray.runtime.progress import Bar, call_every
from dfd_ray.runtime.ray_internals import found_no_room, limit_worker_start
from dfd_ray.runtime.resumable_table import require
from dfd_ray.runtime.session import ATTEMPTS, check_placeable, ray_session, refuse_or_wait
from dfd_ray.runtime.terminal import say
from dfd_ray.runtime.trackers import check_trackers
from dfd_ray.stages.train_loop import PROGRESS, SCORE, STOPPED, train_folds
from dfd_ray.stages.training_data import FoldPlan, training_faces
from dfd_ray.store.model_files import is_trained, read_model_facts
from dfd_ray.store.run import Run
from dfd_ray.store.storage import delete_file, delete_folder, exists, join, read_json, write_json
from dfd_ray.store.summary import NOTHING_DONE, Summary, elapsed
from dfd_ray.store.tables import read_table

KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**28),
}
"""For glibc's allocator: what a step frees, the next one takes again, instead of its being given back to the kernel and
cleared anew. A step of EfficientNet-Lite0 on one core is 1.2 to 1.6 times as fast, and needs no more memory. One arena, since
Ray trains in a thread, and arenas of threads have no room for what is larger than 64 MB: at 224 pixels that is most of it."""


def train(run: Run) -> Summary:
    """Write `models/`: a classifier for every fold held out, each trained on the others."""
    started = time.monotonic()
    require(run, "faces")
    videos = labelled_videos(run)
    counts = faces_by_fold(videos)
    folds = folds_to_train(run.config, counts)
    pending = [fold for fold in folds if not is_trained(run, fold)]
    if not pending:
        finish(run)  # what a kill after the last model left undone
        return summarise(run, started, folds, note=NOTHING_DONE)
    check_trackers(run.config.train)
    # Weights that cannot be had are found out here, before anything is started.
    _, spec = create_backbone(
        run.config.train.backbone,
        weights=run.config.train.weights,
        num_classes=2,
        image_size=run.config.train.image_size,
        field="train.weights",
    )
    with ray_session(run):
        check_room(run.config)
        for of_earlier_models in ("scores", "predictions", "evaluation", join("checkpoints", "scores")):
            delete_folder(run.path(of_earlier_models))
        fit(run, [plan_fold(run.config, fold, videos) for fold in pending], spec.size)
    finish(run)
    return summarise(run, started, folds)


def finish(run: Run) -> None:
    """Once all models are there, delete the checkpoints and show what the training did to faces."""
    if exists(run.path("training")) or not exists(run.path("models", "examples.json")):
        write_examples(run)
        delete_folder(run.path("training"))


def fit(run: Run, plans: list[FoldPlan], size: int) -> None:
    """Train a model for every fold, one after the other, in one Ray Train run: starting one costs more than a small fold."""
    settings = run.config.train
    gpus = run.config.resources.train.num_gpus
    stopped = run.path("training", STOPPED)
    delete_file(stopped)
    limit_worker_start(60 * run.config.resources.wait_minutes / (1 + ATTEMPTS))  # each attempt has its share of the wait
    trainer = TorchTrainer(
        train_folds,
        train_loop_config={"run": run, "folds": plans},
        scaling_config=ScalingConfig(
            num_workers=settings.workers,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": run.config.resources.train.num_cpus, **({"GPU": gpus} if gpus else {})},
        ),
        run_config=RunConfig(
            name=run.config.fingerprint("models"),  # a run does not resume from a checkpoint made with other settings
            storage_path=run.path("training"),
            failure_config=FailureConfig(max_failures=ATTEMPTS, controller_failure_limit=ATTEMPTS),
            checkpoint_config=CheckpointConfig(num_to_keep=1, checkpoint_score_attribute=SCORE, checkpoint_score_order="min"),
            worker_runtime_env={"env_vars": {} if gpus else KEEP_MEMORY},
        ),
        dataset_config=DataConfig(execution_options=ordered_ingest()),
        datasets={f"fold-{plan.fold}": training_faces(run, plan, size) for plan in plans},
    )
    say(f"training {len(plans)} models, each without one fold, {settings.epochs} epochs each")
    with follow(run, [plan.fold for plan in plans], settings.epochs):
        try:
            trainer.fit()
        except TrainingFailedError as error:
            if exists(stopped):
                raise TrainingError(read_json(stopped)["error"]) from None
            if found_no_room(error):
                raise ResourceError(
                    f"no room for {settings.workers} training workers in {run.config.resources.wait_minutes:g} minutes "
                    "(resources.wait_minutes): start nodes, or lower train.workers or resources.train; the same command goes on"
                ) from None
            raise


def ordered_ingest() -> ExecutionOptions:
    """Return options under which faces come in their order, and not in that in which the tasks are done."""
    options = copy.deepcopy(DataContext.get_current().execution_options)
    options.preserve_order = True
    return options


def plan_fold(config: Config, fold: int, videos: list[Labelled]) -> FoldPlan:
    """Return how often faces are shown, the size of the batches and the steps of an epoch, the same for every worker.

    Were they not the same, the all-reduce of the gradients would wait for ever. TrainingError if there are too few faces.
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


class Labelled(NamedTuple):
    """A labelled video of a fold, and how many faces it has."""

    video_id: str
    label: str
    fold: int
    faces: int


def labelled_videos(run: Run) -> list[Labelled]:
    """Return the videos that can be learnt from or tested on, without reading their images."""
    videos = read_table(run.location, "faces", ["video_id", "label", "fold", "faces.list.element.face_index"])
    columns = [videos.column(name).to_pylist() for name in ("video_id", "label", "fold")]
    lengths = pc.list_value_length(videos.column("faces")).to_pylist()
    rows = (Labelled(*row) for row in zip(*columns, lengths, strict=True))
    return [row for row in rows if row.label is not None and row.fold is not None]


def faces_by_fold(videos: list[Labelled]) -> dict[int, dict[str, int]]:
    """Return the number of faces, by fold and label."""
    counts: dict[int, dict[str, int]] = {}
    for video in videos:
        counts.setdefault(video.fold, {"REAL": 0, "FAKE": 0})[video.label] += video.faces
    return counts


def folds_to_train(config: Config, counts: dict[int, dict[str, int]]) -> list[int]:
    """Return the folds to hold out; TrainingError when a model would see one class only, or there is no such fold."""
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


def check_room(config: Config) -> None:
    """Raise ResourceError when the workers, and one task that feeds them, can never run at once, or one of them nowhere.

    Of a cluster it is said at once, on standard error, and Ray waits for nodes that an autoscaler may bring.
    """
    check_placeable("train", config.resources.train)
    check_placeable("extract", config.resources.extract)  # whose CPUs a task that augments has
    resources = ray.cluster_resources()
    pool, workers = config.resources.train, config.train.workers
    feeding = max(1, config.resources.extract.num_cpus)  # the tasks that read and sort have one
    for name, wanted in [("CPU", workers * pool.num_cpus + feeding), ("GPU", workers * pool.num_gpus)]:
        if wanted <= resources.get(name, 0):
            continue
        asked = (
            f"training asks for {wanted:g} {name}s ({workers} workers, and a task that feeds them), Ray has "
            f"{resources.get(name, 0):g}"
        )
        remedy = f"lower train.workers or resources.train.num_{name.lower()}s"
        refuse_or_wait(f"{asked}; {remedy}", f"{asked}; waiting for nodes. If none are coming, stop the job and {remedy}")


@contextmanager
def follow(run: Run, folds: list[int], epochs: int) -> Iterator[None]:
    """Show a progress bar of epochs within, as the first worker reports them beside its checkpoints."""
    location = run.path("training", PROGRESS)

    def show() -> None:
        last = read_json(location) if exists(location) else None
        if last and last["fold"] in folds:
            done = folds.index(last["fold"]) * epochs + last["epoch"]
            if done > bar.done:
                bar.show(done, f"fold {last['fold']}, {describe_epoch(last)}")

    with closing(Bar("train", "epoch", len(folds) * epochs)) as bar, call_every(1.0, show):
        yield


def describe_epoch(metrics: dict[str, Any]) -> str:
    """Return an epoch's metrics as one line."""
    names = [("train_loss", "loss"), ("validation_loss", "held-out loss"), ("validation_auc", "held-out AUC")]
    known = [f"{text} {metrics[name]:.3f}" for name, text in names if metrics.get(name) is not None]
    return f"epoch {metrics['epoch']}: {', '.join(known)}"


def summarise(run: Run, started: float, folds: list[int], note: str = "") -> Summary:
    """Gather the folds' histories, and keep them as `models/history.json`."""
    history = [{"fold": fold, "epochs": read_model_facts(run, fold)["history"]} for fold in folds]
    write_json(run.path("models", "history.json"), {"backbone": run.config.train.backbone, "folds": history})
    return Summary(
        job="train",
        table=run.path("models"),
        rows=len(folds),
        ok=len(folds),
        seconds=elapsed(started),
        notes=[note] if note else [],
        details={"folds": len(folds), "epochs": run.config.train.epochs, "backbone": run.config.train.backbone},
    )
