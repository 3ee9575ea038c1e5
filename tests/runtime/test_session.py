from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from dfd_ray.config import load_config
from dfd_ray.models.backbones import create_backbone
from dfd_ray.runtime import session
from dfd_ray.runtime.ray_internals import TOKEN_LOGGER
from dfd_ray.runtime.session import EXIT_SECONDS, limit_exit
from dfd_ray.stages.detect import Detect, ExtractAndDetect
from dfd_ray.stages.embed import EmbedFaces
from dfd_ray.stages.score import ScoreFaces
from dfd_ray.store.model_files import export_model
from dfd_ray.store.run import Run

PATIENCE = 60.0
"""Seconds that a process may take to end."""


def run_and_drop(make: Callable[[], Any], at_exit: Callable[[], Any]) -> psutil.Process:
    """Return the process of an actor that has called `make`, and is no longer wanted; `at_exit` runs as it exits."""
    import ray

    class Actor:
        def __init__(self) -> None:
            atexit.register(at_exit)
            self.made = make()

        def process(self) -> int:
            return os.getpid()

    actor = ray.remote(num_cpus=0)(Actor).remote()
    return psutil.Process(ray.get(actor.process.remote()))


def test_a_process_that_does_not_exit_is_killed(ray: None) -> None:
    run_and_drop(partial(limit_exit, 1), lambda: threading.Event().wait()).wait(PATIENCE)


@pytest.mark.parametrize("stage", [Detect, EmbedFaces, ScoreFaces])
def test_every_stage_asks_for_a_limit_first(stage: type, monkeypatch: pytest.MonkeyPatch) -> None:
    class AskedError(Exception):
        pass

    def ask() -> None:
        raise AskedError

    monkeypatch.setattr(sys.modules[stage.__module__], "limit_exit", ask)
    with pytest.raises(AskedError):
        stage(None, "cpu", None)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [ExtractAndDetect, EmbedFaces, ScoreFaces])
def test_the_exit_of_every_stage_is_limited(stage: type, ray: None, draw_run: Callable[..., Path], tmp_path: Path) -> None:
    settings = load_config(None, [f"embed.{one}" for one in ("backbone=test_efficientnet", "weights=random", "image_size=64")])
    run = Run(str(draw_run(tmp_path / "run")), settings)
    module, spec = create_backbone("test_efficientnet", weights="random", num_classes=2, image_size=64)
    export_model(run, 0, module, spec, [])
    arguments: dict[type, tuple[Any, ...]] = {
        ExtractAndDetect: (settings.preprocess, "cpu"),
        EmbedFaces: (settings.embed, "fp32", settings.resources.embed),
        ScoreFaces: (run, "cpu", 1),
    }
    left = tmp_path / "left"
    run_and_drop(partial(stage, *arguments[stage]), lambda: left.write_text(str(signal.alarm(0)))).wait(PATIENCE)
    assert 0 < int(left.read_text()) <= EXIT_SECONDS


def test_the_exit_of_a_driver_is_not(ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[Any] = []
    monkeypatch.setattr(atexit, "register", lambda *handler: registered.append(handler))
    limit_exit()
    assert not registered


def test_a_library_caller_is_not_told_of_tokens_as_ray_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    logger, levels = logging.getLogger(TOKEN_LOGGER), list[int]()
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    monkeypatch.setattr(session.ray, "init", lambda **options: levels.append(logger.level))
    session._connect(Run(str(tmp_path), load_config()))
    assert levels == [logging.CRITICAL]
