"""Writing a table so that a killed job can be started again.

Ray Data's row checkpoints (`ray.data.checkpoint`) do it: with every file it writes, it commits the `video_id`s in it in two
phases, outside the table in `<run>/checkpoints/<table>/`; when the job starts again, rows that are committed are filtered
out as they are read, and files that were not committed are deleted. What a kill costs is the files being written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc
import ray.data
from ray.data import DataContext, Dataset
from ray.data.checkpoint import CheckpointConfig

from dfd_ray.errors import RunError
from dfd_ray.runtime.session import RETRIES
from dfd_ray.store.run import Run
from dfd_ray.store.storage import delete_folder, exists, open_location, write_bytes
from dfd_ray.store.tables import WRITER, check_compatible, count_rows, read_table, table_files


def is_complete(run: Run, table: str) -> bool:
    """Return whether a table has every row of the manifest, and `check_whole` has found no fault in it.

    Raises RunError if there is no manifest, if another configuration made the table, or if a video is in it twice.
    """
    expected = count_rows(run.location, "manifest")
    if not expected:
        raise RunError(f"--run {run.location} holds no manifest; run `dfd-ray index` first")
    check_compatible(run, table)
    if expected != count_rows(run.location, table):
        return False
    if exists(run.path("checkpoints", table)):  # the job died before its count, or a write that was given up came after it
        check_whole(run, table)
    return True


def require(run: Run, table: str) -> None:
    """Raise RunError, naming the job to run, unless a table is complete."""
    if not is_complete(run, table):
        raise RunError(f"{run.path(table)} is not complete; run `dfd-ray {WRITER[table]}` first")


@contextmanager
def resumable(run: Run, table: str) -> Iterator[None]:
    """Within, a dataset that starts with `read_rows` and ends with `write_rows` of this table resumes where it was killed."""
    checkpoints = run.path("checkpoints", table)
    if table_files(run.location, table) and not exists(checkpoints):
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


def read_rows(run: Run, table: str, columns: list[str] | None, rows_per_block: int) -> Dataset:
    """Return a table as a dataset, a block every `rows_per_block` videos, so that few videos are in memory at a time."""
    filesystem, _ = open_location(run.location)
    retries = {"max_retries": RETRIES}
    dataset = ray.data.read_parquet(
        table_files(run.location, table), filesystem=filesystem, columns=columns, ray_remote_args=retries
    )
    return dataset.repartition(target_num_rows_per_block=rows_per_block)


def write_rows(dataset: Dataset, run: Run, table: str, schema: pa.Schema, rows_per_file: int) -> None:
    """Write a dataset as the table, a file every `rows_per_file` videos; keep Ray Data's statistics in `<run>/logs/`."""
    filesystem, path = open_location(run.path(table))
    dataset.write_parquet(
        path,
        filesystem=filesystem,
        schema=schema,
        compression="zstd",
        min_rows_per_file=rows_per_file,
        ray_remote_args={"max_retries": RETRIES},
    )
    write_bytes(run.path("logs", f"{table}-stats.txt"), dataset.stats().encode())


def check_whole(run: Run, table: str) -> None:
    """Raise RunError unless the table has each of the manifest's videos exactly once; then forget its checkpoints."""
    expected = read_table(run.location, "manifest", ["video_id"]).column("video_id")
    found = read_table(run.location, table, ["video_id"]).column("video_id")
    missing = len(expected) - pc.sum(pc.is_in(expected, value_set=found.combine_chunks())).as_py()
    repeated = len(found) - pc.count_distinct(found).as_py()
    if missing or repeated:
        remedy = "delete that folder to start again" if repeated else "run the job again"
        raise RunError(f"{run.path(table)}: {missing} videos are missing and {repeated} are there twice; {remedy}")
    delete_folder(run.path("checkpoints", table))
