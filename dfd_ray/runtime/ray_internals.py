"""Everything that we use of Ray beyond its public interface, and that a new release may take away without notice.

tests/runtime/test_ray_internals.py fails if one of these is gone or does something else.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle

LOCAL_OPTIONS = {"_system_config": {"task_events_report_interval_ms": 0}}
"""Options of `ray.init` for a local Ray. It has no dashboard to show task events, and its server would keep 10 KB of each of
up to 100,000 tasks. No public option turns them off."""

REPEATING_LOGGERS = ("ray.data.exceptions", "ray.data._internal.execution.streaming_executor_state")
"""These loggers print, with a traceback, errors that Ray also raises."""

TOKEN_LOGGER = "ray._private.authentication.authentication_token_setup"
"""This logger warns whether a Ray that starts here asks for a token. On one machine that is as it should be either way."""

NOTES = b"dfd_ray"
"""Namespace of our notes in the store of keys and values that Ray's own server keeps."""

CALLER_WARNINGS = ("`ray_remote_args` is deprecated", "The minimum number of concurrent actors")
"""How warnings begin about arguments that Ray 2.60 takes in no other way: the limits on retries, and a pool's size."""

ACTIVE_OPERATOR = re.compile(r"^  - (.+?): (\d+) active", re.MULTILINE)
"""A line of `ExecutionTimeoutError`'s message. Only that text names the operators at work."""


def quieten_loggers() -> None:
    """Keep Ray's repeated and expected messages out of the log, and off the terminal of a program that started Ray itself."""
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    for name in (*REPEATING_LOGGERS, TOKEN_LOGGER):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for beginning in CALLER_WARNINGS:
        warnings.filterwarnings("ignore", message=beginning)


def identify(actor: ActorHandle) -> str:
    """Return an actor's id, also that of a dead one."""
    return str(actor._actor_id.hex())


def _notes() -> Any:
    # Not `ray.experimental.internal_kv`: its client is one of the module, which a second Ray in the process takes away.
    return ray._private.worker.global_worker.gcs_client


def write_note(key: str, value: str) -> None:
    """Keep a note with Ray's own server, which lives as long as the cluster: unlike an actor, it outlives every worker."""
    _notes().internal_kv_put(key.encode(), value.encode(), True, NOTES)


def read_note(key: str) -> str:
    """Return a note; empty when there is none."""
    return (_notes().internal_kv_get(key.encode(), NOTES) or b"").decode()


def list_notes(prefix: str) -> list[str]:
    """Return the keys of all notes that begin so."""
    return [key.decode() for key in _notes().internal_kv_keys(prefix.encode(), NOTES)]


def delete_note(key: str) -> None:
    """Delete a note, if it is there."""
    _notes().internal_kv_del(key.encode(), False, NOTES)


def delete_notes(prefix: str) -> None:
    """Delete all notes whose keys begin so."""
    _notes().internal_kv_del(prefix.encode(), True, NOTES)


def find_session_folder() -> Path:
    """Return the folder of the connected Ray, with the logs of its processes on this machine. No public function does."""
    return Path(ray._private.worker._global_node.get_session_dir_path())


def find_active_operators(message: str) -> list[tuple[str, int]]:
    """Return the operators at work, and how many tasks of each, from the message of an `ExecutionTimeoutError`."""
    return [(name, int(count)) for name, count in ACTIVE_OPERATOR.findall(message)]


def limit_worker_start(seconds: float) -> None:
    """Have Ray Train wait so many seconds for its workers; its own minute is less than a node takes to start."""
    from ray.train.v2._internal.constants import WORKER_GROUP_START_TIMEOUT_S_ENV_VAR  # here: data jobs load no Ray Train

    os.environ[WORKER_GROUP_START_TIMEOUT_S_ENV_VAR] = str(seconds)


def found_no_room(error: Exception) -> bool:
    """Return whether a training ended because its workers did not start in time. Only a private class tells that."""
    from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError
    from ray.train.v2.api.exceptions import ControllerError

    return isinstance(error, ControllerError) and isinstance(error.controller_failure, WorkerGroupStartupTimeoutError)
