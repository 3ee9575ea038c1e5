"""Nodes that die at random, every few seconds, while `preprocess`, `embed` and `predict` run; each is replaced.

Ray knows of a death some twenty seconds later, so two of the three nodes that there are at first may be dead before it knows
of one.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from dfd_ray.cli import main
from dfd_ray.config import parse_config
from dfd_ray.models.backbones import create_backbone
from dfd_ray.store.model_files import export_model
from dfd_ray.store.run import Run
from dfd_ray.store.tables import read_table

pytestmark = pytest.mark.slow

NODES = 3
NODE = {"num_cpus": 3, "object_store_memory": 100 * 2**20}
DEATHS = 2
"""Nodes that die during each job, if it takes so long."""
GAP = (5.0, 10.0)
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


def run_job(cluster: Cluster, seed: int, *words: str) -> None:
    """Run a job to its end, while nodes are killed at random and replaced."""
    chance = random.Random(seed)
    settings = [word for setting in (*POOLS, *MANY_COMMITS) for word in ("--set", setting)]
    with tempfile.TemporaryFile("w+") as output:
        job = subprocess.Popen(
            [sys.executable, "-m", "dfd_ray.cli", *words, *settings],
            env=os.environ | {"RAY_ADDRESS": cluster.address},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deaths = kill_nodes(cluster, job, chance)
            job.wait(LIMIT)
        finally:
            job.kill()
        output.seek(0)
        assert job.returncode == 0, output.read()
    assert deaths


def kill_nodes(cluster: Cluster, job: subprocess.Popen[bytes], chance: random.Random) -> int:
    """Kill a node at random again and again, and add another each time, until the job ends or DEATHS; return how many died."""
    for death in range(DEATHS):
        try:
            job.wait(chance.uniform(*GAP))
            return death
        except subprocess.TimeoutExpired:
            cluster.remove_node(
                chance.choice(sorted(cluster.worker_nodes, key=lambda node: node.node_id)), allow_graceful=False
            )
            cluster.add_node(wait=False, **NODE)
    return DEATHS


def rows_of(run: str, table: str) -> list[dict[str, Any]]:
    """Return a table's rows in the order of their names, without the time they took, which alone may differ."""
    found = read_table(run, table)
    rows: list[dict[str, Any]] = found.select([name for name in found.column_names if name != "seconds_spent"]).to_pylist()
    return sorted(rows, key=lambda row: str(row["video_id"]))


@pytest.fixture(scope="module")
def undisturbed(preprocessed_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a run without a death a model of random weights, which score as well as others here."""
    run = Path(shutil.copytree(preprocessed_run, tmp_path_factory.mktemp("undisturbed") / "run"))
    config = parse_config((run / "config.yaml").read_text(), "config.yaml", run=str(run))
    module, spec = create_backbone("test_efficientnet", weights="random", image_size=64, num_classes=2)
    export_model(Run(str(run), config), 0, module, spec, [])
    return run


def test_tables_are_those_of_an_undisturbed_run(
    cluster: Cluster, undisturbed: Path, small_corpus: Path, flags: list[str], near: Callable[..., Any], tmp_path: Path
) -> None:
    run, calm = str(tmp_path / "run"), str(undisturbed)
    assert main(["index", "--run", run, "--corpus", str(small_corpus), *flags]) == 0
    run_job(cluster, 0, "preprocess", "--run", run)
    assert rows_of(run, "faces") == rows_of(calm, "faces")

    assert main(["embed", "--run", calm]) == 0
    run_job(cluster, 1, "embed", "--run", run)
    assert rows_of(run, "embeddings") == near(rows_of(calm, "embeddings"), 2.0**-10)

    new = ["--run", calm, "--videos", str(small_corpus)]
    assert main(["predict", *new, "--out", str(tmp_path / "calm")]) == 0
    run_job(cluster, 2, "predict", *new, "--out", str(tmp_path / "new"))
    for table in ("scores", "predictions"):
        assert rows_of(str(tmp_path / "new"), table) == near(rows_of(str(tmp_path / "calm"), table), 1e-6)
