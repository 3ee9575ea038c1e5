"""Writing a table so that a killed job can be started again.

    read_rows ──▶ the job's stages ──▶ write_rows ──▶ check_whole
                                           └──▶ checkpoints/<table>/

Ray Data's row checkpoints (`ray.data.checkpoint`) do the work. With every file, Ray Data commits the `video_id`s in it in two
phases, outside the table in `<run>/checkpoints/<table>/`. When the job starts again, Ray Data filters out committed rows as it
reads them and deletes files that were not committed. A kill loses only the files being written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
import ray.data
from ray.actor import ActorHandle
from ray.data import DataContext, Dataset
from ray.data.checkpoint import CheckpointConfig

from dfd_ray.errors import RunError
from dfd_ray.runtime.progress import show_progress
from dfd_ray.runtime.session import RETRIES, ray_session
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.sources import UPSTREAM, digest_sources, refuse_changed
from dfd_ray.store.storage import delete_folder, exists, open_location, write_bytes
from dfd_ray.store.tables import (
    WRITER,
    check_compatible,
    count_rows,
    read_table,
    refuse_older_faces,
    survey_table,
    table_files,
    with_metadata,
)


def is_complete(run: Run, table: str) -> bool:
    """Return whether a table has every row of the manifest, and `check_whole` has found no fault in it.

    Raises RunError if there is no manifest, if another configuration made the table, if it or the table that it is made from
    was made from something else than what is there now, or if a video is in it twice.
    """
    expected = count_rows(run.location, "manifest")
    if not expected:
        raise RunError(f"--run {run.location} holds no manifest; run `dfd-ray index` first")
    rows, promises = survey_table(run.location, table)
    check_compatible(run, table, promises)
    for before in UPSTREAM[table]:
        refuse_changed(run, before)
    refuse_changed(run, table, promises)
    if expected != rows:
        return False
    if exists(run.path("checkpoints", table)):  # the job died before its check, or an abandoned write was committed after it
        check_whole(run, table)
    return True


def require(run: Run, table: str) -> None:
    """Raise RunError, naming the job to run, unless a table is complete."""
    if not is_complete(run, table):
        raise RunError(f"{run.path(table)} is not complete; run `dfd-ray {WRITER[table]}` first")


@contextmanager
def fill_table(job: str, run: Run, table: str) -> Iterator[ActorHandle]:
    """Start Ray, show progress, and at the end check that the table is whole; yield the counter that workers report to.

    Within, a dataset that starts with `read_rows` and ends with `write_rows` of this table resumes where it was killed.
    """
    with ray_session(run), _keep_checkpoints(run, table), show_progress(job, run.location, table) as counter:
        yield counter
        check_whole(run, table)


@contextmanager
def _keep_checkpoints(run: Run, table: str) -> Iterator[None]:
    checkpoints = run.path("checkpoints", table)
    if table == "faces":
        refuse_older_faces(run)
    if not table_files(run.location, table):
        delete_folder(checkpoints)  # of a table that was deleted by hand: its rows would be left out
    elif not exists(checkpoints):
        raise RunError(f"{run.path(table)} is incomplete and its checkpoints are gone; delete that folder to start again")
    context = DataContext.get_current()
    before = context.checkpoint_config
    filesystem, path = open_location(checkpoints)
    context.checkpoint_config = CheckpointConfig(
        "video_id", path, delete_checkpoint_on_success=False, override_filesystem=filesystem
    )
    try:
        yield
    finally:
        context.checkpoint_config = before


def read_rows(run: Run, table: str, columns: list[str], rows_per_block: int) -> Dataset:
    """Return a table as a dataset in blocks of `rows_per_block` videos, so that few videos are in memory at a time."""
    return read_files(run, table, columns, max_retries=RETRIES).repartition(target_num_rows_per_block=rows_per_block)


def read_files(run: Run, table: str, columns: list[str], **ray_remote_args: object) -> Dataset:
    """Return columns of a table as a dataset; one that a file of another version lacks is null in its rows."""
    return ray.data.read_parquet(
        table_files(run.location, table),
        filesystem=open_location(run.location)[0],
        # Given as `columns`, those that the first file lacks would be left out of all.
        schema=pa.schema([SCHEMAS[table].field(name).with_nullable(True) for name in columns]),
        partitioning=None,
        ray_remote_args=ray_remote_args,
    )


def write_rows(
    dataset: Dataset, run: Run, table: str, schema: pa.Schema, made_from: Mapping[str, str] | None = None, **facts: object
) -> None:
    """Write a dataset as the table, a file every `resources.videos_per_file` videos, with `facts` in the metadata.

    There are also the digests of what it is made from, those of `digest_sources` if None are given. Keeps Ray Data's
    statistics in `<run>/logs/`.
    """
    made_from = digest_sources(run, table) if made_from is None else made_from
    filesystem, path = open_location(run.path(table))
    dataset.write_parquet(
        path,
        filesystem=filesystem,
        schema=with_metadata(schema, table, run.config, made_from=made_from, **facts),
        compression="zstd",
        min_rows_per_file=run.config.resources.videos_per_file,
        ray_remote_args={"max_retries": RETRIES},
    )
    write_bytes(run.path("logs", f"{table}-stats.txt"), dataset.stats().encode())


def check_whole(run: Run, table: str) -> None:
    """Raise RunError unless the table has each of the manifest's videos exactly once; then delete its checkpoints."""
    expected = read_table(run.location, "manifest", ["video_id"]).column("video_id")
    found = read_table(run.location, table, ["video_id"]).column("video_id")
    missing = len(expected) - pc.sum(pc.is_in(expected, value_set=found.combine_chunks())).as_py()
    repeated = len(found) - pc.count_distinct(found).as_py()
    if missing or repeated:
        remedy = "delete that folder to start again" if repeated else "run the job again"
        raise RunError(f"{run.path(table)}: {missing} videos are missing and {repeated} are there twice; {remedy}")
    delete_folder(run.path("checkpoints", table))
