"""Is `dfd-ray plan` right? Its arithmetic and a simulation, beside `preprocess` measured on clusters of one to four nodes.

    python -m benchmarks.capacity [FOLDER OF DFDC-SHAPED PARTS]

Without a folder, the benchmark makes the demo corpus. The nodes are processes of this machine with one actor each. If there are
more nodes than cores, they share the cores, and the plan is made for the cores. The cost of a frame is measured first, stage by
stage, on as many cores at once as the nodes will use, because busy cores slow each other down. All three numbers leave out
start-up: they are the time for every video twice minus that for every video once.

Unlike the arithmetic, the simulation knows that a task holds several videos and cannot be split, so that some nodes wait for
the last task.
"""

from __future__ import annotations

import heapq
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

from ray.cluster_utils import Cluster

from benchmarks.machine import keep_result
from benchmarks.preprocess import SETTINGS, Row, choose_videos, measure_stages, time_job
from dfd_ray.config import Config
from dfd_ray.demo import make_demo_corpus
from dfd_ray.pipelines.plan import make_plan
from dfd_ray.runtime.session import HELPER_CPUS
from dfd_ray.sections import Pool
from dfd_ray.stages.extract import frames_wanted

NODES = (1, 2, 3, 4)
CORES = os.cpu_count() or 1
STORE = 200 * 2**20
"""Bytes of a node's object store."""


def measure_rates(rows: list[Row], busy: int) -> dict[str, float]:
    """Return frames per second and core of each stage while `busy` cores work."""
    with get_context("spawn").Pool(busy) as pool:
        found = pool.map(measure_stages, [rows[start::busy] for start in range(busy)], chunksize=1)
    names = {"decode": "decode", "detect": "to_rgb, detect, crop, encode"}
    return {stage: sum(rates[name] for rates in found) / busy for stage, name in names.items()}


def simulate(rows: list[Row], nodes: int, rates: dict[str, float], videos_per_task: int) -> float:
    """Return the seconds until the last task ends, if each task goes to the first free node."""
    seconds = [
        sum(frames_wanted(row["label"], SETTINGS.preprocess) for row in rows[start : start + videos_per_task])
        * sum(1 / rate for rate in rates.values())
        for start in range(0, len(rows), videos_per_task)
    ]
    share = min(1.0, CORES / nodes)  # of a core, for each node
    free = [0.0] * nodes
    for needed in seconds:
        heapq.heapreplace(free, free[0] + needed / share)
    return max(free)


@contextmanager
def start_cluster(nodes: int) -> Iterator[None]:
    """Start a head that does no work, and some nodes. RAY_ADDRESS names the head, as for every job on a cluster."""
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False},
    )
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=1 + HELPER_CPUS, object_store_memory=STORE)
        os.environ["RAY_ADDRESS"] = cluster.address
        yield
    finally:
        os.environ.pop("RAY_ADDRESS", None)
        cluster.shutdown()


def measure(rows: list[Row], nodes: int) -> float:
    """Return the seconds that the job takes for the videos on some nodes, without start-up."""
    pool = Pool(min_size=nodes, max_size=nodes)
    config: Config = SETTINGS.model_copy(update={"resources": SETTINGS.resources.model_copy(update={"detect": pool})})
    with tempfile.TemporaryDirectory() as scratch, start_cluster(nodes):
        seconds = time_job(rows, Path(scratch), config)
    return seconds["twice"] - seconds["once"]


def main() -> None:
    """Measure, print, and keep the result."""
    with tempfile.TemporaryDirectory() as scratch:
        corpus = sys.argv[1] if len(sys.argv) > 1 else str(make_demo_corpus(Path(scratch) / "demo-corpus"))
        rows = choose_videos(str(Path(corpus).absolute()))
        rates = {busy: measure_rates(rows, busy) for busy in {min(nodes, CORES) for nodes in NODES}}
        real = sum(row["label"] == "REAL" for row in rows) / len(rows)
        results = []
        for nodes in NODES:
            busy = min(nodes, CORES)
            plan = make_plan(SETTINGS, len(rows), real, busy, 0, rates[busy])
            once, twice = (simulate(rows * times, nodes, rates[busy], SETTINGS.resources.videos_per_task) for times in (1, 2))
            found = {"plan": 3600 * plan.hours_of("preprocess")[0], "simulated": twice - once, "measured": measure(rows, nodes)}
            results.append({"nodes": nodes, "seconds": found})
            print(results[-1], file=sys.stderr, flush=True)
        by_busy = {f"{busy} busy": found for busy, found in rates.items()}
        keep_result(
            "capacity", {"videos": len(rows), "cores": CORES, "frames_per_second_and_core": by_busy, "results": results}
        )


if __name__ == "__main__":
    main()
