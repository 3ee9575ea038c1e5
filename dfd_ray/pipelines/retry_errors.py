"""retry-errors: read the failed videos again, by reason if asked, and replace their rows.

Each file of the table that holds some is written anew and takes its place by a rename, so a kill leaves every file as it was
or as it should be, and the same command does the rest. What was made from the old faces is deleted before.
"""

from __future__ import annotations

import io
import posixpath
import time
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfd_ray.errors import ConfigurationError, Reason, Status, reason_of
from dfd_ray.pipelines.index import write_manifest
from dfd_ray.pipelines.preprocess import preprocess, summarise
from dfd_ray.runtime.resumable_table import require
from dfd_ray.store.run import Run
from dfd_ray.store.storage import delete_folder, open_location, write_bytes
from dfd_ray.store.summary import NOTHING_DONE, Summary
from dfd_ray.store.tables import open_file, read_table, table_files

DERIVED = ("embeddings", "projection", "scores", "predictions", "models", "evaluation", "training", "checkpoints")
"""What is made from the faces, and what a killed job has left to go on with."""


def retry_errors(run: Run, reasons: Iterable[str] = ()) -> Summary:
    """Run `preprocess` again for the error rows, all or those of some reasons, and put the outcome in their place."""
    started = time.monotonic()
    wanted = set(reasons)
    for reason in sorted(wanted - set(Reason)):
        raise ConfigurationError(f"--reason {reason}: known reasons are {', '.join(Reason)}")
    require(run, "faces")
    aside = Run(run.path("retry"), run.config)
    delete_folder(aside.location)  # of a job that was killed
    failed = failed_videos(run, wanted)
    if not failed:
        return told(run, started, NOTHING_DONE, "there is no error row to retry")
    manifest = read_table(run.location, "manifest")
    write_manifest(aside.location, manifest.filter(pc.is_in(manifest.column("video_id"), value_set=pa.array(failed))))
    preprocess(aside)
    mended = len(failed) - len(failed_videos(aside, set()))
    if mended:
        for name in DERIVED:
            delete_folder(run.path(name))
    replace_rows(run, read_table(aside.location, "faces"))
    delete_folder(aside.location)
    note = f"{mended} of {len(failed)} retried videos could be read now"
    return told(run, started, note + ("; what was made from the old faces was deleted" if mended else ""))


def told(run: Run, started: float, *notes: str) -> Summary:
    """Return the counts of the table as it is now, as this job's."""
    summary = summarise(run, started)
    summary.job, summary.notes = "retry-errors", list(notes)
    return summary


def failed_videos(run: Run, reasons: set[str]) -> list[str]:
    """Return the ids of the error rows, all or those of some reasons."""
    table = read_table(run.location, "faces", ["video_id", "status", "error"]).to_pylist()
    return [
        row["video_id"]
        for row in table
        if row["status"] == Status.ERROR and (not reasons or reason_of(row["error"]) in reasons)
    ]


def replace_rows(run: Run, rows: pa.Table) -> None:
    """Put rows of `faces/` in the place of those of the same videos, file by file, each whole or not at all."""
    filesystem, _ = open_location(run.location)
    replaced = rows.column("video_id").combine_chunks()
    for path in table_files(run.location, "faces"):
        with open_file(path, filesystem) as file:
            ids = file.read(columns=["video_id"]).column("video_id")
            out_of_date = pc.is_in(ids, value_set=replaced)
            if not pc.any(out_of_date).as_py():
                continue
            kept = file.read().filter(pc.invert(out_of_date))
        new = rows.filter(pc.is_in(rows.column("video_id"), value_set=ids.combine_chunks()))
        table = pa.concat_tables([kept, new.cast(kept.schema)])
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        write_bytes(run.path("faces", posixpath.basename(path)), buffer.getvalue())
