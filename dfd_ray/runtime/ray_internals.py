"""Everything of Ray that is not its public interface, in one place: what a new release may take away without a word.

tests/runtime/test_ray_internals.py fails where one of these is gone or no longer does what is said here.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from pathlib import Path

import ray

LOCAL_OPTIONS = {"_system_config": {"task_events_report_interval_ms": 0}}
"""Of `ray.init` for a local Ray, which has no dashboard to show task events: its server would keep 10 KB of each of up to
100,000 tasks. No public option turns them off."""

REPEATING_LOGGERS = ("ray.data.exceptions", "ray.data._internal.execution.streaming_executor_state")
"""They log, with a traceback, errors that Ray raises as well."""

OUR_CALLERS = ("`ray_remote_args` is deprecated", "The minimum number of concurrent actors")
"""Beginnings of warnings at arguments for which Ray 2.60 has no other place: the bounds on retries, and a pool's size."""

ACTIVE_OPERATOR = re.compile(r"^  - (.+?): (\d+) active", re.MULTILINE)
"""A line of the message of `ExecutionTimeoutError`, which names the operators at work in its text alone."""


def quieten_loggers() -> None:
    """Keep what is said twice or expected out of the log, or off the terminal where Ray is not of our starting."""
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    for name in REPEATING_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for beginning in OUR_CALLERS:
        warnings.filterwarnings("ignore", message=beginning)


def session_folder() -> Path:
    """Return the folder of the Ray that this process is connected to; the logs of its processes on this machine are there.

    Ray has no public function for it.
    """
    return Path(ray._private.worker._global_node.get_session_dir_path())


def find_active_operators(message: str) -> list[tuple[str, int]]:
    """Return the operators at work, and how many tasks of each, from the message of an `ExecutionTimeoutError`."""
    return [(name, int(count)) for name, count in ACTIVE_OPERATOR.findall(message)]


def limit_worker_start(seconds: float) -> None:
    """Have Ray Train wait this long for its workers; its own minute is less than a node takes to start."""
    from ray.train.v2._internal.constants import WORKER_GROUP_START_TIMEOUT_S_ENV_VAR  # here: data jobs load no Ray Train

    os.environ[WORKER_GROUP_START_TIMEOUT_S_ENV_VAR] = str(seconds)


def found_no_room(error: Exception) -> bool:
    """Return whether a training ended because its workers did not start in time, which only a private class says."""
    from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError
    from ray.train.v2.api.exceptions import ControllerError

    return isinstance(error, ControllerError) and isinstance(error.controller_failure, WorkerGroupStartupTimeoutError)
