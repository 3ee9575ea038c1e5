"""How notes and errors show names and numbers."""

from __future__ import annotations

LONGEST = 200
"""Characters of a value that a message shows."""


def show(value: object) -> str:
    """Return a value in quotes, escaped so that it is on one line, and cut where it is too long for one."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun: "1 file", "2 files"."""
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"
