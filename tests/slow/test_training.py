"""Training whole, on faces that are drawn: what it computes, and what a kill costs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from dfd_ray.cli import main
from dfd_ray.models.backbones import create_backbone

pytestmark = pytest.mark.slow

DrawRun = Callable[..., Path]
TINY = "test_efficientnet"
PLAIN = [
    "augmentation=none",
    "dropout=0",
    "label_smoothing=0",
    "freeze_norm=true",
    "optimiser=sgd",
    "epochs=1",
    "warmup=0",
    "learning_rate=1",
]
"""Nothing random, and no face that touches another: gradients depend on the faces of an update alone. The one update is
the gradient itself, almost twice with Nesterov's momentum."""
RANDOM = ["augmentation=best", "self_blending=0.3", "mixup=0.3", "dropout=0.3", "average=0.9", "batch_size=4", "accumulate=2"]
"""All that is random, and a step that is but a part of an update."""


def flags(settings: list[str]) -> list[str]:
    return [part for setting in settings for part in ("--set", f"train.{setting}")]


def start(run: Path, settings: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dfd_ray.cli", "train", "--run", str(run), *flags(settings)]
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(job: subprocess.Popen[str], reached: Callable[[], Any]) -> Any:
    """Return what `reached` gives as soon as that is something."""
    deadline = time.monotonic() + 300
    while not (found := reached()):
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def history(run: Path) -> list[dict[str, float]]:
    """Return an epoch a row, without the time it took."""
    (fold,) = json.loads((run / "models" / "history.json").read_text())["folds"]
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in fold["epochs"]]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "models" / "fold-0.safetensors")


def test_two_workers_learn_from_a_batch_what_one_learns_from_twice_the_batch(
    ray: None, draw_run: DrawRun, tmp_path: Path
) -> None:
    ways = {"one": ["batch_size=16"], "two": ["batch_size=8", "workers=2"]}
    found = {}
    for name, settings in ways.items():
        run = draw_run(tmp_path / name, videos=2)  # 16 faces to learn from: one update
        assert main(["train", "--run", str(run), *flags([*PLAIN, *settings])]) == 0
        found[name] = weights(run)
    torch.manual_seed(0)
    begun = create_backbone(TINY, weights="random", num_classes=2)[0].state_dict()
    moved = max(float((found["one"][name] - value).abs().max()) for name, value in begun.items() if "blocks" in name)
    assert moved > 1e-4
    for name, value in found["one"].items():
        torch.testing.assert_close(found["two"][name], value, rtol=0, atol=1e-6, msg=name)


@pytest.fixture(scope="module")
def undisturbed(draw_run: DrawRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = draw_run(tmp_path_factory.mktemp("undisturbed") / "run")
    job = start(run, [*RANDOM, "epochs=4"])
    output, _ = job.communicate(timeout=400)
    assert job.returncode == 0, output
    return run


def assert_same(run: Path, other: Path) -> None:
    for mine, theirs in zip(history(run), history(other), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-6)
    for name, value in weights(other).items():
        torch.testing.assert_close(weights(run)[name], value, rtol=0, atol=1e-6)


def test_training_ends_the_same_whose_worker_is_killed_and_then_its_driver_in_mid_epoch(
    undisturbed: Path, draw_run: DrawRun, tmp_path: Path
) -> None:
    run = draw_run(tmp_path / "run")
    settings = [*RANDOM, "epochs=4", "checkpoint_minutes=1e-6"]  # one every step
    progress = run / "training" / "progress.json"
    job = start(run, settings)
    wait_for(job, progress.exists)
    begun = progress.read_text()
    for worker in wait_for(job, lambda: workers_of(job)):
        worker.kill()
    wait_for(job, lambda: progress.read_text() != begun)  # it went on by itself
    folders = set(run.glob("training/*/checkpoint*"))
    wait_for(job, lambda: set(run.glob("training/*/checkpoint*")) - folders)
    job.send_signal(signal.SIGKILL)
    job.communicate()
    assert not (run / "models").exists()
    time.sleep(3)  # until Ray has noticed
    job = start(run, settings)
    output, _ = job.communicate(timeout=400)
    assert job.returncode == 0, output
    assert_same(run, undisturbed)
    assert not (run / "training").exists()


def workers_of(job: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return Ray Train's workers among a job's processes."""
    found = []
    for process in psutil.Process(job.pid).children(recursive=True):
        try:
            if "RayTrainWorker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:  # it ended as we looked
            continue
    return found
