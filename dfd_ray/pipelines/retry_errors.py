"""retry-errors: read the failed videos again, by reason if asked, and replace their rows.

The new table is written beside the old one and takes its place in one step, so a kill leaves the one or the other. What
was made from the old faces is out of date then, and is deleted.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dfd_ray.config import Config
from dfd_ray.errors import ConfigurationError, Reason, Status
from dfd_ray.pipelines.preprocess import preprocess, summarise
from dfd_ray.pipelines.resume import check_whole, finish_replacement, require
from dfd_ray.pipelines.summary import Summary
from dfd_ray.storage import join, open_location, write_json
from dfd_ray.tables import iterate_batches, read_table, table_files

DERIVED = ("embeddings", "projection", "scores", "predictions", "models", "evaluation")
"""What is made from the faces."""


def retry_errors(config: Config, reasons: Iterable[str] = ()) -> Summary:
    """Run `preprocess` again for the error rows, all or those of some reasons, and put the outcome in their place."""
    started = time.monotonic()
    run, wanted = cast(str, config.run), set(reasons)
    for reason in sorted(wanted - set(Reason)):
        raise ConfigurationError(f"--reason {reason}: known reasons are {', '.join(Reason)}")
    finish_replacement(run)
    require(run, "faces", config)
    failed = failed_videos(run, wanted)
    if not failed:
        return told(config, started, "already complete; no error row to retry")
    aside = join(run, "retry")
    manifest = read_table(run, "manifest")
    chosen = manifest.filter(pc.is_in(manifest.column("video_id"), value_set=pa.array(failed)))
    write_table(aside, "manifest", 0, chosen)
    preprocess(config.model_copy(update={"run": aside}))
    mended = len(failed) - len(failed_videos(aside, set()))
    replace_rows(run, aside, set(failed))
    note = f"{mended} of {len(failed)} retried videos could be read now"
    return told(config, started, note + ("; what was made from the old faces was deleted" if mended else ""))


def told(config: Config, started: float, note: str) -> Summary:
    """Return the counts of the table as it is now, as this job's."""
    summary = summarise(config, started, note)
    summary.job = "retry-errors"
    return summary


def failed_videos(run: str, reasons: set[str]) -> list[str]:
    """Return the ids of the error rows, all or those of some reasons."""
    table = read_table(run, "faces", ["video_id", "status", "error"]).to_pylist()
    return [
        row["video_id"]
        for row in table
        if row["status"] == Status.ERROR and (not reasons or row["error"].split(":")[0] in reasons)
    ]


def replace_rows(run: str, aside: str, failed: set[str]) -> None:
    """Write the table anew, without the failed rows and with what the retry made of them, and swap it in."""
    mended = len(failed) > len(failed_videos(aside, set()))
    number = 0
    for source, drop in [(run, failed), (aside, set[str]())]:
        for file in table_files(source, "faces"):
            for batch in iterate_batches(source, "faces", files=[file], batch_size=1024):
                keep = [video not in drop for video in batch.column("video_id").to_pylist()]
                write_table(join(aside, "merged"), "faces", number, batch.filter(pa.array(keep)))
                number += 1
    check_whole(run, join("retry", "merged", "faces"))
    write_json(join(aside, "ready.json"), {"outdated": DERIVED if mended else ()})
    finish_replacement(run)


def write_table(run: str, table: str, number: int, rows: pa.Table) -> None:
    """Write rows as one file of a table, metadata included."""
    filesystem, path = open_location(join(run, table))
    filesystem.create_dir(path, recursive=True)
    pq.write_table(rows, join(path, f"part-{number:06d}.parquet"), filesystem=filesystem, compression="zstd")
