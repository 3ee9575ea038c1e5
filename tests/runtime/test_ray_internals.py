"""A new Ray may take away what is not its public interface: here it is said which part, and where it is used."""

from __future__ import annotations

import importlib
import logging
import mmap
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dfd_ray.runtime.ray_internals import (
    CALLER_WARNINGS,
    LOCAL_OPTIONS,
    REPEATING_LOGGERS,
    TOKEN_LOGGER,
    delete_note,
    delete_notes,
    find_active_operators,
    find_session_folder,
    found_no_room,
    limit_worker_start,
    list_notes,
    read_note,
    write_note,
)

GONE = "this Ray has no {} any more: find what took its place, and mend dfd_ray/runtime/ray_internals.py"


def import_private(module: str, name: str) -> Any:
    """Return a private name of Ray, or fail saying that it is gone."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        pytest.fail(GONE.format(f"{module}.{name}"))


def test_training_reads_how_long_it_waits_for_workers_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    name = import_private("ray.train.v2._internal.constants", "WORKER_GROUP_START_TIMEOUT_S_ENV_VAR")
    monkeypatch.setenv(name, "1")
    limit_worker_start(600.0)
    assert os.environ[name] == "600.0"
    worker_group = import_private("ray.train.v2._internal.execution.worker_group.worker_group", "__file__")
    assert "WORKER_GROUP_START_TIMEOUT_S_ENV_VAR" in Path(worker_group).read_text(), GONE.format(f"use of {name}")


def test_a_training_without_room_is_told_from_other_failures() -> None:
    late = import_private("ray.train.v2._internal.exceptions", "WorkerGroupStartupTimeoutError")
    failed = import_private("ray.train.v2.api.exceptions", "ControllerError")
    assert found_no_room(failed(late(2))), GONE.format("ControllerError.controller_failure")
    assert not found_no_room(failed(ValueError("another")))
    assert not found_no_room(ValueError("another"))


@pytest.mark.parametrize("name", [*REPEATING_LOGGERS, TOKEN_LOGGER])
def test_the_loggers_that_are_silenced_are_those_of_their_modules(name: str) -> None:
    logger = import_private(name, "logger")
    assert isinstance(logger, logging.Logger)
    assert logger.name == name, GONE.format(f"logger {name}")


def test_a_local_ray_knows_the_setting_of_task_events() -> None:
    library = import_private("ray._raylet", "__file__")
    with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for name in LOCAL_OPTIONS["_system_config"]:
            assert content.find(name.encode()) >= 0, GONE.format(f"_system_config {name}")


@pytest.mark.parametrize(
    "name", ["execution_no_progress_timeout_s", "max_errored_blocks", "use_datasource_v2", "enable_progress_bars"]
)
def test_a_context_of_data_has_the_settings_that_a_session_changes(name: str) -> None:
    """One that is gone would be set all the same, and do nothing."""
    assert hasattr(import_private("ray.data", "DataContext").get_current(), name), GONE.format(f"DataContext.{name}")


def test_ray_s_server_keeps_notes(ray: None) -> None:
    for key in ("a/1", "a/12", "b/1"):
        write_note(key, f"of {key}")
    write_note("a/1", "another")
    assert sorted(list_notes("a/")) == ["a/1", "a/12"]
    delete_note("a/1")
    assert [read_note(key) for key in ("a/1", "a/12", "b/1")] == ["", "of a/12", "of b/1"]
    delete_notes("a/")
    assert [*list_notes("a/"), *list_notes("b/")] == ["b/1"]
    delete_notes("b/")


def test_notes_outlive_a_second_ray_of_the_same_process(ray: None) -> None:
    """Ray's own tests of clusters reset the client of `ray.experimental.internal_kv`."""
    from ray.experimental import internal_kv

    client = internal_kv.global_gcs_client
    internal_kv._internal_kv_reset()
    try:
        write_note("c/1", "kept")
        assert read_note("c/1") == "kept"
    finally:
        internal_kv._initialize_internal_kv(client)
        delete_notes("c/")


def test_the_session_has_a_folder_of_logs(ray: None) -> None:
    try:
        folder = find_session_folder()
    except AttributeError:
        pytest.fail(GONE.format("ray._private.worker._global_node.get_session_dir_path"))
    assert (folder / "logs").is_dir()


def test_the_operators_at_work_are_read_from_the_message_of_a_dataset_that_stands_still() -> None:
    guard = import_private("ray.data._internal.execution.no_progress_guard", "NoProgressGuard")
    timeout = import_private("ray.data.exceptions", "ExecutionTimeoutError")
    now = [0.0]
    operators = {operator("ReadParquet", 0): idle(), operator("Map(extract)->Map(find: all)", 3): idle()}
    watching = guard(operators, 1.0, clock=lambda: now[0])
    now[0] = 2.0
    with pytest.raises(timeout) as stalled:
        watching.check()
    assert find_active_operators(str(stalled.value)) == [("ReadParquet", 0), ("Map(extract)->Map(find: all)", 3)], GONE.format(
        f"message such as '  - NAME: 3 active': {stalled.value}"
    )


class Operator(SimpleNamespace):
    """An operator, as far as Ray's guard asks; one is itself, whatever it holds."""

    __hash__ = object.__hash__


def operator(name: str, active: int) -> Operator:
    return Operator(
        name=name,
        metrics=SimpleNamespace(num_outputs_taken=0, num_tasks_finished=0),
        has_completed=lambda: False,
        num_active_tasks=lambda: active,
    )


def idle() -> SimpleNamespace:
    none: Callable[[], int] = lambda: 0  # noqa: E731
    return SimpleNamespace(total_enqueued_input_blocks=none, total_enqueued_output_blocks=none)


def test_ray_still_warns_its_callers_in_these_words(ray: None) -> None:
    """Where it no longer does, the filter can go; where it does so in other words, users see the warning."""
    import ray as library

    class Same:
        def __call__(self, rows: Any) -> Any:
            return rows

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pool = library.data.ActorPoolStrategy(min_size=2, max_size=2)
        library.data.range(1, override_num_blocks=1).map_batches(Same, compute=pool, num_cpus=0.1, max_restarts=1).materialize()
    said = [str(warning.message) for warning in caught]
    for beginning in CALLER_WARNINGS:
        assert any(message.startswith(beginning) for message in said), (beginning, said)
