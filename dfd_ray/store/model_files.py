"""The trained classifiers of a run, `<run>/models/`."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from torch import nn

from dfd_ray.errors import RunError, WeightsError
from dfd_ray.labels import TRAIN_ONLY
from dfd_ray.models.backbones import InputSpec
from dfd_ray.models.classifier import load_classifier, read_facts, save_classifier
from dfd_ray.store.run import Run
from dfd_ray.store.sources import digest_source, refuse_changed
from dfd_ray.store.storage import exists, list_files, read_bytes, write_bytes
from dfd_ray.store.tables import check_promise, read_table


class Epoch(TypedDict):
    """What training reports of an epoch."""

    epoch: int
    """Counted from 1."""
    train_loss: float
    learning_rate: float
    validation_loss: NotRequired[float | None]
    validation_auc: NotRequired[float | None]
    seconds: NotRequired[float]


class ModelFacts(TypedDict):
    """What is used of the facts in a classifier's file."""

    golden: list[float]
    history: list[Epoch]
    making: dict[str, Any]


def describe_making(run: Run, made_from: Mapping[str, str]) -> dict[str, Any]:
    """Return what is kept with a model of how it was made; `made_from` are the digests of what it learns from."""
    config = run.config
    return {"fingerprint": config.fingerprint("models"), "configuration": config.content("models"), "made_from": made_from}


def export_model(
    run: Run, fold: int, module: nn.Module, spec: InputSpec, history: list[Epoch], made_from: Mapping[str, str] | None = None
) -> None:
    """Write a finished model as `models/fold-N.safetensors`, with its history and what made it."""
    making = describe_making(run, made_from or {})
    extra = {"history": json.dumps(history), "making": json.dumps(making), "fold": str(fold)}
    margin = run.config.preprocess.margin
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.safetensors")
        save_classifier(path, module, backbone=run.config.train.backbone, spec=spec, crop_margin=margin, extra=extra)
        with open(path, "rb") as file:
            write_bytes(locate_model(run, fold), file.read())


def locate_model(run: Run, fold: int) -> str:
    """Return the location of the model that never saw a fold."""
    return run.path("models", f"fold-{fold}.safetensors")


def read_model(run: Run, fold: int) -> tuple[nn.Module, InputSpec, ModelFacts]:
    """Return the classifier that never saw a fold, its input and its facts."""
    with copy_model(run, fold) as path:
        module, spec, facts = load_classifier(path)
    return module, spec, parse_facts(facts)


def read_model_facts(run: Run, fold: int) -> ModelFacts:
    """Return the facts of the classifier that never saw a fold, without building it."""
    with copy_model(run, fold) as path:
        return parse_facts(read_facts(path))


@contextmanager
def copy_model(run: Run, fold: int) -> Iterator[Path]:
    """Yield the path of a copy of a classifier's file on this machine's disk, wherever the run is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        path.write_bytes(read_bytes(locate_model(run, fold)))
        try:
            yield path
        except WeightsError as error:
            raise WeightsError(str(error).replace(str(path), locate_model(run, fold))) from error


def parse_facts(facts: dict[str, Any]) -> ModelFacts:
    """Return the facts of a classifier, with those that `export_model` wrote as JSON parsed."""
    return cast(ModelFacts, facts | {name: json.loads(facts[name]) for name in ("history", "making")})


def is_trained(run: Run, fold: int) -> bool:
    """Return whether the run has its model for a fold; RunError if another configuration or other faces made it."""
    location = locate_model(run, fold)
    if not exists(location):
        return False
    making = read_model_facts(run, fold)["making"]
    check_promise(making, location, "models", run.config)
    refuse_changed(run, "models", [making])
    return True


def list_trained_folds(run: Run) -> list[int]:
    """Return the folds for which there is a model that never saw them; RunError if there is none."""
    names = [re.search(r"fold-(\d+)\.safetensors$", path) for path in list_files(run.path("models"))]
    folds = sorted(int(name[1]) for name in names if name)
    if not folds:
        raise RunError(f"{run.path('models')} holds no model; run `dfd-ray train` first")
    return folds


def find_untrained_folds(run: Run) -> list[int]:
    """Return the folds without a classifier among those that the configuration asks for; RunError if another made one."""
    folds = read_table(run.location, "manifest", ["fold"]).column("fold").drop_null().unique().to_pylist()
    asked = run.config.train.folds
    wanted = asked if asked is not None else sorted({*folds} - {TRAIN_ONLY})
    return [fold for fold in wanted if not is_trained(run, fold)]


def check_models(run: Run) -> None:
    """Raise WeightsError unless each classifier of the run can be read, and scores as it did when it was saved.

    Raises RunError if it learnt from faces that were cut otherwise than the configuration says.
    """
    for fold in list_trained_folds(run):
        _, _, facts = read_model(run, fold)
        learnt, wanted = facts["making"]["configuration"], run.config.content("models")
        for name in ("preprocess.margin", "preprocess.crop_size"):
            if learnt[name] != wanted[name]:
                raise RunError(
                    f"{locate_model(run, fold)} learnt from faces cut with {name} = {learnt[name]}, not {wanted[name]}; "
                    "leave out --config and --set: the run's own configuration fits its models"
                )


def digest_models(run: Run) -> str:
    """Return 16 hexadecimal digits that change with the classifiers of the run; RunError if it has none."""
    list_trained_folds(run)
    return str(digest_source(run, "models"))
