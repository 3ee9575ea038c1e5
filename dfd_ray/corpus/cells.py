"""What a cell of a table of videos means: a label, names, a text, or nothing."""

from __future__ import annotations

import ast
import json
import math

from dfd_ray.corpus.spellings import is_text

NOTHING = frozenset({"", "-", "-1", "-1.0", "nan", "none", "null", "n/a", "na", "<na>"})
"""What tables write, in lower case, where there is nothing to write."""
EXPECTED_LABELS = "REAL or FAKE, 0 (REAL) or 1 (FAKE), false or true"


def parse_label(value: object) -> str | None:
    """Return the label that a cell means, None where it is empty; ValueError for anything else."""
    if is_nothing(value) and str(value).strip() not in ("-1", "-1.0"):
        return None
    text = str(value).strip().lower()
    if text in ("real", "fake"):
        return text.upper()
    if isinstance(value, bool | int | float | str):
        try:
            number = {"false": 0.0, "true": 1.0}[text] if text in ("false", "true") else float(text)
        except ValueError:
            number = math.nan
        if number in (0, 1):
            return "FAKE" if number else "REAL"
    raise ValueError(f"expected {EXPECTED_LABELS}")


def parse_names(value: object) -> tuple[str, ...]:
    """Return the names in a cell: one, several by `;`, or a list, also one written as text; ValueError for anything else."""
    if is_nothing(value):
        return ()
    if isinstance(value, list):
        return tuple(dict.fromkeys(name for item in value for name in _parse_name(item)))
    if isinstance(value, str) and value.strip().startswith("["):
        if (names := _parse_list(value.strip())) is not None:
            return parse_names(names)
    elif isinstance(value, str):
        return tuple(dict.fromkeys(name for item in value.split(";") for name in _parse_name(item)))
    return _parse_name(value)


def parse_text(value: object) -> str | None:
    """Return a cell's text, None where it is empty; ValueError for anything else."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, str) or not is_text(value):
        raise ValueError("expected text")
    return None if value.strip().lower() in NOTHING else value


def is_nothing(value: object) -> bool:
    """Return whether a cell says that there is nothing: empty, null, NaN, -1, `-`."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip().lower() in NOTHING


def _parse_name(value: object) -> tuple[str, ...]:
    if is_nothing(value):
        return ()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int) or not is_text(str(value)):
        raise ValueError("expected a name, or several by ';' or as a list")
    return (str(value).strip(),)


def _parse_list(text: str) -> list[object] | None:
    """Return the list that a text writes as JSON, or as Python (pandas writes lists so); None if it writes none."""
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list):
            return list(value)
    return None
