"""A node of three that dies in the middle of preprocessing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from dfd_ray.tables import count_rows, read_table

pytestmark = pytest.mark.slow

STORE = 100 * 2**20
ACTORS = ("--set", "resources.detect.min_size=2", "--set", "resources.detect.max_size=2")
"""One a node: a CPU of each is for the tasks that write, and one for what Ray Data itself needs."""
LIMIT = 300.0
"""Seconds."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Start a head that does no work, with the driver beside it, and two nodes that do."""
    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster
    finally:
        cluster.shutdown()


def start(cluster: Cluster, run: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dfd_ray.cli", "preprocess", "--run", run, *ACTORS]
    environment = os.environ | {"RAY_ADDRESS": cluster.address}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_until(job: subprocess.Popen[str], holds: Any) -> None:
    deadline = time.monotonic() + LIMIT
    while not holds():
        assert job.poll() is None, job.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def finish(job: subprocess.Popen[str]) -> None:
    output, _ = job.communicate(timeout=LIMIT)
    assert job.returncode == 0, output


def rows_of(run: str) -> list[dict[str, Any]]:
    """Return a table's rows in the order of their names, without the time they took, which alone may differ."""
    rows = read_table(run, "faces").drop_columns("seconds_spent").to_pylist()
    return sorted(rows, key=lambda row: row["video_id"])


def test_a_node_that_dies_costs_no_video(cluster: Cluster, indexed: str, preprocessed_run: Path) -> None:
    cluster.add_node(num_cpus=3, object_store_memory=STORE)
    victim = cluster.add_node(num_cpus=3, object_store_memory=STORE)
    job = start(cluster, indexed)
    wait_until(job, lambda: count_rows(indexed, "faces") >= 3)
    cluster.remove_node(victim, allow_graceful=False)
    finish(job)
    assert rows_of(indexed) == rows_of(str(preprocessed_run))
