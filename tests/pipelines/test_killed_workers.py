from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest

from dfd_ray.cli import main
from dfd_ray.errors import Reason, Stage, Status
from dfd_ray.stages import detect
from dfd_ray.store.tables import read_table
from dfd_ray.video import Frame


def write_noise(path: Path, side: int) -> None:
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.slow
@pytest.mark.parametrize("counter_lives", [True, False])
def test_a_video_that_kills_its_worker_is_tried_twice_and_is_then_an_error_row(
    counter_lives: bool, ray: None, tmp_path: Path, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly = (1, 2)
    corpus, run, log = tmp_path / "corpus", tmp_path / "run", tmp_path / "log"
    (corpus / "part").mkdir(parents=True)
    for number in range(6):
        write_noise(corpus / "part" / f"{number}.mp4", 128 if number in deadly else 96)

    class Deadly:
        """An `ExtractAndDetect` that dies of a large picture; local, so that it travels to the workers whole."""

        def __init__(self, *arguments: Any) -> None:
            from dfd_ray.stages.detect import ExtractAndDetect

            self.inner = ExtractAndDetect(*arguments)
            self.collect_faces = self.inner.collect_faces
            self.inner.collect_faces = self.collect_or_die  # type: ignore[method-assign]

        def __call__(self, videos: pa.Table) -> Iterator[pa.Table]:
            yield from self.inner(videos)

        def collect_or_die(self, frames: list[Frame]) -> list[dict[str, Any]]:
            if frames[0].width == 128:
                with log.open("a") as file:
                    print("died", file=file)
                if not counter_lives:
                    import ray

                    ray.kill(self.inner.counter)
                os.kill(os.getpid(), signal.SIGKILL)
            return self.collect_faces(frames)

    monkeypatch.setattr(detect, "ExtractAndDetect", Deadly)
    assert main(["index", "--run", str(run), "--corpus", str(corpus), *flags, "--set", "resources.videos_per_task=6"]) == 0
    assert main(["preprocess", "--run", str(run)]) == 0
    assert log.read_text().splitlines() == ["died"] * 2 * len(deadly)
    rows = sorted(read_table(str(run), "faces").to_pylist(), key=lambda row: row["video_id"])
    assert [row["status"] for row in rows] == [Status.ERROR if number in deadly else Status.NO_FACE for number in range(6)]
    for row in (rows[number] for number in deadly):
        assert row["error_stage"] == Stage.DETECT
        assert row["error"] == f"{Reason.CRASH}: the process that looked for its faces died, 2 times"
