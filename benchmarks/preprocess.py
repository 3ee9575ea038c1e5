"""Preprocessing videos: the report's recipe, decoding alone, and our pipeline through Ray.

    python -m benchmarks.preprocess [FOLDER OF DFDC-SHAPED PARTS]

Without a folder, the benchmark makes the demo corpus. Every way gets the same videos, the same number of frames and all cores:

- `recipe`: the report's: OpenCV grab/retrieve, facenet-pytorch's MTCNN batched at full size, crop, JPEG.
- `floor`: only decoding the frames that we sample, byte for byte, one process per core.
- `loop`: our functions in a plain loop, one process per core, which writes Parquet.
- `ray`: `dfd-ray preprocess`, which writes Parquet. The time is that for every video twice minus that for every video once,
  which leaves out start-up.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.machine import keep_result
from dfd_ray.config import Config
from dfd_ray.corpus.manifest import build_manifest, write_manifest
from dfd_ray.demo import make_demo_corpus
from dfd_ray.errors import VideoError
from dfd_ray.faces.crop import cut_face, encode_jpeg
from dfd_ray.pipelines.preprocess import preprocess
from dfd_ray.runtime.session import shared_session
from dfd_ray.stages.detect import Detect
from dfd_ray.stages.extract import extract, frames_wanted
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.tables import read_table, with_metadata
from dfd_ray.video import Video, decode_video
from dfd_ray.video.decoder_process import decode_row

REAL, FAKE = 13, 27
"""Videos taken from a corpus. A ratio of 1 to 5 would give as many frames of each label."""
RECIPE_BATCH = 8
"""Frames the recipe's MTCNN takes at once."""
CORES = torch.get_num_threads()
SETTINGS = Config()

Row = dict[str, Any]
"""A row of the manifest, with the `height` of the picture."""


def choose_videos(corpus: str) -> list[Row]:
    """Return the first REAL videos that can be read, and evenly chosen FAKE ones."""
    rows = build_manifest(corpus, SETTINGS)[0].to_pylist()
    for row in rows:
        try:
            row["height"] = min(decode_video(row["uri"], 1).frames[0].to_rgb().shape[:2])
        except VideoError:
            row["height"] = 0
    rows = [row for row in rows if row["height"]]
    fake = [row for row in rows if row["label"] == "FAKE"]
    step = max(1.0, len(fake) / FAKE)
    return [row for row in rows if row["label"] == "REAL"][:REAL] + [fake[int(i * step)] for i in range(min(FAKE, len(fake)))]


def time_by_height(rows: list[Row], run: Callable[[list[Row]], None]) -> dict[str, float]:
    """Return the seconds that `run` takes for the videos of each height, the largest first."""
    groups: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["height"]].append(row)
    seconds = {}
    for height, group in sorted(groups.items(), reverse=True):
        started = time.perf_counter()
        run(group)
        seconds[f"{height}p"] = time.perf_counter() - started
    return seconds


def time_recipe(rows: list[Row]) -> dict[str, float]:
    """Time the report's recipe."""
    from facenet_pytorch import MTCNN

    detector = MTCNN(keep_all=True)

    def run(rows: list[Row]) -> None:
        for row in rows:
            frames = _grab(row["uri"], frames_wanted(row["label"], SETTINGS.preprocess))
            for i in range(0, len(frames), RECIPE_BATCH):
                batch = frames[i : i + RECIPE_BATCH]
                for frame, boxes in zip(batch, detector.detect(batch)[0], strict=True):
                    for box in [] if boxes is None else boxes:
                        face = cut_face(frame, box, SETTINGS.preprocess.margin, SETTINGS.preprocess.crop_size)
                        if face is not None:
                            encode_jpeg(face)

    run(rows[:1])
    return time_by_height(rows, run)


