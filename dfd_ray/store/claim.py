"""One writer for each run in object storage, which has no locks: a job says there that it is at work, and looks who else is.

It writes an object of its own in the run's folder, its claim, and then lists the claims. It goes on if there is no other.
A store lists at once what was written (S3 since 2020, Google's always), so of two jobs the later to list sees the other's
claim: never do both go on. Of several that come at once, the one whose claim has the first name waits for the others to go.
This takes no conditional write, so it works in every store that pyarrow reaches, with the credentials that the tables need.

A claim is renewed while the job runs. One that was not for `STALE_SECONDS`, by the store's clock, is that of a dead job.
"""

from __future__ import annotations

import os
import posixpath
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pyarrow.fs as pafs

from dfd_ray.errors import RunError
from dfd_ray.store.storage import describe_storage_error

PREFIX = ".lock-"
"""How the names of claims begin, in the run's folder."""
HOLDS = "holds"
"""First word of the claim of a job that has gone on; it has looked and found no other."""
RENEWAL_SECONDS = 30.0
"""Seconds between two renewals of a claim."""
STALE_SECONDS = 300.0
"""Seconds without a renewal after which a claim counts no more. A request to a busy store may take half a minute."""
PATIENCE, PAUSE = 30.0, 0.25
"""Seconds for which the first of several jobs waits for the others to go, and between two looks."""


@contextmanager
def hold_claim(run: str, filesystem: pafs.FileSystem, folder: str) -> Iterator[None]:
    """Hold a folder of object storage within; RunError when another job holds it, or when nothing can be written there.

    When another job has taken over, which it does if this one could not renew its claim for long, interrupts the main thread
    and raises RunError.
    """
    claim = Claim(run, filesystem, folder)
    try:
        claim.take()
        with claim.renewed():
            yield
    except (KeyboardInterrupt, SystemExit):  # Ray Train makes the second of the first
        if not claim.lost:
            raise
    finally:
        claim.delete(claim.path)
    if claim.lost:
        raise RunError(
            f"{run} was taken over by another job, since this one did not renew its lock for {STALE_SECONDS / 60:g} minutes: "
            "it was suspended, or had no network. Wait for the other job, then give the same command"
        )


class Claim:
    """A job's claim on a run's folder."""

    def __init__(self, run: str, filesystem: pafs.FileSystem, folder: str) -> None:
        self.run, self.filesystem, self.folder = run, filesystem, folder
        self.path = posixpath.join(folder, f"{PREFIX}{uuid.uuid4().hex}")
        self.holder = (
            f"{socket.gethostname()}, process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC"
        )
        self.displaced: set[str] = set()
        """Claims of jobs that were dead when this one began; should one wake up, it has to go, not this one."""
        self.lost = False
        """Whether another job has taken over."""

    def take(self) -> None:
        """Write the claim and go on when there is no other; RunError when another job holds the folder."""
        until = time.monotonic() + PATIENCE
        try:
            self.write("waits")
            while others := self.list_others():
                if min(others) < self.path or time.monotonic() > until or any(map(self.holds, others)):
                    raise RunError(self.describe(others))
                time.sleep(PAUSE)
            self.write(HOLDS)
        except OSError as error:
            raise RunError(f"--run {self.run} cannot be written: {describe_storage_error(error)}") from None
        for path in self.displaced:
            self.delete(path)

    def list_others(self) -> dict[str, float]:
        """Return the claims of other jobs that are alive, and the seconds since each was renewed; note those of dead ones.

        Raises RunError when the claim itself is not listed.
        """
        listed = self.filesystem.get_file_info(pafs.FileSelector(self.folder, allow_not_found=True))
        written = {info.path: info.mtime_ns / 1e9 for info in listed if info.base_name.startswith(PREFIX)}
        if self.path not in written:
            raise RunError(f"{self.run} cannot be locked: the store does not list what was just written there")
        now = written.pop(self.path)
        ages = {path: max(0.0, now - then) for path, then in written.items()}
        self.displaced |= {path for path, age in ages.items() if age > STALE_SECONDS}
        return {path: age for path, age in ages.items() if path not in self.displaced}

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the claim within, in a thread."""
        stop = threading.Event()
        thread = threading.Thread(target=self.renew, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()  # a renewal on its way would bring the claim back after it was deleted

    def renew(self, stop: threading.Event) -> None:
        """Write the claim again and again until told to stop, or until another job has taken over."""
        while not stop.wait(RENEWAL_SECONDS):
            try:
                self.lost = any(map(self.holds, self.list_others()))
                if not self.lost:
                    self.write(HOLDS)
            except RunError:  # who takes over deletes the claim
                self.lost = True
            except OSError:
                continue  # the network may come back before anyone takes over
            if self.lost:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # as Ctrl-C does
                return

    def write(self, state: str) -> None:
        """Write the claim."""
        with self.filesystem.open_output_stream(self.path) as stream:
            stream.write(f"{state}: {self.holder}".encode())

    def read(self, path: str) -> str:
        """Return what a claim says; nothing when it is gone."""
        try:
            with self.filesystem.open_input_stream(path) as stream:
                return str(stream.read(1000).decode(errors="replace"))
        except OSError:
            # A read takes two requests. S3 has no error of its own for an object that goes between them.
            if self.filesystem.get_file_info(path).type != pafs.FileType.NotFound:
                raise
            return ""

    def holds(self, path: str) -> bool:
        """Return whether a claim is that of a job that has gone on."""
        return self.read(path).startswith(HOLDS)

    def delete(self, path: str) -> None:
        """Delete a claim, if it is there; one that cannot be deleted lapses."""
        with suppress(OSError):
            self.filesystem.delete_file(path)

    def describe(self, others: dict[str, float]) -> str:
        """Return in one line who else is at work, and what to do."""
        path = next(filter(self.holds, others), min(others))
        holder = (
            "".join(one if one.isprintable() else "?" for one in self.read(path).partition(": ")[2]) or "which has just begun"
        )
        age = others[path]
        return (
            f"{self.run} is in use by another job ({holder}; seen {age:.0f} s ago); wait for it, or give another --run. If it "
            f"was killed, the run is free in {max(1.0, STALE_SECONDS - age):.0f} s"
        )
