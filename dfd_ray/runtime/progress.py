"""The progress bar of a data job: videos a second, time left, and how many ended how, counted as they are done.

Ray Data's own bars count blocks; a table's files tell of videos only when hundreds are written.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from tqdm import tqdm

from dfd_ray.runtime.session import waiting
from dfd_ray.runtime.telemetry import observe_left
from dfd_ray.store.tables import count_rows

INTERVAL = 0.5
"""Seconds between two looks at the count."""
PATIENCE = 1 / 6
"""Share of `resources.wait_minutes` without a video done after which a warning is due."""
SHOWN = 5
"""Videos that such a warning names at most."""


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

    def at_work(self) -> dict[str, str]:
        """Return the videos that have been begun and not ended, and the node of each; those of dead workers among them."""
        return {video: nodes[-1] for video, nodes in self.begun.items() if nodes}


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
    the summary counts the table itself. A job in which nothing is done for long is warned of.
    """
    # Beside the driver, so that it does not die with some other node and forget which videos have killed a worker.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    counter = VideoCounter.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]
    stop = threading.Event()
    bar = ProgressBar(job, counter, total=count_rows(run, "manifest"), before=count_rows(run, table))

    def watch() -> None:
        while not stop.wait(INTERVAL):
            bar.show()
            bar.warn()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield counter
    finally:
        stop.set()
        thread.join()
        bar.show()
        bar.close()
        ray.kill(counter)


class ProgressBar:
    """What a counter has counted, on standard error and as a metric."""

    def __init__(self, job: str, counter: Any, total: int, before: int) -> None:
        self.job, self.counter, self.total, self.before = job, counter, total, before
        self.bar = tqdm(total=total, initial=before, desc=job, unit="video", mininterval=INTERVAL)
        self.patience = PATIENCE * waiting()
        self.moved, self.warned = time.monotonic(), False

    def show(self) -> None:
        """Show what has been counted by now."""
        try:
            counts = ray.get(self.counter.read.remote(), timeout=10 * INTERVAL)
        except (RayError, TimeoutError):
            return
        self.bar.set_postfix(counts, refresh=False)
        done = min(self.before + sum(counts.values()), self.total) - self.bar.n
        if done:
            self.moved, self.warned = time.monotonic(), False
        self.bar.update(done)
        observe_left(self.job, self.total - int(self.bar.n))

    def warn(self) -> None:
        """Say once, where no video has been done for long, which of them are at work."""
        if self.warned or self.bar.n == self.total or time.monotonic() - self.moved < self.patience:
            return
        self.warned = True
        try:
            at_work = ray.get(self.counter.at_work.remote(), timeout=10 * INTERVAL)
        except (RayError, TimeoutError):
            at_work = {}
        self.bar.write(f"dfd-ray {self.job}: {describe_stall(self.patience, at_work)}", file=sys.stderr)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()


def describe_stall(seconds: float, at_work: dict[str, str]) -> str:
    """Return in one line that no video was done for so long, and where faces are being looked for: video and node."""
    shown = [f"{video} (node {node[:8]})" for video, node in sorted(at_work.items())[:SHOWN]]
    more = [f"{len(at_work) - SHOWN} more"] if len(at_work) > SHOWN else []
    said = f"; at work on faces of {', '.join(shown + more)}" if shown else ""
    return (
        f"no video done in {seconds / 60:g} minutes{said}. After {waiting() / 60:g} minutes without any progress the job ends "
        "(resources.wait_minutes)"
    )
