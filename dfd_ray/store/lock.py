"""One writer for each run: a second job on the same folder is refused, so that no two write the same rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pyarrow.fs as pafs
from filelock import FileLock, Timeout

from dfd_ray.errors import RunError
from dfd_ray.store.claim import hold_claim
from dfd_ray.store.storage import exists, open_location

LOCK = ".lock"
"""Name of the file in the run's folder. The kernel releases the lock when its holder dies, however it dies."""


def lock_run(run: str, create: bool) -> AbstractContextManager[None]:
    """Hold a run's folder within; RunError when another job holds it, or when the folder cannot be written.

    With `create`, makes a folder that is not there; without it, holds nothing then.
    """
    if not (create or exists(run)):
        return nullcontext()
    filesystem, path = open_location(run)
    return hold_folder(run, Path(path)) if isinstance(filesystem, pafs.LocalFileSystem) else hold_claim(run, filesystem, path)


@contextmanager
def hold_folder(run: str, folder: Path) -> Iterator[None]:
    """Hold a folder of a disk within, as `lock_run` does, by a lock of the kernel's."""
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
            shutil.rmtree(folder)  # a refused job leaves nothing
        lock.release()
