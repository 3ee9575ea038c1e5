"""explore: the whole map in embedding-atlas, a viewer with an environment of its own.

projection, predictions ──▶ explore/faces.parquet ──▶ embedding-atlas
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfd_ray.errors import ResourceError, RunError
from dfd_ray.store.run import Run
from dfd_ray.store.summary import Summary, time_job
from dfd_ray.store.tables import count_rows, iterate_batches, read_table

VIEWER = "embedding-atlas"
# It needs other versions of llvmlite and pandas, so uvx or pipx gives it an environment of its own.
LAUNCHERS = ([VIEWER], ["uvx", VIEWER], ["pipx", "run", VIEWER])
"""Commands that start it; the first whose program is installed is used."""
OPTIONS = ["--x", "x", "--y", "y", "--image", "thumbnail"]
COLUMNS = [
    "video_id",
    "label",
    "cluster",
    "video_cluster",
    "membership",
    "frame_index",
    "face_index",
    "x",
    "y",
    "z",
    "thumbnail",
]
"""Columns of `projection/`; without the components, which are most of its bytes and are not shown in the viewer."""


@time_job
def explore(run: Run) -> Summary:
    """Write `explore/faces.parquet`, one row per face, and open it in the viewer until that is closed.

    Raises RunError if the run has no map or the viewer fails, ResourceError if the viewer cannot be started.
    """
    if not count_rows(run.location, "projection"):
        raise RunError(f"{run.path('projection')} holds no faces; run `dfd-ray analyze` first")
    # The viewer reads a local file.
    folder = Path(tempfile.mkdtemp(prefix="dfd-ray-explore-")) if "://" in run.location else Path(run.path("explore"))
    folder.mkdir(exist_ok=True)
    table = folder / "faces.parquet"
    faces = write_table(run, table)
    open_viewer(table)
    return Summary("explore", str(table), rows=faces, ok=faces)


def write_table(run: Run, table: Path) -> int:
    """Write one Parquet file of all faces, with their videos' probabilities if there are any; return the number of rows."""
    scored = count_rows(run.location, "predictions") > 0
    predictions = read_table(run.location, "predictions", ["video_id", "probability"]) if scored else None
    count, writer = 0, None
    for batch in iterate_batches(run.location, "projection", COLUMNS):
        faces = batch.select(COLUMNS).replace_schema_metadata(None)
        if predictions is not None:
            row = pc.index_in(faces.column("video_id"), value_set=predictions.column("video_id").combine_chunks())
            faces = faces.append_column("probability", predictions.column("probability").take(row))
        writer = writer or pq.ParquetWriter(table, faces.schema, compression="zstd")
        writer.write_table(faces)
        count += len(faces)
    if writer:
        writer.close()
    return count


def open_viewer(table: Path) -> None:
    """Run the viewer, which prints its address, until it ends or is interrupted."""
    arguments = [str(table), *OPTIONS]
    command = next((launcher for launcher in LAUNCHERS if shutil.which(launcher[0])), None)
    if command is None:
        by_hand = shlex.join(["uvx", VIEWER, *arguments])
        raise ResourceError(f"{VIEWER} is not installed, nor uvx or pipx to start it with: `pip install uv`, then `{by_hand}`")
    try:
        code = subprocess.run([*command, *arguments], check=False).returncode
    except KeyboardInterrupt:  # that is how it is closed
        return
    if code:
        raise RunError(f"`{shlex.join([*command, *arguments])}` ended with exit code {code}")
