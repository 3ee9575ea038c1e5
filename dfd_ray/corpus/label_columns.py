"""Which columns of a table give its videos their labels."""

from __future__ import annotations

from dfd_ray.corpus.cells import parse_label
from dfd_ray.corpus.records import LABEL_COLUMNS, Records

CERTAIN = ("label", "isfake")
"""Columns that mean a label as soon as they hold one; others may be of something else that also has a 0 or a 1."""


def choose_label_columns(records: Records) -> tuple[str, ...]:
    """Return the columns for the label: the first that holds one, and those that hold nothing else; the first if none does.

    A row's label is in any of them. Of two columns that mean labels, one may be empty, or empty in some rows.
    """
    there = [column for column in LABEL_COLUMNS if column in records.columns]
    if len(there) < 2:
        return tuple(there)
    held = {column: count_labels(records, column) for column in there}
    main = next((column for column in there if held[column][0]), there[0])
    return tuple(column for column in there if column == main or not held[column][1] or (column in CERTAIN and held[column][0]))


def count_labels(records: Records, column: str) -> tuple[int, int]:
    """Return how many labels a column holds, and how much that is none."""
    labels = others = 0
    for row in records.rows:
        try:
            labels += parse_label(row.get(column)) is not None
        except ValueError:
            others += 1
    return labels, others


def find_unfit(records: Records, columns: tuple[str, ...]) -> object:
    """Return the first value of the columns for the label if none in them is a label, as in a submission; None otherwise."""
    first = None
    for row in records.rows:
        for column in columns:
            value = row.get(column)
            try:
                if parse_label(value) is not None:
                    return None
            except ValueError:
                first = value if first is None else first
    return first
