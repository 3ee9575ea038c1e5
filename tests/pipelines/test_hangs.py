"""A stage that hangs at work: the job is given up in one line that names it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from dfd_ray.config import load_config
from dfd_ray.errors import ResourceError
from dfd_ray.runtime.session import ray_session, run_as_tasks
from dfd_ray.sections import Pool
from dfd_ray.store.run import Run

BLOCKS = 16
LAST = BLOCKS - 1


def hang_at_the_last(rows: pa.Table, flag: str) -> pa.Table:
    """Take a moment for each block, and no end for the last as long as a file is there: others share this Ray."""
    time.sleep(0.05)
    while LAST in rows["id"].to_pylist() and Path(flag).exists():
        time.sleep(0.1)
    return rows


def run(wait_minutes: float, flag: Path) -> None:
    import ray

    with ray_session(Run("run", load_config(None, [f"resources.wait_minutes={wait_minutes}"]))):
        blocks = ray.data.range(BLOCKS, override_num_blocks=BLOCKS)
        stage = {"fn_kwargs": {"flag": str(flag)}, "batch_format": "pyarrow", "batch_size": 1}
        blocks.map_batches(hang_at_the_last, **stage, **run_as_tasks(Pool())).materialize()


@pytest.fixture
def flag(tmp_path: Path) -> Iterator[Path]:
    """Make the file that keeps the stage at work, and end it with the test."""
    path = tmp_path / "flag"
    path.touch()
    yield path
    path.unlink()


@pytest.mark.slow  # it waits nine seconds
def test_a_stage_that_hangs_at_work_ends_the_job_in_one_line_that_names_it(ray: None, flag: Path) -> None:
    with pytest.raises(ResourceError, match=r"MapBatches\(hang_at_the_last\), 1 at work") as refusal:
        run(0.15, flag)
    said = str(refusal.value)
    assert said.startswith("no progress in 0.15 minutes (resources.wait_minutes)")
    assert "where some are, they hang" in said
    assert "\n" not in said
