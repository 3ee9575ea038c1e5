"""What the user of the command line sees during a job: our own lines. All else that the process prints goes to a log file.

A program that uses the jobs as a library keeps its output as it is.

Ray's C++ core worker writes to file descriptor 2, its raylet's remarks come by `sys.stdout`, its loggers and Python's warnings
by `sys.stderr`. Turning them off one by one takes a list that every release of Ray would break. So all four ways lead to the
log, and only `say`, `warn` and the bars write to the terminal.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TextIO

UNKNOWN_COLUMNS = 80
"""The width of a terminal that does not tell it."""

_quiet = False
"""Whether jobs are run by the command line."""
_terminal: tuple[TextIO, TextIO] | None = None
"""Standard output and error as they were before `divert_output`."""


@contextmanager
def quiet_jobs() -> Iterator[None]:
    """Have jobs, within, keep all but our own lines off the terminal."""
    global _quiet
    before, _quiet = _quiet, True
    try:
        yield
    finally:
        _quiet = before


def is_quiet() -> bool:
    """Return whether a job has to keep all but our own lines off the terminal."""
    return _quiet


def say(line: str) -> None:
    """Print a line on the user's standard output."""
    print(line, file=_output(), flush=True)


def is_terminal() -> bool:
    """Return whether the user's standard output is a terminal."""
    return _output().isatty()


def count_columns() -> int:
    """Return the width of the user's terminal in characters, also within `divert_output`; `COLUMNS` in the environment wins.

    It is 80 where the output is no terminal, or one that does not tell.
    """
    if (asked := os.environ.get("COLUMNS", "")).isdecimal() and int(asked):
        return int(asked)
    with suppress(OSError, ValueError, AttributeError):  # not a terminal, or not a file
        return os.get_terminal_size(_output().fileno()).columns or UNKNOWN_COLUMNS
    return UNKNOWN_COLUMNS


def warn(line: str) -> None:
    """Print a line on the user's standard error."""
    print(line, file=error_stream(), flush=True)


def error_stream() -> TextIO:
    """Return the user's standard error, for a progress bar."""
    return _terminal[1] if _terminal else sys.stderr


def _output() -> TextIO:
    return _terminal[0] if _terminal else sys.stdout


@contextmanager
def divert_output(log: Path) -> Iterator[None]:
    """Append to `log`, within, what anything but `say`, `warn` and the bars prints: Python, libraries and child processes."""
    global _terminal
    with ExitStack() as restore:
        file = restore.enter_context(_Log(log.open("ab", buffering=0), encoding="utf-8", write_through=True))
        _terminal = (_copy(sys.stdout, restore), _copy(sys.stderr, restore))
        for descriptor in (1, 2):
            saved = os.dup(descriptor)
            restore.callback(os.close, saved)
            restore.callback(os.dup2, saved, descriptor)
            os.dup2(file.fileno(), descriptor)
        restore.enter_context(redirect_stdout(file))
        restore.enter_context(redirect_stderr(file))
        try:
            yield
        finally:
            _terminal = None


class _Log(io.TextIOWrapper):
    """Loses what a full disk does not take, so that no library fails for a remark."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)


def _copy(stream: TextIO, restore: ExitStack) -> TextIO:
    """Return a stream that still leads where this one does when its descriptor leads elsewhere."""
    stream.flush()
    try:
        descriptor = os.dup(stream.fileno())
    except (AttributeError, io.UnsupportedOperation):  # not a file: a test's or a notebook's
        return stream
    return restore.enter_context(open(descriptor, "w", encoding=stream.encoding, errors=stream.errors, buffering=1))