def _grab(path: str, count: int) -> list[Any]:
    capture = cv2.VideoCapture(path)
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = {(2 * i + 1) * total // (2 * count) for i in range(count)}
    frames = []
    for position in range(max(wanted) + 1):
        if capture.grab() and position in wanted:
            frames.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
    return frames


def time_in_pool(rows: list[Row], task: Callable[[Row], Any], keep: Callable[[list[Any]], None]) -> dict[str, float]:
    """Time a task over the videos with one process a core; `keep` takes what they return."""
    with get_context("spawn").Pool(CORES, _one_thread) as pool:
        pool.map(task, rows[: 2 * CORES], chunksize=1)  # imports, nets
        return time_by_height(rows, lambda group: keep(list(pool.imap_unordered(task, group))))


def _one_thread() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def decode_wanted(row: Row) -> Video:
    """Decode the wanted frames of a video."""
    count = frames_wanted(row["label"], SETTINGS.preprocess)
    return decode_video(row["uri"], count, comb=SETTINGS.preprocess.comb, most=SETTINGS.preprocess.most_frames)


def decode_only(row: Row) -> None:
    """Decode the wanted frames of a video, and keep none: a pool would send them to its parent."""
    decode_wanted(row)


_detect: Detect | None = None


def decode_and_detect(row: Row) -> pa.Table:
    """Do what the pipeline does with a video."""
    global _detect
    _detect = _detect or Detect(SETTINGS.preprocess, "cpu")
    [extracted] = extract(pa.Table.from_pylist([row]), SETTINGS.preprocess)
    return _detect(extracted)


def measure_stages(rows: list[Row]) -> dict[str, float]:
    """Return frames per second of each stage in one process on one core."""
    _one_thread()
    detect = Detect(SETTINGS.preprocess, "cpu")
    seconds: dict[str, float] = defaultdict(float)
    frames = 0
    for row in rows:
        started = time.perf_counter()
        decode_row(row["uri"], frames_wanted(row["label"], SETTINGS.preprocess), SETTINGS.preprocess)
        seconds["decode"] += time.perf_counter() - started
        decoded = decode_wanted(row).frames
        started = time.perf_counter()
        for frame in decoded:
            frame.to_rgb()
        seconds["to_rgb"] += time.perf_counter() - started
        started = time.perf_counter()
        detect.collect_faces(decoded)
        seconds["to_rgb, detect, crop, encode"] += time.perf_counter() - started
        frames += len(decoded)
    return {stage: frames / value for stage, value in seconds.items()}


def time_job(rows: list[Row], scratch: Path, settings: Config = SETTINGS) -> dict[str, float]:
    """Time the job on the videos, once and twice."""
    seconds: dict[str, float] = {}
    with shared_session():
        for name, times in [("warm-up", 0), ("once", 1), ("twice", 2)]:
            run = Run(str(scratch / name), settings.model_copy(update={"corpus": "/"}))
            copies = [row | {"video_id": f"{copy}/{row['video_id']}"} for copy in range(times) for row in rows] or rows[:2]
            schema = with_metadata(SCHEMAS["manifest"], "manifest", run.config, corpus="/")
            write_manifest(run.location, pa.Table.from_pylist(copies, schema=schema))
            started = time.perf_counter()
            preprocess(run)
            seconds[name] = time.perf_counter() - started
            failed = read_table(run.location, "faces", ["status"]).column("status").to_pylist().count("error")
            assert not failed, f"{failed} videos failed"
    return seconds


def main() -> None:
    """Measure, print, and keep the result."""
    with tempfile.TemporaryDirectory() as scratch:
        corpus = sys.argv[1] if len(sys.argv) > 1 else str(make_demo_corpus(Path(scratch) / "demo-corpus"))
        rows = choose_videos(str(Path(corpus).absolute()))
        frames = sum(frames_wanted(row["label"], SETTINGS.preprocess) for row in rows)
        measured = {
            "recipe": time_recipe(rows),
            "floor": time_in_pool(rows, decode_only, lambda _: None),
            "loop": time_in_pool(
                rows, decode_and_detect, lambda tables: pq.write_table(pa.concat_tables(tables), Path(scratch) / "loop.parquet")
            ),
        }
        seconds = {name: sum(values.values()) for name, values in measured.items()}
        runs = time_job(rows, Path(scratch))
        seconds["ray"] = runs["twice"] - runs["once"]
        keep_result(
            "preprocess",
            {
                "videos": {label: sum(row["label"] == label for row in rows) for label in ("REAL", "FAKE")},
                "frames": frames,
                "seconds": seconds,
                "seconds_by_height": measured,
                "videos_by_height": {f"{h}p": sum(row["height"] == h for row in rows) for h in {row["height"] for row in rows}},
                "ray_seconds": runs,
                "frames_per_second_and_core": measure_stages(rows),
                "times_faster_than_the_recipe": seconds["recipe"] / seconds["ray"],
                "times_the_floor": seconds["ray"] / seconds["floor"],
                "ray_over_loop": seconds["ray"] / seconds["loop"],
            },
        )


if __name__ == "__main__":
    main()
