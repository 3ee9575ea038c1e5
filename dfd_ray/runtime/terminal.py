"""What the user sees during a job: our own lines. Everything else that the process prints goes to a log file.

Ray's C++ core worker writes to file descriptor 2, its raylet's remarks come by `sys.stdout`, its loggers and Python's
warnings by `sys.stderr`. None of them can be turned off one by one without a list that every release of Ray would break,
so all four ways lead to the log, and only `say`, `warn` and the bars write to the terminal.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

_terminal: tuple[TextIO, TextIO] | None = None
"""Standard output and error as they were before `divert_output`."""


def say(line: str) -> None:
    """Print a line on the user's standard output."""
    print(line, file=_output(), flush=True)


def is_terminal() -> bool:
    """Return whether the user's standard output is a terminal."""
    return _output().isatty()


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
        file = restore.enter_context(log.open("a", encoding="utf-8", buffering=1))
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


def _copy(stream: TextIO, restore: ExitStack) -> TextIO:
    """Return a stream that still leads where this one does when its descriptor leads elsewhere."""
    stream.flush()
    try:
        descriptor = os.dup(stream.fileno())
    except (AttributeError, io.UnsupportedOperation):  # not a file: a test's or a notebook's
        return stream
    return restore.enter_context(open(descriptor, "w", encoding=stream.encoding, errors=stream.errors, buffering=1))
