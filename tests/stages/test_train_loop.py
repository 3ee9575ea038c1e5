"""The training loop in this process, without Ray: batches come from the same functions, checkpoints go to a folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from dfd_ray.config import load_config
from dfd_ray.errors import RunError, TrainingError, WeightsError
from dfd_ray.models.backbones import InputSpec, create_backbone
from dfd_ray.models.fine_tuning import create_optimiser
from dfd_ray.stages import train_loop
from dfd_ray.stages.training_data import announce_epoch, augment, plan_fold, read_labelled, repeat_faces
from dfd_ray.store.model_files import check_models, read_model_facts
from dfd_ray.store.run import Run
from dfd_ray.store.storage import exists, read_json
from dfd_ray.store.tables import iterate_batches

SIZE = 64
RANDOM = ["augmentation=best", "self_blending=0.3", "mixup=0.3", "dropout=0.3", "average=0.9", "batch_size=4", "accumulate=3"]
"""All that is random, and steps that are but parts of an update; the last update of an epoch has two parts."""


class Killed(BaseException):
    """Stands for SIGKILL."""


class Worker:
    """Stands for Ray Train: keeps the last checkpoint, and dies at a report if it is told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rank = 0
        self.reports: list[dict[str, Any]] = []
        self.die_at = -1

    def report(self, metrics: dict[str, Any], checkpoint: Any) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        with checkpoint.as_directory() as made:
            shutil.copytree(made, self.folder)
        self.reports.append(metrics)
        if len(self.reports) == self.die_at:
            raise Killed

    def get_checkpoint(self) -> Any:
        return train_loop.Checkpoint.from_directory(str(self.folder)) if self.folder.exists() else None


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """Put a worker in Ray Train's place, alone in its group."""
    found = Worker(tmp_path / "checkpoint")
    context = SimpleNamespace(get_world_rank=lambda: found.rank)
    monkeypatch.setattr(train_loop.ray.train, "get_context", lambda: context)
    monkeypatch.setattr(train_loop.ray.train, "report", found.report)
    monkeypatch.setattr(train_loop.ray.train, "get_checkpoint", found.get_checkpoint)
    monkeypatch.setattr(train_loop, "get_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(train_loop, "prepare_model", lambda module: module)
    monkeypatch.setattr(train_loop, "batches", batches)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield found
    torch.distributed.destroy_process_group()


def batches(run: Run, plan: Any, epoch: int, rank: int) -> Iterator[dict[str, Any]]:
    """Yield the batches of an epoch as Ray Data would with one block."""
    announce_epoch(run, epoch)
    columns = ["video_id", "label", "group", "fold", "width", "height", "faces"]
    videos = pa.concat_tables(iterate_batches(run.location, "faces", columns)).to_pylist()
    schema = next(iterate_batches(run.location, "faces", columns)).schema
    others = pa.Table.from_pylist([row for row in videos if row["fold"] != plan.fold], schema=schema)
    faces = repeat_faces(others, run, plan.rates).sort_by("key")
    for start in range(0, plan.steps * plan.batch_size, plan.batch_size):
        yield augment(faces.slice(start, plan.batch_size), SIZE, run.config.train)


def train(folder: Path, settings: list[str]) -> list[dict[str, float]]:
    """Train the model without fold 0; return its epochs without the time they took."""
    run = Run(str(folder), load_config(folder / "config.yaml", [f"train.{setting}" for setting in settings]))
    train_loop.train_folds({"run": run, "folds": [plan_fold(run.config, 0, read_labelled(run))]})
    history = read_model_facts(run, 0)["history"]
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_training_killed_at_any_checkpoint_ends_as_if_it_had_not_been(
    worker: Worker, draw_run: Callable[..., Path], tmp_path: Path, optimiser: str
) -> None:
    settings = [*RANDOM, "epochs=3", f"optimiser={optimiser}", "frozen_layers=5", "frozen_epochs=1"]
    undisturbed = draw_run(tmp_path / "undisturbed")
    expected = train(undisturbed, settings)
    assert [report["epoch"] for report in worker.reports] == [1, 2, 3]
    assert len({epoch["train_loss"] for epoch in expected}) == 3
    shutil.rmtree(worker.folder)
    run = draw_run(tmp_path / "killed")
    for die_at in (1, 2, 4, 3, 6):  # of each life; three checkpoints an epoch, the last of them at its end
        worker.reports, worker.die_at = [], die_at
        try:
            found = train(run, [*settings, "checkpoint_minutes=1e-9"])
        except Killed:
            torch.rand(7)  # another process would not be where this one is
            continue
        break
    assert worker.reports[-1]["epoch"] == 3
    assert found == [pytest.approx(epoch, abs=1e-6) for epoch in expected]
    weights = [load_file(place / "models" / "fold-0.safetensors") for place in (undisturbed, run)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-6)


def test_parts_of_an_update_give_the_gradient_of_the_whole(
    worker: Worker, draw_run: Callable[..., Path], tmp_path: Path
) -> None:
    plain = ["augmentation=none", "dropout=0", "label_smoothing=0", "freeze_norm=true", "optimiser=sgd", "epochs=1", "warmup=0"]
    found = {}
    for name, settings in {"whole": ["batch_size=16"], "parts": ["batch_size=4", "accumulate=4"]}.items():
        shutil.rmtree(worker.folder, ignore_errors=True)
        run = draw_run(tmp_path / name, videos=2)  # 16 faces to learn from: one update
        (epoch,) = train(run, [*plain, *settings])
        found[name] = (epoch["train_loss"], load_file(run / "models" / "fold-0.safetensors"))
    assert found["parts"][0] == pytest.approx(found["whole"][0], abs=1e-6)
    for name, value in found["whole"][1].items():
        torch.testing.assert_close(found["parts"][1][name], value, rtol=0, atol=1e-6)


def test_workers_begin_with_the_same_weights_and_drop_out_different_ones(
    worker: Worker, draw_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def stop(state: dict[str, Any], fold: int, rank: int) -> Any:
        begun.append((state["module"].state_dict(), torch.rand(8)))
        raise Killed

    monkeypatch.setattr(train_loop, "restore", stop)
    run = draw_run(tmp_path / "run", videos=2)
    for worker.rank in (0, 1, 2):
        with pytest.raises(Killed):
            train(run, ["seed=3"])
    for weights, _ in begun[1:]:
        assert all(torch.equal(value, begun[0][0][name]) for name, value in weights.items())
    assert len({tuple(drawn.tolist()) for _, drawn in begun}) == 3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_bright_fakes_are_soon_told_from_dark_faces(
    worker: Worker, draw_run: Callable[..., Path], tmp_path: Path, precision: str
) -> None:
    settings = ["augmentation=none", "epochs=6", "batch_size=4", "learning_rate=0.003", "schedule=polynomial"]
    history = train(draw_run(tmp_path / "run"), [*settings, f"precision={precision}"])
    assert history[-1]["train_loss"] < 0.5 * history[0]["train_loss"]
    assert history[-1]["learning_rate"] == pytest.approx(0)


class Known(nn.Module):
    """A network whose logits are known, and which remembers of what type they were."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.dtypes: list[torch.dtype] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = torch.eye(len(images)) @ self.logits
        self.dtypes.append(found.dtype)
        return found


LOGITS = torch.tensor([[0.5, -1.0], [-2.0, 3.0], [0.25, 0.75]])
BATCH = {"image": np.zeros((3, 8, 8, 3), np.uint8), "label": np.array([0.0, 1.0, 0.25], np.float32)}
SPEC = InputSpec(8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_cross_entropy_of_targets_of_which_a_share_goes_to_the_other_class(smoothing: float) -> None:
    settings = load_config(None, [f"train.label_smoothing={smoothing}"]).train
    loss = train_loop.compute_loss(Known(LOGITS), BATCH, SPEC, torch.device("cpu"), settings)
    fake = (1 - smoothing) * BATCH["label"] + smoothing / 2
    logarithm = LOGITS.log_softmax(dim=1).numpy()
    assert loss.item() == pytest.approx(-np.mean((1 - fake) * logarithm[:, 0] + fake * logarithm[:, 1]), abs=1e-6)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_network_computes_in_the_precision_asked_for_and_the_loss_in_fp32(precision: str, dtype: torch.dtype) -> None:
    module = Known(LOGITS)
    settings = load_config(None, [f"train.precision={precision}"]).train
    loss = train_loop.compute_loss(module, BATCH, SPEC, torch.device("cpu"), settings)
    loss.backward()
    assert module.dtypes == [dtype]
    assert loss.dtype == module.logits.grad.dtype == torch.float32


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, dict[str, torch.Tensor]]]:
    """Note of every update the norm of the gradient that it took, and the weights after it."""
    found = []

    def create(module: nn.Module, *settings: Any) -> torch.optim.Optimizer:
        def note(optimiser: torch.optim.Optimizer, *_: Any) -> None:
            norm = nn.utils.get_total_norm([one.grad for one in module.parameters() if one.grad is not None])
            found.append((norm.item(), {name: value.clone() for name, value in module.state_dict().items()}))

        optimiser = create_optimiser(module, *settings)
        optimiser.register_step_post_hook(note)
        return optimiser

    monkeypatch.setattr(train_loop, "create_optimiser", create)
    return found


def test_the_model_is_the_moving_average_of_the_weights(
    worker: Worker, updates: list[Any], draw_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = draw_run(tmp_path / "run", videos=2)
    train(run, ["augmentation=none", "epochs=2", "batch_size=8", "learning_rate=0.01", "average=0.7"])
    weights = [{name: value for name, value in state.items() if value.is_floating_point()} for _, state in updates]
    assert len(weights) == 4
    average = weights[0]
    for state in weights[1:]:
        average = {name: 0.7 * average[name] + 0.3 * value for name, value in state.items()}
    kept = load_file(run / "models" / "fold-0.safetensors")
    assert (kept["conv_stem.weight"] - weights[-1]["conv_stem.weight"]).abs().max() > 1e-3
    for name, value in average.items():
        torch.testing.assert_close(kept[name], value.contiguous(), rtol=1e-5, atol=1e-6, msg=name)


def test_a_gradient_is_cut_to_the_largest_norm_allowed(
    worker: Worker, updates: list[Any], draw_run: Callable[..., Path], tmp_path: Path
) -> None:
    settings = ["augmentation=none", "epochs=1", "batch_size=8"]
    train(draw_run(tmp_path / "as-it-comes", videos=2), settings)
    shutil.rmtree(worker.folder)
    train(draw_run(tmp_path / "cut", videos=2), [*settings, "clip_gradient=0.01"])
    norms = [norm for norm, _ in updates]
    assert min(norms[:2]) > 0.02
    assert norms[2:] == pytest.approx([0.01, 0.01], rel=1e-3)


def test_a_loss_that_is_no_number_stops_training_and_the_attempts_after_it(
    worker: Worker, draw_run: Callable[..., Path], tmp_path: Path
) -> None:
    state = {
        name: value.contiguous()
        for name, value in create_backbone("test_efficientnet", weights="random")[0].state_dict().items()
    }
    state["conv_stem.weight"][0] = float("nan")
    save_file(state, tmp_path / "bad.safetensors")
    run = draw_run(tmp_path / "run")
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"^the loss is nan in epoch 1, on faces of part/\d+\.mp4"):
            train(run, [f"weights={tmp_path / 'bad.safetensors'}", "batch_size=4"])
    assert "lower train.learning_rate" in read_json(str(run / "training" / "stopped.json"))["error"]
    assert not exists(str(run / "models"))


def test_a_trained_model_of_ours_is_gone_on_from(worker: Worker, draw_run: Callable[..., Path], tmp_path: Path) -> None:
    run = draw_run(tmp_path / "first")
    train(run, ["epochs=1", "batch_size=4"])
    shutil.rmtree(worker.folder)
    model = run / "models" / "fold-0.safetensors"
    second = draw_run(tmp_path / "second")
    train(second, ["epochs=1", "batch_size=4", f"weights={model}", "learning_rate=1e-9", "freeze_norm=true", "average=0.5"])
    before, after = load_file(model), load_file(second / "models" / "fold-0.safetensors")
    torch.testing.assert_close(after["conv_stem.weight"], before["conv_stem.weight"], rtol=0, atol=1e-5)


def test_a_model_that_was_changed_is_refused_by_its_name(worker: Worker, draw_run: Callable[..., Path], tmp_path: Path) -> None:
    run = draw_run(tmp_path / "run")
    train(run, ["augmentation=none", "epochs=6", "batch_size=4", "learning_rate=0.003"])
    trained = Run(str(run), load_config(run / "config.yaml"))
    check_models(trained)
    with pytest.raises(RunError, match=r"learnt from faces cut with preprocess\.margin = 0\.6, not 0\.3"):
        check_models(Run(str(run), load_config(run / "config.yaml", ["preprocess.margin=0.3"])))
    model = run / "models" / "fold-0.safetensors"
    with safe_open(str(model), framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(model)
    tensors["classifier.weight"] *= -1
    save_file(tensors, model, metadata=metadata)
    with pytest.raises(WeightsError, match=r"run/models/fold-0\.safetensors does not score as it did when it was saved"):
        check_models(trained)
