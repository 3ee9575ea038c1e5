"""retry-errors: read the failed videos again, by reason if asked, and replace their rows.

    faces ──error rows──▶ retry/manifest ──as in preprocess──▶ retry/faces ──replace──▶ faces/

Each file of the table that holds such rows is rewritten and takes the old one's place by a rename. So a kill leaves every file
either as it was or as it should be, and the same command does the rest. What was made from the old faces is deleted first.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.corpus.manifest import write_manifest
from dfd_ray.errors import ConfigurationError, Reason, Status, reason_of
from dfd_ray.pipelines.preprocess import preprocess, summarise
from dfd_ray.runtime.resumable_table import require
from dfd_ray.runtime.session import ray_session
from dfd_ray.store.run import Run
from dfd_ray.store.storage import delete_folder, open_location
from dfd_ray.store.summary import NOTHING_DONE, Summary, time_job
from dfd_ray.store.tables import (
    METADATA_KEY,
    open_file,
    read_metadata,
    read_table,
    refuse_older_faces,
    replace_rows,
    table_files,
    write_file,
)

DERIVED = ("embeddings", "projection", "scores", "predictions", "models", "evaluation", "training", "checkpoints")
"""What is made from the faces, and what a killed job would resume from."""


@time_job
def retry_errors(run: Run, reasons: Iterable[str] = ()) -> Summary:
    """Run `preprocess` again for the error rows, all or those of some reasons, and replace them by the outcome."""
    wanted = set(reasons)
    for reason in sorted(wanted - set(Reason)):
        raise ConfigurationError(f"--reason {reason}: known reasons are {', '.join(Reason)}")
    require(run, "faces")
    refuse_older_faces(run)
    aside = Run(run.path("retry"), run.config)
    delete_folder(aside.location)  # of a job that was killed
    failed = find_failed(run, wanted)
    if not failed:
        notes = [NOTHING_DONE, "there is no error row to retry"]
        return replace(summarise(run, 0), job="retry-errors", notes=notes)
    manifest = read_table(run.location, "manifest")
    write_manifest(aside.location, manifest.filter(pc.is_in(manifest.column("video_id"), value_set=pa.array(failed))))
    with ray_session(run):  # so that Ray's log is kept with the run, not with the folder that is deleted
        preprocess(aside)
    mended = len(failed) - len(find_failed(aside, set()))
    if mended:
        for name in DERIVED:
            delete_folder(run.path(name))
    note_sizes(run, set(failed))
    replace_rows(run.location, "faces", read_table(aside.location, "faces"))
    delete_folder(aside.location)
    note = f"{mended} of {len(failed)} retried videos could be read now"
    notes = [note + ("; what was made from the old faces was deleted" if mended else "")]
    return replace(summarise(run, 0), job="retry-errors", notes=notes)


def note_sizes(run: Run, video_ids: set[str]) -> None:
    """Put into the manifest what size the files of some videos have now, so that the corpus is as the manifest says.

    What was made of the other videos still holds: it is compared with the sizes that the files had when they were indexed.
    """
    videos = read_table(run.location, "manifest", ["video_id", "uri", "bytes"]).to_pylist()
    sizes = {row["video_id"]: measure_file(row["uri"]) for row in videos if row["video_id"] in video_ids}
    before = {row["video_id"]: row["bytes"] for row in videos if sizes.get(row["video_id"], row["bytes"]) != row["bytes"]}
    if not before:
        return
    facts = read_metadata(run.location, "manifest")
    facts["sizes_when_indexed"] = before | facts.get("sizes_when_indexed", {})
    filesystem, _ = open_location(run.location)
    for path in table_files(run.location, "manifest"):
        with open_file(path, filesystem) as file:
            rows = file.read()
        now = [sizes.get(row["video_id"], row["bytes"]) for row in rows.select(["video_id", "bytes"]).to_pylist()]
        rows = rows.set_column(rows.column_names.index("bytes"), "bytes", pa.array(now, pa.int64()))
        metadata = (rows.schema.metadata or {}) | {METADATA_KEY: json.dumps(facts).encode()}
        write_file(run.path("manifest", posixpath.basename(path)), rows.replace_schema_metadata(metadata))


def measure_file(uri: str) -> int | None:
    """Return the size of a file in bytes."""
    filesystem, path = open_location(uri)
    size: int | None = filesystem.get_file_info(path).size
    return size


def find_failed(run: Run, reasons: set[str]) -> list[str]:
    """Return the ids of the error rows, all or those of some reasons."""
    rows = read_table(run.location, "faces", ["video_id", "status", "error"]).to_pylist()
    errors = {row["video_id"]: reason_of(row["error"]) for row in rows if row["status"] == Status.ERROR}
    return [video_id for video_id, reason in errors.items() if not reasons or reason in reasons]
