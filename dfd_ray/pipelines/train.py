"""train: from the faces to one classifier for every fold that is held out.

    faces ──read──▶ flatten ──▶ shuffle (every epoch) ──▶ augment (tasks, CPU) ──shards──▶ train_folds (workers) ──▶ models/

Ray Train runs the workers; a killed job resumes at its last finished epoch.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import cast

import ray
from ray.data import DataContext, ExecutionOptions
from ray.train import CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from dfd_ray.config import Config
from dfd_ray.errors import ResourceError, RunError, TrainingError
from dfd_ray.models.backbones import create_backbone
from dfd_ray.report.training_examples import write_examples
from dfd_ray.runtime.progress import Bar, call_every
from dfd_ray.runtime.ray_internals import found_no_room, limit_worker_start
from dfd_ray.runtime.resumable_table import require
from dfd_ray.runtime.session import ATTEMPTS, check_placeable, ray_session, refuse_or_wait
from dfd_ray.runtime.terminal import say
from dfd_ray.runtime.trackers import check_trackers
from dfd_ray.stages.train_loop import PROGRESS, SCORE, STOPPED, train_folds
from dfd_ray.stages.training_data import FoldPlan, choose_folds, count_by_fold, load_training_faces, plan_fold, read_labelled
from dfd_ray.store.model_files import Epoch, describe_making, is_trained, read_model_facts
from dfd_ray.store.run import Run
from dfd_ray.store.sources import digest_sources, refuse_changed
from dfd_ray.store.storage import delete_file, delete_folder, exists, read_json, write_json
from dfd_ray.store.summary import NOTHING_DONE, Summary, time_job
from dfd_ray.store.tables import check_promise

KEEP_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**28),
}
"""For glibc's allocator: a step takes again the memory that the one before freed, so the kernel need not clear it. A step of
EfficientNet-Lite0 on one core is 1.2 to 1.6 times as fast, and needs no more memory. There is one arena, since Ray trains in a
thread, and a thread's arena has no room for blocks over 64 MB: at 224 pixels most blocks are larger."""


@time_job
def train(run: Run) -> Summary:
    """Write `models/`: a classifier for every fold held out, each trained on the others."""
    require(run, "faces")
    settings, videos = run.config.train, read_labelled(run)
    folds = choose_folds(run.config, count_by_fold(videos))
    pending = [fold for fold in folds if not is_trained(run, fold)]
    if not pending:
        finish(run, folds)  # what a kill after the last model left undone
        return summarise(run, folds, NOTHING_DONE)
    check_trackers(settings)
    # Weights that are missing end the job here, before anything is started.
    _, spec = create_backbone(
        settings.backbone, weights=settings.weights, num_classes=2, image_size=settings.image_size, field="train.weights"
    )
    with ray_session(run):
        check_room(run.config)
        for of_earlier_models in ("scores", "predictions", "evaluation", "checkpoints/scores"):
            delete_folder(run.path(of_earlier_models))
        fit(run, [plan_fold(run.config, fold, videos) for fold in pending], spec.size, digest_sources(run, "models"))
    finish(run, folds)
    return summarise(run, folds)


def finish(run: Run, folds: list[int]) -> None:
    """Once all models are there, delete the checkpoints, show what the training did to faces, and gather the histories."""
    if exists(run.path("training")) or not exists(run.path("models", "examples.json")):
        write_examples(run)
        delete_folder(run.path("training"))
    write_history(run, folds)


def name_attempt(run: Run, made_from: dict[str, str]) -> str:
    """Return the name of Ray Train's run: that of a killed one, to resume it, if all that it learns from is as it was.

    Settings and faces are compared as for a finished model, by what the first attempt has written down.
    """
    location, name = run.path("training", "making.json"), uuid.uuid4().hex[:16]
    if exists(location):
        begun = read_json(location)
        try:
            check_promise(begun, run.path("training"), "models", run.config)
            refuse_changed(run, "models", [begun])
            return str(begun["name"])
        except RunError as error:
            say(f"training starts over: {str(error).partition('; ')[0]}")
    elif exists(run.path("training", old := run.config.fingerprint("models"))):
        name = old  # by a version that wrote nothing down
    write_json(location, describe_making(run, made_from) | {"name": name})
    return name


def fit(run: Run, plans: list[FoldPlan], size: int, made_from: dict[str, str]) -> None:
    """Train a model for every fold, one after the other, in one Ray Train run: a start takes longer than a small fold."""
    settings = run.config.train
    gpus = run.config.resources.train.num_gpus
    stopped = run.path("training", STOPPED)
    delete_file(stopped)
    limit_worker_start(60 * run.config.resources.wait_minutes / (1 + ATTEMPTS))  # each attempt has its share of the wait
    trainer = TorchTrainer(
        train_folds,
        train_loop_config={"run": run, "folds": plans, "made_from": made_from},
        scaling_config=ScalingConfig(
            num_workers=settings.workers,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": run.config.resources.train.num_cpus, **({"GPU": gpus} if gpus else {})},
        ),
        run_config=RunConfig(
            name=name_attempt(run, made_from),
            storage_path=run.path("training"),
            failure_config=FailureConfig(max_failures=ATTEMPTS, controller_failure_limit=ATTEMPTS),
            checkpoint_config=CheckpointConfig(num_to_keep=1, checkpoint_score_attribute=SCORE, checkpoint_score_order="min"),
            worker_runtime_env={"env_vars": {} if gpus else KEEP_MEMORY},
        ),
        dataset_config=DataConfig(execution_options=keep_order()),
        datasets={f"fold-{plan.fold}": load_training_faces(run, plan, size) for plan in plans},
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
                    "(resources.wait_minutes): start nodes, or lower train.workers or resources.train; the same command resumes"
                ) from None
            raise


def keep_order() -> ExecutionOptions:
    """Return options under which faces come in their own order, not in the order in which tasks finish."""
    options = copy.deepcopy(DataContext.get_current().execution_options)
    options.preserve_order = True
    return options


def check_room(config: Config) -> None:
    """Raise ResourceError when the workers and one task that feeds them can never run at once, or no node can hold one of them.

    On a cluster it only prints so on standard error, and Ray waits for nodes that an autoscaler may bring.
    """
    check_placeable("train", config.resources.train)
    check_placeable("extract", config.resources.extract)  # the augmenting tasks have its CPUs
    resources = ray.cluster_resources()
    pool, workers = config.resources.train, config.train.workers
    feeding = max(1, config.resources.extract.num_cpus)  # the reading and sorting tasks have one CPU
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


def describe_epoch(metrics: Epoch) -> str:
    """Return an epoch's metrics as one line."""
    names = [("train_loss", "loss"), ("validation_loss", "held-out loss"), ("validation_auc", "held-out AUC")]
    values = cast(dict[str, float | None], metrics)
    known = [f"{text} {value:.3f}" for name, text in names if (value := values.get(name)) is not None]
    return f"epoch {metrics['epoch']}: {', '.join(known)}"


def write_history(run: Run, folds: list[int]) -> None:
    """Gather the folds' histories in `models/history.json`."""
    history = [{"fold": fold, "epochs": read_model_facts(run, fold)["history"]} for fold in folds]
    write_json(run.path("models", "history.json"), {"backbone": run.config.train.backbone, "folds": history})


def summarise(run: Run, folds: list[int], *notes: str) -> Summary:
    """Count the models."""
    return Summary(
        job="train",
        table=run.path("models"),
        rows=len(folds),
        ok=len(folds),
        notes=list(notes),
        details={"folds": len(folds), "epochs": run.config.train.epochs, "backbone": run.config.train.backbone},
    )
