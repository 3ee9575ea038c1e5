"""The progress bar of a data job: videos a second, time left, and how many ended how, counted as they are done.

Ray Data's own bars count blocks; a table's files tell of videos only when hundreds are written.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from tqdm import tqdm

from dfd_ray.tables import count_rows

INTERVAL = 0.5
"""Seconds between two looks at the count."""


@ray.remote(num_cpus=0)
class VideoCounter:
    """Counts the videos done, by status, and knows on which nodes each of those at work has been begun."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.begun: dict[str, list[str]] = defaultdict(list)

    def begin(self, video: str, node: str) -> int:
        """Return how often a video has been begun without an end, this time included, and no node died of or with it."""
        before = self.begun[video]
        alive = {one["NodeID"] for one in ray.nodes() if one["Alive"]} if before else set()
        deaths = sum(one in alive for one in before)
        before.append(node)
        return deaths + 1

    def end(self, video: str) -> None:
        """Note that whoever began a video has survived it."""
        del self.begun[video]

    def add(self, statuses: list[str]) -> None:
        """Count some videos."""
        self.counts.update(statuses)

    def read(self) -> dict[str, int]:
        """Return the number of videos by status."""
        return dict(self.counts)


def report_done(counter: Any, statuses: Iterable[str]) -> None:
    """Tell a counter of videos done, without waiting for it; a job without one counts nothing."""
    if counter is not None:
        counter.add.remote(list(statuses))


@contextmanager
def survived(counter: Any, video: str, attempts: int) -> Iterator[bool]:
    """Yield whether a video may be tried: not if `attempts` workers have begun it and none has come to the end of this context.

    Workers that died with their node do not count. Without a counter, or with one that died, it may.
    """
    try:
        here = ray.get_runtime_context().get_node_id() if counter is not None else ""
        allowed = counter is None or ray.get(counter.begin.remote(video, here)) <= attempts
    except RayError:
        allowed = True
    try:
        yield allowed
    finally:
        if counter is not None and allowed:  # one that was refused stays so when its task is tried again for another's sake
            counter.end.remote(video)


@contextmanager
def progress_bar(job: str, run: str, table: str) -> Iterator[Any]:
    """Show a bar within, and yield the counter that the job's workers tell of what they have done.

    It starts at what an earlier run has committed. It is for looking at: a video that is tried again counts twice, and
    the summary counts the table itself.
    """
    # Beside the driver, so that it does not die with some other node and forget which videos have killed a worker.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    counter = VideoCounter.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]
    stop = threading.Event()
    total, before = count_rows(run, "manifest"), count_rows(run, table)
    bar = tqdm(total=total, initial=before, desc=job, unit="video", mininterval=INTERVAL)

    def show() -> None:
        try:
            counts = ray.get(counter.read.remote(), timeout=10 * INTERVAL)
        except (RayError, TimeoutError):
            return
        bar.set_postfix(counts, refresh=False)
        bar.update(min(before + sum(counts.values()), total) - bar.n)

    def watch() -> None:
        while not stop.wait(INTERVAL):
            show()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield counter
    finally:
        stop.set()
        thread.join()
        show()
        bar.close()
        ray.kill(counter)
