"""One writer a run: a second job on the same folder is refused, instead of the two writing the same rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dfd_ray.errors import RunError

LOCK = ".lock"
"""Name of the file in the run's folder. The kernel lets go of it when its holder dies, however it dies."""


@contextmanager
def lock_run(run: str, create: bool) -> Iterator[None]:
    """Hold a run's folder within; RunError when another job holds it, or when the folder cannot be written.

    `create` makes a folder that is not there; without it there is nothing to hold. Object storage has no locks: of a run
    there (a URI) nothing is held either.
    """
    if "://" in run or not (create or Path(run).is_dir()):
        yield
        return
    folder = Path(run)
    made = not folder.exists()
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise RunError(f"{run} is in use by another job; wait for it, or give another --run") from None
    except OSError as error:
        raise RunError(f"--run {run} cannot be written: {error.strerror or error}") from None
    try:
        yield
    finally:
        if made and [entry.name for entry in folder.iterdir()] == [LOCK]:
            shutil.rmtree(folder)  # the job was refused, and leaves nothing
        lock.release()
