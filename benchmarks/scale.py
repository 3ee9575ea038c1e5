"""Preprocess manifests of 1,000, 10,000 and 119,154 videos: does the cost of a video, or the memory, grow with the corpus?

    python -m benchmarks.scale [--begun-from ROWS] [ROWS ...]

The rows repeat a handful of tiny clips, so the benchmark measures everything except decoding and detection. Each job is
killed (SIGKILL) when 99 % of its rows are committed, and started again with the same command. `seconds_to_go_on` is the time
until it commits the first new row (null if the kill came too late to leave one). `resume_seconds` is the time to its end,
with the last hundredth of the work.

A run of `--begun-from` rows or more does not start at zero, which takes most of an hour for 119,154 rows. Its table and
commits are written as the job would have left them at 98 %, with the rows of a smaller run under other names. The job then
has the whole manifest, all files and all commits to deal with. Memory that it would have gathered before does not show.

`cpu_ms_per_row` is the CPU time of all of the job's processes, read every second. It does not depend on what else the machine
does. `spilled_mib` is what Ray wrote to disk because its object store was full. `peak_gib` is the most memory of all of the
job's processes together, with shared pages counted once (PSS). `driver_peak_gib` is the driver's own.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.machine import keep_result
from dfd_ray.corpus.manifest import write_manifest
from dfd_ray.sections import Resources
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.tables import count_rows, read_table, table_files

DFDC = 119_154
"""Videos of DFDC."""
SIZES = (1_000, 10_000, DFDC)
CLIPS = 5
BEGUN, SETTLED = 0.98, 0.99
"""Share of the rows that a begun run has, and share at which a run is killed."""
ROWS_A_FILE = Resources().videos_per_file
LOOK = 5.0
"""Seconds between two looks at the memory. A look reads the page tables of twenty processes."""
LOOK_CPU = 1.0
"""Seconds between two looks at the CPU time. What a process uses after the last look is lost."""
SETTINGS = ("--set", "preprocess.frames_real=1", "--set", "preprocess.frames_fake=1")


def write_clip(path: Path, seed: int) -> None:
    """Write ten frames of noise of 96 x 96 pixels."""
    random = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        for number in range(10):
            picture = random.integers(0, 256, (12, 12, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def make_manifest(run: Path, clips: list[Path], rows: int) -> None:
    """Write the manifest of `rows` videos, every fifth of them REAL, in parts of 2,400 as DFDC's are."""
    table = [
        {
            "video_id": f"dfdc_train_part_{number // 2400}/{number:06}.mp4",
            "uri": str(clips[number % len(clips)]),
            "part": f"dfdc_train_part_{number // 2400}",
            "label": "FAKE" if number % 5 else "REAL",
            "group": str(number // 5),
            "fold": number // 5 % 5,
            "bytes": clips[number % len(clips)].stat().st_size,
        }
        for number in range(rows)
    ]
    write_manifest(str(run), pa.Table.from_pylist(table, schema=SCHEMAS["manifest"]))


def begin(run: Path, finished: Path, rows: int) -> None:
    """Write a run as a job killed at BEGUN would have left it, with the rows of a finished run under the manifest's names."""
    found = read_table(str(finished), "faces")
    manifest = read_table(str(run), "manifest", ["video_id", "label", "group", "fold"]).slice(0, int(BEGUN * rows))
    for table in ("faces", "checkpoints/faces"):
        (run / table).mkdir(parents=True)
    for start in range(0, len(manifest), ROWS_A_FILE):
        names = manifest.slice(start, ROWS_A_FILE)
        part = found.slice(0, len(names))
        for column in names.column_names:
            part = part.set_column(part.schema.get_field_index(column), part.schema.field(column), names.column(column))
        name = f"{uuid.uuid4().hex}_{start // ROWS_A_FILE:06}"
        pq.write_table(part, run / "faces" / f"{name}-0.parquet", compression="zstd")
        pq.write_table(names.select(["video_id"]), run / "checkpoints" / "faces" / f"{name}.parquet")


def measure_memory(driver: psutil.Process) -> tuple[float, float]:
    """Return the PSS of a process with all its descendants, and of the process alone."""
    held = {}
    for process in [driver, *driver.children(recursive=True)]:
        try:
            held[process.pid] = process.memory_full_info().pss / 2**30
        except psutil.Error:  # the process has ended
            continue
    return sum(held.values()), held.get(driver.pid, 0.0)


def note_cpu_seconds(driver: psutil.Process, used: dict[psutil.Process, float]) -> float:
    """Note the user and system CPU time of a process and its descendants, and return the sum of all that was ever noted."""
    for process in [driver, *driver.children(recursive=True)]:
        try:
            used[process] = sum(process.cpu_times()[:2])
        except psutil.Error:
            continue
    return sum(used.values())


def read_spilled(ray_folder: Path) -> int:
    """Return the MiB that Ray spilled, by its log."""
    logs = (path.read_text(errors="replace") for path in ray_folder.glob("session_*/logs/raylet*"))
    return max((int(size) for log in logs for size in re.findall(r"Spilled (\d+) MiB", log)), default=0)


def run_until(run: Path, rows: int, ray_folder: Path) -> dict[str, Any]:
    """Run the job until `rows` rows are committed, then kill it unless it has ended. Return times and memory."""
    command = [sys.executable, "-m", "dfd_ray.cli", "preprocess", "--run", str(run), *SETTINGS]
    started = time.perf_counter()
    job = psutil.Popen(command, env=os.environ | {"RAY_TMPDIR": str(ray_folder)})
    first, before, looked = 0.0, count_rows(str(run), "faces"), 0.0
    used: dict[psutil.Process, float] = {}
    used_before = looked_cpu = 0.0
    begun = len(table_files(str(run), "faces"))
    peak = driver_peak = 0.0
    while job.poll() is None:
        time.sleep(0.2)
        files = len(table_files(str(run), "faces"))  # their footers are read only when there are enough
        if not first and files > begun and (done := count_rows(str(run), "faces")) > before:
            first, before, used_before = time.perf_counter(), done, note_cpu_seconds(job, used)
        if first and time.perf_counter() - looked_cpu > LOOK_CPU:
            note_cpu_seconds(job, used)
            looked_cpu = time.perf_counter()
        if first and time.perf_counter() - looked > LOOK:
            total, own = measure_memory(job)
            peak, driver_peak, looked = max(peak, total), max(driver_peak, own), time.perf_counter()
        if files * ROWS_A_FILE >= rows and (done := count_rows(str(run), "faces")) >= rows and job.is_running():
            elapsed, cpu = time.perf_counter() - first, note_cpu_seconds(job, used) - used_before
            left = [*job.children(recursive=True), job]
            for process in reversed(left):
                process.kill()
            psutil.wait_procs(left, timeout=10)
            return {
                "rows_per_second": (done - before) / elapsed,
                "cpu_ms_per_row": 1000 * cpu / (done - before),
                "peak_gib": peak,
                "driver_peak_gib": driver_peak,
                "spilled_mib": read_spilled(ray_folder),
            }
    if job.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended {job.returncode}")
    return {"seconds": time.perf_counter() - started, "first_commit": first - started if first else None}


def measure(folder: Path, clips: list[Path], rows: int, finished: Path | None) -> dict[str, Any]:
    """Return the cost of a manifest of `rows` videos. If a finished run is given, most of the table comes from it."""
    run = folder / f"run-{rows}"
    make_manifest(run, clips, rows)
    ray_folder = folder / "ray"
    if finished is not None:
        begin(run, finished, rows)
    begun = count_rows(str(run), "faces")
    figures: dict[str, Any] = {"rows": rows, "there_before": begun, **run_until(run, int(SETTLED * rows), ray_folder)}
    figures["committed_when_killed"] = count_rows(str(run), "faces")
    resumed = run_until(run, rows + 1, ray_folder)
    figures |= {"seconds_to_go_on": resumed["first_commit"], "resume_seconds": resumed["seconds"]}
    sizes = [Path(path).stat().st_size for path in table_files(str(run), "faces")]
    assert count_rows(str(run), "faces") == rows
    return figures | {"files": len(sizes), "median_file_bytes": float(np.median(sizes)), "table_mb": sum(sizes) / 1e6}


def main() -> None:
    """Measure each size, print, and keep the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description="Does a video's cost grow with the corpus?")
    parser.add_argument("rows", nargs="*", type=int, default=list(SIZES), help="sizes of the manifests")
    parser.add_argument("--begun-from", type=int, metavar="ROWS", help="size from which runs begin at 98 %% of their rows")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = [folder / f"clip{number}.mp4" for number in range(CLIPS)]
        for number, clip in enumerate(clips):
            write_clip(clip, number)
        results: list[dict[str, Any]] = []
        for rows in options.rows:
            begun = bool(results) and options.begun_from is not None and rows >= options.begun_from
            results.append(measure(folder, clips, rows, folder / f"run-{options.rows[0]}" if begun else None))
            print(results[-1], file=sys.stderr, flush=True)
        costs = [1 / result["rows_per_second"] for result in results]
        keep_result("scale", {"results": results, "cost_of_a_video_last_to_first": round(costs[-1] / costs[0], 3)})


if __name__ == "__main__":
    main()
