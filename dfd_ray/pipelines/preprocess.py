"""preprocess: from the manifest to the faces of every video.

    manifest ──read──▶ extract (tasks, CPU) ──YUV planes──▶ detect (actors, GPU) ──▶ faces/
                       └──── one after the other in one actor where there is no GPU ────┘

A video is one row from end to end. What cannot be read becomes a row that says why.
"""

from __future__ import annotations

import time

from dfd_ray.runtime.progress import show_progress
from dfd_ray.runtime.resumable_table import check_whole, is_complete, read_rows, resumable, write_rows
from dfd_ray.runtime.session import ray_session
from dfd_ray.stages.detect import find_faces_of
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.summary import NOTHING_DONE, Summary, count_statuses, elapsed
from dfd_ray.store.tables import count_rows, read_table, with_metadata


def preprocess(run: Run) -> Summary:
    """Write `faces/`: one row per video of the manifest, its faces nested."""
    started = time.monotonic()
    if is_complete(run, "faces"):
        return summarise(run, started, note=NOTHING_DONE)
    there_before = count_rows(run.location, "faces")
    schema = with_metadata(SCHEMAS["faces"], "faces", run.config)
    columns = ["video_id", "uri", "label", "group", "fold"]
    with ray_session(run), resumable(run, "faces"), show_progress("preprocess", run.location, "faces") as counter:
        videos = find_faces_of(read_rows(run, "manifest", columns, run.config.resources.videos_per_task), run.config, counter)
        write_rows(videos, run, "faces", schema, run.config.resources.videos_per_file)
        check_whole(run, "faces")
    return summarise(run, started, there_before)


def summarise(run: Run, started: float, there_before: int = 0, note: str = "") -> Summary:
    """Count what the table holds, and the balance of REAL and FAKE faces that the sampling gave."""
    table = read_table(run.location, "faces", ["label", "status", "error", "seconds_spent", "faces.list.element.face_index"])
    faces = {"REAL": 0, "FAKE": 0, "unlabelled": 0}
    for label, found in zip(table.column("label").to_pylist(), table.column("faces"), strict=True):
        faces[label or "unlabelled"] += len(found)
    summary = Summary(
        job="preprocess",
        table=run.path("faces"),
        there_before=there_before,
        seconds=elapsed(started),
        notes=[note] if note else [],
        details={"faces": faces, "seconds_of_work": round(sum(table.column("seconds_spent").to_pylist()), 1)},
    )
    return count_statuses(summary, table)
