"""How far a job is: one bar for all of them, and the counter of videos that a data job's workers report to.

Ray Data's own bars count blocks, and a table's files count videos only by the hundred.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from tqdm import tqdm

from dfd_ray.runtime.ray_internals import delete_note, delete_notes, identify, list_notes, read_note, write_note
from dfd_ray.runtime.session import read_wait_limit
from dfd_ray.runtime.telemetry import observe_left
from dfd_ray.runtime.terminal import error_stream, warn
from dfd_ray.store.tables import count_rows

INTERVAL = 0.5
"""Seconds between two looks at the count."""
LINE_SECONDS = 10.0
"""Seconds between two lines where standard error is no terminal."""
PATIENCE = 1 / 6
"""Share of `resources.wait_minutes` without a finished video after which a job warns."""
SHOWN = 5
"""Most videos that such a warning names."""


class Bar:
    """How far a job is, on standard error: a bar on a terminal; elsewhere a line every `LINE_SECONDS`, and one at the end."""

    def __init__(self, job: str, unit: str, total: int = 0, done: int = 0) -> None:
        self.job, self.unit, self.total, self.done, self.remark = job, unit, total, done, ""
        self.before, self.started = done, time.monotonic()
        self.printed = self.started
        stream = error_stream()
        self.drawn = (
            tqdm(total=total, initial=done, desc=job, unit=unit, mininterval=INTERVAL, file=stream) if stream.isatty() else None
        )

    def show(self, done: int, remark: str = "") -> None:
        """Show that `done` of `total` are done, and a remark."""
        self.done, self.remark = done, remark
        if self.drawn is not None:
            self.drawn.total = self.total
            self.drawn.set_postfix_str(remark, refresh=False)
            self.drawn.update(done - self.drawn.n)
        elif time.monotonic() - self.printed >= LINE_SECONDS:
            self.printed = time.monotonic()
            warn(self.describe())

    def describe(self) -> str:
        """Return the job, the done and the total, the rate, the time left, or at the end the time it took, and the remark."""
        seconds = time.monotonic() - self.started
        rate = (self.done - self.before) / seconds if seconds else 0.0
        parts = [f"{self.job}: {self.done}/{self.total} {self.unit}s"]
        if rate:
            parts.append(f"{1 / rate:.0f} s/{self.unit}" if rate < 0.1 else f"{rate:.2f} {self.unit}s/s")
        if self.done >= self.total:
            parts.append(f"in {tqdm.format_interval(seconds)}")
        elif rate:
            parts.append(f"{tqdm.format_interval((self.total - self.done) / rate)} left")
        return ", ".join([*parts, *([self.remark] if self.remark else [])])

    def write(self, line: str) -> None:
        """Print a line on standard error, above the bar."""
        tqdm.write(line, file=error_stream())

    def close(self) -> None:
        """Leave the bar as it is, or print the last line."""
        if self.drawn is not None:
            self.drawn.close()
        else:
            warn(self.describe())


@contextmanager
def call_every(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    """Call `action` every so many seconds within, in a thread, and once more at the end."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(seconds):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        action()


