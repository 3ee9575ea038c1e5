"""A stage that hangs at work: the job is given up in one line that names it."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest

from dfd_ray.config import load_config
from dfd_ray.errors import ResourceError
from dfd_ray.pipelines.cluster import ray_session, tasks
from dfd_ray.sections import Pool

BLOCKS = 16
LAST = BLOCKS - 1


def hang_at_the_last(rows: pa.Table) -> pa.Table:
    """Take a moment for each block, and no end for the last."""
    time.sleep(600 if LAST in rows["id"].to_pylist() else 0.05)
    return rows


def run(wait_minutes: float) -> None:
    import ray

    with ray_session(load_config(None, [f"resources.wait_minutes={wait_minutes}"])):
        blocks = ray.data.range(BLOCKS, override_num_blocks=BLOCKS)
        blocks.map_batches(hang_at_the_last, batch_format="pyarrow", batch_size=1, **tasks(Pool())).materialize()


def test_a_stage_that_hangs_at_work_ends_the_job_in_one_line_that_names_it(ray: None) -> None:
    with pytest.raises(ResourceError, match=r"MapBatches\(hang_at_the_last\), 1 at work") as refusal:
        run(0.25)
    said = str(refusal.value)
    assert said.startswith("no progress in 0.25 minutes (resources.wait_minutes)")
    assert "where some are, they hang" in said
    assert "\n" not in said
