"""Nodes that die at random, every few seconds, while `preprocess`, `embed` and `predict` run; each is replaced.

Ray knows of a death some twenty seconds later, so as many nodes as there are at first are dead before it knows of one.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from dfd_ray.cli import main
from dfd_ray.config import parse_config
from dfd_ray.models.backbones import create_backbone
from dfd_ray.pipelines.model_store import export_model
from dfd_ray.tables import read_table

pytestmark = pytest.mark.slow

NODES = 3
NODE = {"num_cpus": 3, "object_store_memory": 100 * 2**20}
DEATHS = 3
"""Nodes that die during each job, if it takes so long."""
GAP = (3.0, 8.0)
"""Seconds between two deaths, at least and at most."""
LIMIT = 300.0
"""Seconds that a job may take."""
POOLS = [f"resources.{stage}.{size}=2" for stage in ("detect", "embed", "score") for size in ("min_size", "max_size")]
MANY_COMMITS = ["resources.videos_per_file=1", "resources.videos_per_task=1"]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Start a head that does no work, with the drivers beside it, and the nodes that do."""
    head = {"num_cpus": 0, "object_store_memory": NODE["object_store_memory"], "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(NODES):
            cluster.add_node(**NODE)
        yield cluster
    finally:
        cluster.shutdown()


@contextmanager
def chaos(cluster: Cluster, seed: int) -> Iterator[list[str]]:
    """Within, kill a node at random again and again, and add another; yield those that have died so far."""
    chance, over = random.Random(seed), threading.Event()
    nodes, dead = list(cluster.worker_nodes), []

    def kill() -> None:
        while len(dead) < DEATHS and not over.wait(chance.uniform(*GAP)):
            victim = nodes.pop(chance.randrange(NODES))
            cluster.remove_node(victim, allow_graceful=False)
            dead.append(victim.node_id)
            nodes.append(cluster.add_node(wait=False, **NODE))

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield dead
    finally:
        over.set()
        thread.join()


def run_job(cluster: Cluster, *words: str) -> None:
    settings = [word for setting in (*POOLS, *MANY_COMMITS) for word in ("--set", setting)]
    job = subprocess.run(
        [sys.executable, "-m", "dfd_ray.cli", *words, *settings],
        env=os.environ | {"RAY_ADDRESS": cluster.address},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert job.returncode == 0, job.stdout + job.stderr


def rows_of(run: str, table: str) -> list[dict[str, Any]]:
    """Return a table's rows in the order of their names, without the time they took, which alone may differ."""
    found = read_table(run, table)
    rows: list[dict[str, Any]] = found.select([name for name in found.column_names if name != "seconds_spent"]).to_pylist()
    return sorted(rows, key=lambda row: str(row["video_id"]))


@pytest.fixture(scope="module")
def undisturbed(preprocessed_run: Path) -> Path:
    """Finish a run without a death; its model has random weights, which score as well as others here."""
    run = str(preprocessed_run)
    config = parse_config((preprocessed_run / "config.yaml").read_text(), "config.yaml", run=run)
    module, spec = create_backbone("test_efficientnet", weights="random", image_size=64, num_classes=2)
    export_model(config, 0, module, spec, [])
    return preprocessed_run


def test_tables_are_those_of_an_undisturbed_run(
    cluster: Cluster, undisturbed: Path, small_corpus: Path, flags: list[str], tmp_path: Path
) -> None:
    run, calm = str(tmp_path / "run"), str(undisturbed)
    assert main(["index", "--run", run, "--corpus", str(small_corpus), *flags]) == 0
    with chaos(cluster, 0) as dead:
        run_job(cluster, "preprocess", "--run", run)
    assert dead
    assert rows_of(run, "faces") == rows_of(calm, "faces")

    assert main(["embed", "--run", calm]) == 0
    with chaos(cluster, 1) as dead:
        run_job(cluster, "embed", "--run", run)
    assert dead
    assert rows_of(run, "embeddings") == rows_of(calm, "embeddings")

    new = ["--run", calm, "--videos", str(small_corpus)]
    assert main(["predict", *new, "--out", str(tmp_path / "calm")]) == 0
    with chaos(cluster, 2) as dead:
        run_job(cluster, "predict", *new, "--out", str(tmp_path / "new"))
    assert dead
    for table in ("scores", "predictions"):
        assert rows_of(str(tmp_path / "new"), table) == rows_of(str(tmp_path / "calm"), table)