@ray.remote(num_cpus=0)
class VideoCounter:
    """Counts finished videos by status. The bar hangs on it, and nothing else: like any process, it may die."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, statuses: list[str]) -> None:
        """Count some videos."""
        self.counts.update(statuses)

    def read(self) -> dict[str, int]:
        """Return the number of videos by status."""
        return dict(self.counts)


def report_done(counter: ActorHandle | None, statuses: Iterable[str]) -> None:
    """Report finished videos to a counter without waiting for it; without a counter, do nothing."""
    if counter is not None:
        counter.add.remote(list(statuses))


@contextmanager
def try_video(counter: ActorHandle | None, video: str, attempts: int) -> Iterator[bool]:
    """Yield whether a video may be tried: not if `attempts` workers have started it and none reached the end of this context.

    Workers that died with their node do not count. Without a counter, a video may be tried. The counter names the job, and may
    be dead: who has started a video is kept with Ray's own server. A start that the server cannot note is not counted.
    """
    if counter is None:
        yield True
        return
    key, allowed = f"{identify(counter)}/{video}", True
    with suppress(RayError):  # the video has no part in this
        nodes = read_note(key).split()
        alive = {one["NodeID"] for one in ray.nodes() if one["Alive"]} if nodes else set()
        allowed = sum(one in alive for one in nodes) < attempts
        if allowed:
            write_note(key, " ".join([*nodes, ray.get_runtime_context().get_node_id()]))
    try:
        yield allowed
    finally:
        if allowed:  # a refused video stays refused when its task is tried again for another video
            with suppress(RayError):
                delete_note(key)


def list_begun(counter: ActorHandle) -> dict[str, str]:
    """Return the unfinished videos and the node of each, those of dead workers included."""
    start = f"{identify(counter)}/"
    nodes = {key.removeprefix(start): read_note(key).split() for key in list_notes(start)}
    return {video: names[-1] for video, names in nodes.items() if names}


@contextmanager
def show_progress(job: str, run: str, table: str) -> Iterator[ActorHandle]:
    """Show a bar within, and yield the counter that the job's workers report to.

    The bar starts at what an earlier start of the job has committed. It counts a video that is tried again twice; the
    summary counts the table itself. It warns when no video is finished for long.
    """
    # On the driver's node, so that the death of another node does not stop the bar.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    counter = VideoCounter.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]
    bar = ProgressBar(job, counter, total=count_rows(run, "manifest"), before=count_rows(run, table))
    try:
        with closing(bar.bar), call_every(INTERVAL, bar.look):
            yield counter
    finally:
        with suppress(RayError):  # what is left is small, and the job's own error must be heard
            delete_notes(f"{identify(counter)}/")
        ray.kill(counter)


class ProgressBar:
    """Shows what a counter has counted, on standard error and as a metric."""

    def __init__(self, job: str, counter: ActorHandle, total: int, before: int) -> None:
        self.job, self.counter, self.total, self.before = job, counter, total, before
        self.bar = Bar(job, "video", total, before)
        self.patience = PATIENCE * read_wait_limit()
        self.moved, self.warned, self.dead = time.monotonic(), False, False

    def look(self) -> None:
        """Show what has been counted by now; warn where that has not changed for long."""
        self.show()
        self.warn()

    def show(self) -> None:
        """Show what has been counted by now."""
        try:
            counts = ray.get(self.counter.read.remote(), timeout=10 * INTERVAL)
        except ActorDiedError:
            self.say_that_it_died()
            return
        except (RayError, TimeoutError):
            return
        done = min(self.before + sum(counts.values()), self.total)
        if done > self.bar.done:
            self.moved, self.warned = time.monotonic(), False
        self.bar.show(done, ", ".join(f"{status}={count}" for status, count in counts.items()))
        observe_left(self.job, self.total - done)

    def warn(self) -> None:
        """Name once, where no video has been finished for long, those at work."""
        if self.warned or self.bar.done == self.total or time.monotonic() - self.moved < self.patience:
            return
        self.warned = True
        begun = dict[str, str]()
        with suppress(RayError):  # Ray's server may be what stands still
            begun = list_begun(self.counter)
        self.bar.write(f"dfd-ray {self.job}: {describe_stall(self.patience, begun)}")

    def say_that_it_died(self) -> None:
        """Say once why the bar stands still from now on; no other warning follows, as nobody knows what is done."""
        if not self.dead:
            self.dead = self.warned = True
            self.bar.write(f"dfd-ray {self.job}: the process that counts videos died; the bar stands still, the job goes on")


def describe_stall(seconds: float, begun: dict[str, str]) -> str:
    """Return in one line that no video was finished for so long, and where faces are being looked for: video and node."""
    shown = [f"{video} (node {node[:8]})" for video, node in sorted(begun.items())[:SHOWN]]
    more = [f"{len(begun) - SHOWN} more"] if len(begun) > SHOWN else []
    said = f"; at work on faces of {', '.join(shown + more)}" if shown else ""
    return (
        f"no video done in {seconds / 60:g} minutes{said}. After {read_wait_limit() / 60:g} minutes without any progress the "
        "job ends (resources.wait_minutes)"
    )
