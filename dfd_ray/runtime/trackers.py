"""The metrics of training for TensorBoard and MLflow, which are extras of the package.

Ray's own integrations do not fit. Its loggers are callbacks of Ray Tune, which Ray Train refuses. Its `setup_mlflow` works in a
training function, but cannot resume a run of MLflow, so a killed training would have two.
"""

from __future__ import annotations

import importlib.util
import posixpath
import sys
from typing import cast

from dfd_ray.errors import ConfigurationError
from dfd_ray.sections import Train
from dfd_ray.store.model_files import Epoch
from dfd_ray.store.run import Run
from dfd_ray.store.storage import absolute_uri, exists, read_json, write_json

EXPERIMENT = "dfd_ray"


def check_trackers(settings: Train) -> None:
    """Raise ConfigurationError where a package is not installed, or MLflow's URI holds credentials."""
    for package, wanted in (("tensorboard", settings.tensorboard), ("mlflow", settings.mlflow)):
        if wanted and importlib.util.find_spec(package) is None:
            raise ConfigurationError(f"train.{package} needs a package: pip install {package}")
    if settings.mlflow:
        absolute_uri(settings.mlflow)  # refuses credentials


def log_epoch(run: Run, fold: int, metrics: Epoch) -> None:
    """Send an epoch's numbers to the trackers that the configuration asks for."""
    values = cast(dict[str, float | None], metrics)
    numbers = {name: float(value) for name, value in values.items() if name != "epoch" and value is not None}
    if run.config.train.tensorboard:
        log_to_tensorboard(run, fold, metrics["epoch"], numbers)
    if run.config.train.mlflow:
        log_to_mlflow(run, fold, metrics["epoch"], numbers)


def log_to_tensorboard(run: Run, fold: int, epoch: int, numbers: dict[str, float]) -> None:
    """Add numbers to `<run>/tensorboard/fold-N/`, on a local disk or anywhere TensorBoard can write."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(run.path("tensorboard", f"fold-{fold}")) as writer:
        for name, value in numbers.items():
            writer.add_scalar(name, value, epoch)


def log_to_mlflow(run: Run, fold: int, epoch: int, numbers: dict[str, float]) -> None:
    """Add numbers to the fold's run in MLflow; a killed training resumes the same one.

    A server that does not answer costs the curve, not the training: it is reported in one line.
    """
    import mlflow

    location = run.path("training", f"mlflow-{fold}.json")
    known = read_json(location)["run_id"] if exists(location) else None
    try:
        mlflow.set_tracking_uri(str(run.config.train.mlflow))
        mlflow.set_experiment(EXPERIMENT)
        with mlflow.start_run(run_id=known, run_name=f"{posixpath.basename(run.location)}, fold {fold}") as active:
            if known is None:
                mlflow.log_params(run.config.train.model_dump(mode="json"))
                mlflow.set_tags({"run": run.location, "fold": fold})
                write_json(location, {"run_id": active.info.run_id})
            mlflow.log_metrics(numbers, step=epoch)
    except mlflow.exceptions.MlflowException as error:
        print(f"dfd-ray train: epoch {epoch} was not logged to MLflow: {' '.join(str(error).split())}", file=sys.stderr)
