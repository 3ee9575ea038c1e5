"""The rows of a file that may hold labels: CSV, TSV, JSON or JSON Lines, in any encoding of Unicode."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass

from dfd_ray.corpus.wording import show
from dfd_ray.errors import CorpusError
from dfd_ray.store.storage import describe_storage_error, read_bytes

TABLE_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl")
KEY = "the key"
"""Stands for the column of the keys of a JSON object, the files' names in DFDC's `metadata.json`; no column is called so."""
SEPARATORS = ",;\t"
FILE_COLUMNS = (KEY, "filename", "filepath", "file", "path", "videoname", "videopath", "videoid", "video", "name", "uri")
LABEL_COLUMNS = ("label", "isfake", "target", "class")
ORIGINAL_COLUMNS = ("original", "originals")
PEOPLE_COLUMNS = ("person", "people", "persons", "personid", "identity", "targetid")
SWAPPED_COLUMNS = ("swappedid",)
"""People of whom only the face was put in, as the preview of DFDC calls them; `targetid` is who was filmed."""
GROUP_COLUMNS = ("group", "groups", "groupid")
SPLIT_COLUMNS = ("split", "set")
METHOD_COLUMNS = ("method",)
FACT_COLUMNS = (*ORIGINAL_COLUMNS, *PEOPLE_COLUMNS, *SWAPPED_COLUMNS, *GROUP_COLUMNS, *SPLIT_COLUMNS, *METHOD_COLUMNS)
"""Columns that can only mean one thing. What is called otherwise (source, id) is not read, and told."""
READ = frozenset((*FILE_COLUMNS, *LABEL_COLUMNS, *FACT_COLUMNS))


@dataclass(frozen=True, slots=True)
class Records:
    """A table: its columns, as the file spells them and as we look for them, and its rows by the latter."""

    spelled: tuple[str, ...]
    columns: tuple[str, ...]
    rows: list[dict[str, object]]


class Pairs(tuple[tuple[str, object], ...]):
    """A JSON object with all its keys, also those that it repeats."""

    __slots__ = ()


def read_records(location: str) -> Records | None:
    """Return the table in a file, None if it is JSON of another shape; CorpusError if it is not what its suffix says.

    JSON is a table if it is an object of objects by file, or a list of objects.
    """
    text = read_text(location)
    suffix = location.lower().rpartition(".")[2]
    if suffix in ("csv", "tsv"):
        return _read_lines(location, text)
    return _read_objects(location, text, lines=suffix == "jsonl")


def read_text(location: str) -> str:
    """Return the text in a file, in any encoding of Unicode; CorpusError if it cannot be read."""
    try:
        data = read_bytes(location)
        return data.decode("utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else json.detect_encoding(data))
    except OSError as error:
        raise CorpusError(f"{location}: {describe_storage_error(error)}") from None
    except UnicodeDecodeError:
        raise CorpusError(f"{location}: not UTF-8 text, nor UTF-16; save it as UTF-8") from None


def column_key(column: str) -> str:
    """Return a column's name as we look for it: without case, spaces, `_` and `-`."""
    return "".join(letter for letter in column.casefold() if letter not in " _-\t")


def _read_lines(location: str, text: str) -> Records:
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    separator = max(SEPARATORS, key=lambda one: _count_known(text, one))
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        spelled = tuple(name.strip() for name in next(lines, []))
        columns = tuple(column_key(name) for name in spelled)
        rows = list[dict[str, object]]()
        for line in lines:
            if not any(line):
                continue
            if any(line[len(columns) :]):
                raise CorpusError(
                    f"{location}: line {lines.line_num} has {len(line)} fields, the header {len(columns)}; "
                    'a field with a separator in it needs quotes: "a,b.mp4"'
                )
            rows.append(_make_row(f"{location}: line {lines.line_num}", list(zip(spelled, columns, line, strict=False))))
    except csv.Error as error:
        raise CorpusError(f"{location}: line {lines.line_num}: {error}; expected CSV") from None
    return Records(spelled, columns, rows)


def _count_known(text: str, separator: str) -> tuple[int, int]:
    """Return how many columns of a file and of a label, and how many in all, the header has by a separator."""
    try:
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
    except csv.Error:
        return 0, 0
    columns = {column_key(name) for name in header}
    return bool(columns & {*FILE_COLUMNS[1:]}) + bool(columns & {*LABEL_COLUMNS}), len(header)


def _read_objects(location: str, text: str, lines: bool) -> Records | None:
    try:
        if lines:
            value: object = [parse_json(line) for line in text.split("\n") if line.strip()]
        else:
            value = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{location}: not JSON{' Lines' if lines else ''}: {error}") from None
    found = list(_list_objects(value))
    if None in found:
        return None
    rows, spelled = [], dict[str, str]()
    for number, pairs in enumerate(found, 1):
        cells = [(name, name if name == KEY else column_key(name), cell) for name, cell in pairs or ()]
        keys = [show(cell) for _, column, cell in cells if column == KEY]
        rows.append(_make_row(f"{location}: {keys[0] if keys else f'row {number}'}", cells))
        for name, column, _ in cells:
            spelled.setdefault(column, name)
    return Records(tuple(spelled.values()), tuple(spelled), rows)


def _make_row(place: str, cells: list[tuple[str, str, object]]) -> dict[str, object]:
    """Return the cells by column; CorpusError, which begins with `place`, if a column that is read has two values.

    Of each cell `cells` has the column as the file spells it, and as we look for it: a column may be there twice, also in
    another case.
    """
    row, first = dict[str, object](), dict[str, str]()
    for spelled, column, cell in cells:
        kept = row.setdefault(column, cell)
        name = first.setdefault(column, spelled)
        if column in READ and repr(kept) != repr(cell):
            twice = f"{show(name)} twice" if name == spelled else f"{show(name)} and {show(spelled)}"
            raise CorpusError(f"{place} has {twice}, {show(kept)} and {show(cell)}; leave the one that is right")
    return row


def parse_json(text: str) -> object:
    """Return the value of a JSON text, its objects as `Pairs`; ValueError or RecursionError if it is none."""
    value: object = json.loads(text, object_pairs_hook=Pairs)
    return value


def _list_objects(value: object) -> Iterator[Pairs | None]:
    """Yield the objects of a table, each with its key where it has one; None for what is no object."""
    if isinstance(value, Pairs):
        for key, facts in value:
            yield Pairs([(KEY, key), *facts]) if isinstance(facts, Pairs) else None
    elif isinstance(value, list):
        yield from (item if isinstance(item, Pairs) else None for item in value)
    else:
        yield None
