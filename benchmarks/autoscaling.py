"""A cluster on one machine that grows and shrinks with `preprocess`. Ray's own autoscaler starts processes as its nodes.

    python -m benchmarks.autoscaling [FOLDER]

The cluster starts without a CPU. Nodes are added when work queues, actors start on them, and the nodes leave when no work is
left. `docs/images/autoscaling.svg` shows when nodes come and go. It does not show speed, because all nodes share the cores of
one machine. Without a folder of DFDC-shaped parts, the benchmark makes the demo corpus.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FakeMultiNodeProvider
from ray.autoscaler.v2.sdk import get_cluster_status

from benchmarks.ports import free_ports
from dfd_ray.cli import main as dfd_ray
from dfd_ray.demo import make_demo_corpus
from dfd_ray.store.tables import count_rows

FIGURE = Path(__file__).parent.parent / "docs" / "images" / "autoscaling.svg"
NODES = 3
"""Most nodes, besides the head."""
CPUS = 2
"""CPUs that a node offers the scheduler."""
STORE = 100 * 2**20
"""Bytes of a node's object store."""
IDLE_SECONDS = 20.0
"""A node leaves after this long without work."""
ENVIRONMENT = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",  # as `ray up` and KubeRay have it
    "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}
SETUP = ("initialization", "setup", "head_setup", "worker_setup")
"""Commands that real machines would need. Ray wants a list for each, even if it is empty."""
FRAMES = ("preprocess.frames_real=20", "preprocess.frames_fake=10", "preprocess.search_every=1")
TASKS = ("resources.videos_per_task=1", "resources.videos_per_file=4")
"""Few videos per task, so that tasks queue."""
JOB_ENVIRONMENT = {"RAY_AUTH_MODE": "disabled", "RAY_DATA_MIN_GAP_BETWEEN_AUTOSCALING_REQUESTS": "2"}
"""Ray Data asks for nodes every 10 seconds by default. Here nodes start faster."""
LIMIT = 300.0
"""Most seconds of a job."""


@dataclass(frozen=True)
class Look:
    """The state of the cluster at one moment."""

    seconds: float
    """Since the start of the job."""
    nodes: int
    """Without the head."""
    busy: float
    """CPUs held by tasks and actors."""
    waiting: int
    """Tasks and actors without a node."""
    videos: int
    """Rows in the table."""


def make_cluster_config(address: str) -> dict[str, Any]:
    """Return the equivalent of `cluster.yaml` for nodes that are processes of this machine."""
    head, worker = "ray.head.default", "cpu"
    return {
        "cluster_name": "one-machine",
        "max_workers": NODES,
        "idle_timeout_minutes": IDLE_SECONDS / 60,
        "upscaling_speed": 1.0,
        "provider": {
            "type": "external",  # by its own name, Ray looks for a file that the wheel lacks
            "module": f"{FakeMultiNodeProvider.__module__}.{FakeMultiNodeProvider.__name__}",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "head_node_id": FAKE_HEAD_NODE_ID,
            "launch_multiple": True,
            "gcs_address": address,
        },
        "cluster_synced_files": [],
        **{f"{kind}_commands": [] for kind in SETUP},
        "head_node_type": head,
        "available_node_types": {
            head: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            worker: {
                "resources": {"CPU": CPUS, "object_store_memory": STORE},
                "node_config": {},
                "min_workers": 0,
                "max_workers": NODES,
            },
        },
    }


@contextmanager
def autoscaling_cluster(folder: Path) -> Iterator[str]:
    """Start a head without CPUs but with an autoscaler, and yield its address.

    `ray.cluster_utils.AutoscalingCluster` opens a file that the wheel lacks, and ends every other Ray on the machine.
    `folder` must be short: the path of a socket has at most 107 characters.
    """
    port, client_port = free_ports(2)
    address = f"127.0.0.1:{port}"
    (folder / "cluster.json").write_text(json.dumps(make_cluster_config(address)))
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--node-ip-address=127.0.0.1"]
    command += [f"--port={port}", f"--autoscaling-config={folder / 'cluster.json'}", f"--temp-dir={folder / 'ray'}"]
    command += ["--num-cpus=0", f"--object-store-memory={STORE}", "--include-dashboard=false"]
    command += [f"--ray-client-server-port={client_port}", "--min-worker-port=0", "--max-worker-port=0"]
    command += ["--dashboard-agent-listen-port=0", "--metrics-export-port=0", "--disable-usage-stats"]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | ENVIRONMENT
    with (folder / "output").open("w") as output:
        head = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        await_head(head, folder / "output")
        yield address
    finally:
        end_family(head)


