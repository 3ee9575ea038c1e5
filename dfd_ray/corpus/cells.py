"""What a cell of a table of videos means: a label, names, a text, or nothing."""

from __future__ import annotations

import ast
import json
import math
import re

from dfd_ray.corpus.spellings import is_text

NOTHING = frozenset({"", "-", "-1", "-1.0", "nan", "none", "null", "n/a", "na", "<na>"})
"""What tables write, in lower case, where there is nothing to write."""
UNKNOWN = frozenset({"unknown", "unk", "?"})
"""What tables write besides, in lower case, for people and groups that are not known."""
BRACKETS = {"[": "]", "(": ")", "{": "}"}
ITEM = re.compile(r"""\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s,'"]+)(?:\s*,|\s+|$)""")
"""An item of a list as Python or NumPy writes it, which has no commas."""
NUMBER = re.compile(r"-?\d+(\.\d*)?")
INTEGRAL = re.compile(r"(-?\d+)\.0*")
"""An integer as pandas writes it where other cells of the column are empty."""
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
    if isinstance(value, str) and (names := _parse_list(value.strip())) is not None:
        return parse_names(names)
    if isinstance(value, str) and not value.strip().startswith("["):
        return tuple(dict.fromkeys(name for item in value.split(";") for name in _parse_name(item)))
    return _parse_name(value)


def parse_identities(value: object) -> tuple[str, ...]:
    """Return the names of people or of groups in a cell; ValueError for what would become one new name and may be several."""
    names = parse_names(value)
    if isinstance(value, str) and _parse_list(value.strip()) is None:
        for name in names:
            if "," in name or BRACKETS.get(name[0]) == name[-1]:
                raise ValueError('expected a name, or several by \';\' or as a list: ["a", "b"]')
    return tuple(name for name in names if name.lower() not in UNKNOWN)


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
    text = str(value).strip()
    return (integral[1] if (integral := INTEGRAL.fullmatch(text)) else text,)


def _parse_list(text: str) -> list[object] | None:
    """Return the list that a text writes as JSON, as Python (pandas writes lists so) or as NumPy; None if it writes none."""
    if len(text) < 2 or BRACKETS.get(text[0]) != text[-1]:
        return None
    if text[0] != "[" and text[1:].lstrip()[:1] not in ("'", '"'):
        return None  # a file may be called (1)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _parse_items(text[1:-1])
    return list(value) if isinstance(value, list) else None


def _parse_items(text: str) -> list[object] | None:
    """Return the items of a list as Python or NumPy writes it: names in quotes, numbers, and words for nothing."""
    items, at = list[object](), 0
    text = text.strip()
    while at < len(text):
        match = ITEM.match(text, at)
        if match is None:
            return None
        item, at = match[1], match.end()
        if item[0] in "'\"":
            try:
                items.append(ast.literal_eval(item))
            except (ValueError, SyntaxError):
                return None
        elif NUMBER.fullmatch(item) or item.lower() in NOTHING:
            items.append(item)
        else:
            return None
    return items
