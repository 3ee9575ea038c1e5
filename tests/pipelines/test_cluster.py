from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from dfd_ray.config import load_config
from dfd_ray.pipelines.cluster import end_at_once
from dfd_ray.pipelines.embed import EmbedFaces
from dfd_ray.pipelines.preprocess import Detect, ExtractAndDetect
from dfd_ray.pipelines.score import ScoreFaces

PATIENCE = 60.0
"""Seconds that a process may take to end."""


def ends(make: Callable[[], Any]) -> bool:
    """Return whether an actor's process ends whose exit handlers, those from before `make` is called, never would."""
    import ray

    class Stuck:
        def __init__(self) -> None:
            atexit.register(threading.Event().wait)
            self.made = make()

        def process(self) -> int:
            return os.getpid()

    actor = ray.remote(num_cpus=0)(Stuck).remote()
    process = psutil.Process(ray.get(actor.process.remote()))
    del actor
    try:
        process.wait(PATIENCE)
    except psutil.TimeoutExpired:
        process.kill()
        return False
    return True


@pytest.mark.parametrize("stage", [Detect, ExtractAndDetect, EmbedFaces, ScoreFaces])
def test_the_process_of_a_stage_ends_with_it(stage: type, ray: None, finished_run: Path) -> None:
    config = load_config(None, [f"embed.{one}" for one in ("backbone=test_efficientnet", "weights=random", "image_size=64")])
    arguments: dict[type, tuple[Any, ...]] = {
        EmbedFaces: (config.embed, "fp32", config.resources.embed),
        ScoreFaces: (str(finished_run), "cpu", 1),
    }
    assert ends(partial(stage, *arguments.get(stage, (config.preprocess, "cpu"))))


def test_a_driver_keeps_its_exit_handlers(ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[Any] = []
    monkeypatch.setattr(atexit, "register", lambda *handler: registered.append(handler))
    end_at_once()
    assert not registered
