"""Where the stages run on a cluster of three nodes: a head without CPUs, one with CPUs alone, one with a declared GPU.

The GPU is a number to the scheduler; nothing is computed on it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

pytestmark = pytest.mark.slow

DRIVER = """
import json, sys, time
import pyarrow as pa, ray
from dfd_ray.config import load_config
from dfd_ray.sections import Pool
from dfd_ray.runtime.session import run_as_actors, check_placeable, ray_session, run_as_tasks
from dfd_ray.store.run import Run

CPU_STAGE = Pool(num_cpus=1, max_size=3)
GPU_STAGE = Pool(num_cpus=1, num_gpus=0.25, min_size=4, max_size=4)

def place():
    context = ray.get_runtime_context()
    return [context.get_node_id(), len(context.get_accelerator_ids().get("GPU", [])), context.get_assigned_resources()]

def decode(rows):
    time.sleep(0.2)
    return rows.append_column("decoded", pa.array([json.dumps(place())] * len(rows)))

class Detect:
    def __call__(self, rows):
        time.sleep(0.2)
        return rows.append_column("detected", pa.array([json.dumps(place())] * len(rows)))

with ray_session(Run("run", load_config())):
    check_placeable("extract", CPU_STAGE)
    check_placeable("detect", GPU_STAGE)
    check_placeable("embed", Pool(num_cpus=2, num_gpus=8))
    rows = ray.data.range(24, override_num_blocks=24)
    rows = rows.map_batches(decode, batch_format="pyarrow", batch_size=1, **run_as_tasks(CPU_STAGE))
    rows = rows.map_batches(Detect, batch_format="pyarrow", batch_size=1, **run_as_actors(GPU_STAGE))
    print("PLACES", json.dumps([[json.loads(row["decoded"]), json.loads(row["detected"])] for row in rows.take_all()]))
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, str]]:
    """Start the nodes; yield the address, and the name of each."""
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    )
    try:
        cpu = cluster.add_node(num_cpus=4, object_store_memory=100 * 2**20)
        gpu = cluster.add_node(num_cpus=5, num_gpus=1, object_store_memory=100 * 2**20)
        yield {"address": cluster.address, "head": cluster.head_node.node_id, "cpu": cpu.node_id, "gpu": gpu.node_id}
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def answer(nodes: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a dataset of a CPU stage and a GPU stage, with the functions that the jobs use, in a driver of its own."""
    environment = os.environ | {"RAY_ADDRESS": nodes["address"]}
    said = subprocess.run(
        [sys.executable, "-c", DRIVER], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert said.returncode == 0, said.stderr
    return said


@pytest.fixture(scope="module")
def places(answer: subprocess.CompletedProcess[str]) -> list[list[Any]]:
    line = next(line for line in answer.stdout.splitlines() if line.startswith("PLACES "))
    found: list[list[Any]] = json.loads(line.removeprefix("PLACES "))
    assert len(found) == 24
    return found


def test_a_cpu_stage_takes_no_gpu(places: list[list[Any]]) -> None:
    for (_, gpus, assigned), _ in places:
        assert gpus == 0
        assert "GPU" not in assigned


def test_the_actors_of_a_gpu_stage_share_one_gpu(places: list[list[Any]], nodes: dict[str, str]) -> None:
    for _, (node, gpus, assigned) in places:
        assert node == nodes["gpu"]
        assert gpus == 1
        assert assigned["GPU"] == 0.25


def test_the_head_does_no_work(places: list[list[Any]], nodes: dict[str, str]) -> None:
    used = {place[0] for pair in places for place in pair}
    assert used <= {nodes["cpu"], nodes["gpu"]}


def test_what_no_node_can_hold_is_said_and_nothing_else(answer: subprocess.CompletedProcess[str]) -> None:
    said = [line for line in answer.stderr.splitlines() if line.startswith("dfd-ray")]
    assert len(said) == 1
    assert "embed asks for 8 GPUs a worker, no node of the cluster has more than 1" in said[0]
    assert "--set resources.embed.num_gpus=1" in said[0]


def test_what_never_comes_ends_the_job_with_the_stage_and_the_setting(nodes: dict[str, str]) -> None:
    driver = """
import sys, ray
from dfd_ray.config import load_config
from dfd_ray.errors import DfdError
from dfd_ray.sections import Pool
from dfd_ray.runtime.session import run_as_actors, check_placeable, ray_session
from dfd_ray.store.run import Run

class Embed:
    def __call__(self, rows):
        return rows

try:
    with ray_session(Run("run", load_config(None, ["resources.wait_minutes=0.1"]))):
        check_placeable("embed", Pool(num_gpus=8))
        ray.data.range(4).map_batches(Embed, batch_size=1, **run_as_actors(Pool(num_gpus=8))).materialize()
except DfdError as error:
    sys.exit(f"REFUSED {error}")
"""
    environment = os.environ | {"RAY_ADDRESS": nodes["address"]}
    said = subprocess.run(
        [sys.executable, "-c", driver], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert "waiting for one, 0.1 minutes at most" in said.stderr
    [line] = [line for line in said.stderr.splitlines() if line.startswith("REFUSED")]
    assert "no progress in 0.1 minutes (resources.wait_minutes)" in line
    assert "MapBatches(Embed)" in line


def test_training_that_finds_no_room_ends_in_one_line(
    nodes: dict[str, str], draw_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = draw_run(tmp_path / "run", videos=2)
    settings = ["train.workers=2", "resources.train.num_gpus=1", "resources.wait_minutes=0.3"]
    command = [sys.executable, "-m", "dfd_ray.cli", "train", "--run", str(run)]
    said = subprocess.run(
        [*command, *(word for setting in settings for word in ("--set", setting))],
        env=os.environ | {"RAY_ADDRESS": nodes["address"]}, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert said.returncode == 2, said.stderr
    assert "training asks for 2 GPUs (2 workers, and a task that feeds them), Ray has 1" in said.stderr
    assert said.stderr.splitlines()[-1].startswith("dfd-ray train: no room for 2 training workers in 0.3 minutes")