def await_head(head: subprocess.Popen[bytes], output: Path) -> None:
    """Wait until Ray reports that it has started. The autoscaler has started by then, too."""
    deadline = time.monotonic() + LIMIT
    while "Ray runtime started" not in (said := output.read_text()):
        if head.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(said)
        time.sleep(0.5)


def end_family(head: subprocess.Popen[bytes]) -> None:
    """End a head and every process it started, which includes the nodes."""
    if head.poll() is not None:
        return
    family = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
    head.terminate()
    for process in psutil.wait_procs(family, timeout=20)[1]:
        process.kill()
    head.wait()


def look(address: str, run: str, started: float) -> Look:
    """Return the state of the cluster now."""
    status = get_cluster_status(address)
    nodes = [node for node in [*status.active_nodes, *status.idle_nodes] if node.instance_id != FAKE_HEAD_NODE_ID]
    demand = status.resource_demands.ray_task_actor_demand
    return Look(
        seconds=round(time.monotonic() - started, 1),
        nodes=len(nodes),
        busy=sum(node.used_resources().get("CPU", 0.0) for node in nodes),
        waiting=sum(bundle.count for one in demand for bundle in one.bundles_by_count),
        videos=count_rows(run, "faces"),
    )


def watch(address: str, run: str) -> list[Look]:
    """Run `preprocess` in its own process, and look every second until it has ended and the nodes have left."""
    words = [word for setting in (*FRAMES, *TASKS) for word in ("--set", setting)]
    command = [sys.executable, "-m", "dfd_ray.cli", "preprocess", "--run", run, *words]
    started = time.monotonic()
    looks = [look(address, run, started)]
    environment = os.environ | JOB_ENVIRONMENT | {"RAY_ADDRESS": address}
    job = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while job.poll() is None or looks[-1].nodes:
            if looks[-1].seconds > LIMIT:
                raise TimeoutError(f"{looks[-1]}")
            time.sleep(1)
            looks.append(look(address, run, started))
    finally:
        job.kill()
        said, _ = job.communicate()
    if job.returncode:
        raise RuntimeError(said)
    return looks


def count_nodes_used(run: str) -> int:
    """Return the number of nodes that ran detection actors, as Ray Data reports it for the finished job."""
    said = (Path(run) / "logs" / "faces-stats.txt").read_text()
    found = re.search(r"MapBatches\(ExtractAndDetect\).*?(\d+) nodes used", said, re.DOTALL)
    assert found is not None, said
    return int(found[1])


def draw(looks: list[Look], path: Path) -> None:
    """Write the nodes, the CPUs held and the videos done against the time, as SVG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "autoscaling"})
    seconds = [one.seconds for one in looks]
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(8, 4.5), sharex=True, layout="constrained")
    above.fill_between(
        seconds, [CPUS * one.nodes for one in looks], step="post", alpha=0.25, label=f"CPUs of the nodes, {CPUS} each"
    )
    above.step(seconds, [one.busy for one in looks], where="post", label="held by tasks and actors")
    above.step(seconds, [one.waiting for one in looks], where="post", linestyle=":", label="tasks and actors without room")
    above.set(ylabel="CPUs", ylim=(0, CPUS * NODES + 0.5))
    above.legend(loc="upper left", fontsize="small")
    below.step(seconds, [one.videos for one in looks], where="post")
    below.set(xlabel="seconds since `dfd-ray preprocess` was given", ylabel="videos in faces/")
    for axis in (above, below):
        axis.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None, "Description": "python -m benchmarks.autoscaling"})


def main() -> None:
    """Index a corpus, preprocess it on the cluster, and draw what was seen."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.autoscaling", description="Nodes that come and go with the work"
    )
    parser.add_argument("corpus", nargs="?", help="DFDC-shaped parts; default the demo corpus")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dfd-", dir="/tmp") as name:
        folder = Path(name)
        run, corpus = str(folder / "run"), options.corpus or str(make_demo_corpus(folder / "demo-corpus"))
        assert dfd_ray(["index", "--run", run, "--corpus", corpus]) == 0
        with autoscaling_cluster(folder) as address:
            looks = watch(address, run)
        draw(looks, FIGURE)
        most = max(one.nodes for one in looks)
        print(f"{looks[-1].videos} videos, {most} nodes at most, {count_nodes_used(run)} of them worked; {FIGURE}")


if __name__ == "__main__":
    main()
