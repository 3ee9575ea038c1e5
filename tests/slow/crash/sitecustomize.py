"""Ends a job at a named point of its writing; Python imports this by itself where its folder is on PYTHONPATH.

DFD_CRASH_AT names the point: `module:Class.method:before` or `:after`, or `:torn`, which is after it, with the newest file
that it wrote cut in half. The first process that comes there kills the job's
driver, and then itself, both as by SIGKILL; DFD_CRASH_DONE is a file that it leaves, so that it happens once.
With `:late` only the process itself is killed, and a copy of it goes on from the point when the driver has ended: an attempt
that was given up and is not dead. It leaves DFD_CRASH_DONE with `.late` when it has done what was wrapped.
Without DFD_CRASH_AT nothing is changed.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any


def crash() -> None:
    """Kill the driver and this process, if nobody has yet."""
    try:
        os.close(os.open(os.environ["DFD_CRASH_DONE"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    for process in (int(os.environ["DFD_CRASH_DRIVER"]), os.getpid()):
        os.kill(process, signal.SIGKILL)


def give_up_and_go_on(function: Callable[..., Any], *arguments: Any, **named: Any) -> None:
    """Kill this process, if none was yet; a copy of it calls the function after the driver's end."""
    try:
        os.close(os.open(os.environ["DFD_CRASH_DONE"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    from ray import cloudpickle

    copied = cloudpickle.dumps((arguments, named))  # what Ray keeps in shared memory may go with the process
    driver = int(os.environ["DFD_CRASH_DRIVER"])
    if os.fork():
        os.kill(os.getpid(), signal.SIGKILL)
    os.setsid()  # Ray ends the group of its processes with the job
    os.closerange(3, 4096)  # so that Ray sees the end of the one that is killed
    while os.path.exists(f"/proc/{driver}"):
        time.sleep(0.05)
    arguments, named = cloudpickle.loads(copied)
    function(*arguments, **named)
    os.close(os.open(os.environ["DFD_CRASH_DONE"] + ".late", os.O_CREAT))
    os._exit(0)


def tear(folder: str) -> None:
    """Cut the newest file of a folder in half, unless there has been a crash."""
    if not os.path.exists(os.environ["DFD_CRASH_DONE"]):
        newest = max(os.scandir(folder), key=lambda entry: entry.stat().st_mtime_ns)
        os.truncate(newest.path, newest.stat().st_size // 2)


class CrashPoint(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Wraps one function of one module as that is imported."""

    def __init__(self, module: str, name: str, when: str) -> None:
        self.module, self.name, self.when = module, name, when
        self.loader: Any = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        self.loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        *owners, name = self.name.split(".")
        owner = functools.reduce(getattr, owners, module)
        function = getattr(owner, name)

        @functools.wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            if self.when == "before":
                crash()
            if self.when == "late":
                give_up_and_go_on(function, *arguments, **named)
            result = function(*arguments, **named)
            if self.when == "torn":
                tear(arguments[0].path)
            if self.when in ("torn", "after"):
                crash()
            return result

        setattr(owner, name, wrapped)


if "DFD_CRASH_AT" in os.environ:
    os.environ.setdefault("DFD_CRASH_DRIVER", str(os.getpid()))  # the first process is the driver; all others inherit
    sys.meta_path.insert(0, CrashPoint(*os.environ["DFD_CRASH_AT"].split(":")))
