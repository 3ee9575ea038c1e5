"""preprocess: from the manifest to the faces of every video.

    manifest ──read──▶ extract (tasks, CPU) ──YUV planes──▶ detect (actors, GPU) ──▶ faces/
                       └──── one after the other in one actor where there is no GPU ────┘

A video is one row from end to end. A video that cannot be read becomes a row that says why.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.runtime.resumable_table import fill_table, is_complete, read_rows, write_rows
from dfd_ray.runtime.terminal import warn
from dfd_ray.sections import Preprocess
from dfd_ray.stages.detect import find_faces_of
from dfd_ray.stages.extract import LISTED
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.summary import NOTHING_DONE, Summary, count_statuses, describe_cut_short, time_job
from dfd_ray.store.tables import count_rows, flatten_faces, read_table

CROPPED = 0.5
"""Share of a frame's width and height that a face fills in a crop: 0.62 with our own margin. A portrait's face is less high."""


@time_job
def preprocess(run: Run) -> Summary:
    """Write `faces/`: one row per video of the manifest, its faces nested."""
    if is_complete(run, "faces"):
        return summarise(run, 0, NOTHING_DONE)
    if remark := judge_combs(run.config.preprocess):
        warn(remark)
    there_before = count_rows(run.location, "faces")
    with fill_table("preprocess", run, "faces") as counter:
        videos = read_rows(run, "manifest", LISTED, run.config.resources.videos_per_task)
        write_rows(find_faces_of(videos, run.config, counter), run, "faces", SCHEMAS["faces"])
    return summarise(run, there_before)


def summarise(run: Run, there_before: int, *notes: str) -> Summary:
    """Count the rows by status, and the REAL and FAKE faces whose balance the sampling sets."""
    counted = ["video_id", "label", "status", "error", "frames_wanted", "frames_decoded", "seconds_spent", "width", "height"]
    table = read_table(run.location, "faces", [*counted, "faces.list.element.face_index", "faces.list.element.box"])
    faces = {"REAL": 0, "FAKE": 0, "unlabelled": 0}
    for label, found in zip(table.column("label").to_pylist(), table.column("faces"), strict=True):
        faces[label or "unlabelled"] += len(found)
    return Summary(
        job="preprocess",
        table=run.path("faces"),
        there_before=there_before,
        **count_statuses(table),
        notes=[*notes, *describe_cut_short(table), *describe_crops(table)],
        details={"faces": faces, "seconds_of_work": round(sum(table.column("seconds_spent").to_pylist()), 1)},
    )


def describe_crops(videos: pa.Table) -> list[str]:
    """Return a note on videos that seem to be face crops already, since their faces are cropped a second time.

    In: columns `video_id`, `width`, `height` and `faces` with `box`.
    """
    faces = flatten_faces(videos, ["video_id", "width", "height"])
    if not len(faces):
        return []
    boxes = faces.column("box").combine_chunks().flatten().to_numpy().reshape(-1, 4)
    frame = np.stack([faces.column(name).to_numpy() for name in ("width", "height")], axis=1)
    filled = pa.table({"video_id": faces.column("video_id"), "share": ((boxes[:, 2:] - boxes[:, :2]) / frame).min(axis=1)})
    shares = filled.group_by("video_id").aggregate([("share", "approximate_median")])
    crops = sorted(shares.filter(pc.greater(shares.column("share_approximate_median"), CROPPED)).column("video_id").to_pylist())
    if not crops:
        return []
    return [
        f"face crops already? In {len(crops)} of {len(shares)} videos, such as {crops[0]!r}, the face fills more than half of "
        "the frame's width and height; it is cropped again, with a margin that the frame may not have"
    ]


def judge_combs(settings: Preprocess) -> str:
    """Return what to say of numbers of frames that make small combs, in which hardly a face can be followed, else nothing."""
    names = ("frames_real", "frames_fake", "frames_unlabelled")
    frames = [getattr(settings, name) for name in names]
    least = min(settings.least_frames, settings.search_every)
    if settings.comb >= least:
        return ""
    better = ", ".join(f"{name}={max(1, round(count / least)) * least}" for name, count in zip(names, frames, strict=True))
    return (
        f"preprocess.frames_real, frames_fake, frames_unlabelled = {', '.join(map(str, frames))}: no number above "
        f"{settings.comb} divides all three, so faces are followed over {settings.comb} frames at most, and the job takes "
        f"longer; multiples of {least} avoid that: {better}"
    )
