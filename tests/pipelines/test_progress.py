from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dfd_ray.pipelines import progress
from dfd_ray.pipelines.index import write_manifest
from dfd_ray.pipelines.progress import progress_bar, report_done
from dfd_ray.schemas import SCHEMAS


@pytest.fixture
def run(tmp_path: Path) -> str:
    rows = [{"video_id": f"{i}.mp4", "uri": f"/{i}.mp4", "part": "", "bytes": 1} for i in range(10)]
    write_manifest(str(tmp_path), pa.Table.from_pylist(rows, schema=SCHEMAS["manifest"]))
    return str(tmp_path)


def test_the_bar_tells_how_many_videos_ended_how(ray: None, run: str, capfd: pytest.CaptureFixture[str]) -> None:
    with progress_bar("preprocess", run, "faces") as counter:
        report_done(counter, ["ok", "ok", "error"])
        report_done(counter, ["no_face"])
        time.sleep(3 * progress.INTERVAL)
    bar = capfd.readouterr().err.split("\r")[-1]
    assert "preprocess:  40%" in bar
    assert "4/10" in bar
    assert "video/s" in bar or "s/video" in bar  # tqdm turns a rate under one around
    for count in ("ok=2", "error=1", "no_face=1"):
        assert count in bar


def test_videos_tried_again_do_not_take_the_bar_past_its_end(ray: None, run: str, capfd: pytest.CaptureFixture[str]) -> None:
    with progress_bar("embed", run, "embeddings") as counter:
        report_done(counter, ["ok"] * 12)
        time.sleep(3 * progress.INTERVAL)
    assert "10/10" in capfd.readouterr().err.split("\r")[-1]


def test_a_counter_that_died_does_not_end_the_job(ray: None, run: str) -> None:
    import ray as library

    with progress_bar("embed", run, "embeddings") as counter:
        library.kill(counter)
        report_done(counter, ["ok"])
        time.sleep(3 * progress.INTERVAL)


def test_without_a_counter_nothing_is_told() -> None:
    nobody: Any = None
    report_done(nobody, ["ok"])
