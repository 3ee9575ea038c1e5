"""From the rows of tables to videos: what each cell says, and a video that several rows name."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from dfd_ray.corpus.cells import is_nothing, parse_identities, parse_label, parse_names, parse_text
from dfd_ray.corpus.label_files import LabelFile
from dfd_ray.corpus.listing import Entry
from dfd_ray.corpus.records import (
    FACT_COLUMNS,
    GROUP_COLUMNS,
    KEY,
    METHOD_COLUMNS,
    ORIGINAL_COLUMNS,
    PEOPLE_COLUMNS,
    SPLIT_COLUMNS,
    SWAPPED_COLUMNS,
)
from dfd_ray.corpus.spellings import ABSOLUTE, clean_path
from dfd_ray.corpus.wording import count_of, show
from dfd_ray.errors import CorpusError
from dfd_ray.labels import LABELS
from dfd_ray.store.storage import join

Fact = TypeVar("Fact")
COLUMNS_SHOWN = 3
"""Most columns that are not read which a note names."""


@dataclass(frozen=True, slots=True)
class Named:
    """An entry, and how a table spells its name."""

    entry: Entry
    name: str
    table: str


def read_rows_of(corpus: str, table: LabelFile) -> Iterator[Named]:
    """Yield the video of each row of a table; CorpusError, which names file and value, for a row that cannot be right."""
    location = join(corpus, table.path)
    for number, (row, name, found) in enumerate(zip(table.records.rows, table.names, table.found, strict=True), 1):
        if not name.strip():
            raise CorpusError(f"{location}: row {number} names no file")
        if len(found) > 1:
            raise CorpusError(
                f"{location}: {show(name)} may be {show(found[0])} or {show(found[1])}; give its path in the corpus"
            )
        video_id = found[0] if found else absent_id(location, table.folder, name)
        yield Named(make_entry(location, table, row, name, video_id), name, table.path)


def describe_columns(tables: list[LabelFile]) -> list[str]:
    """Return a note on the columns of tables that hold something and are not read."""
    unread = dict[str, str]()
    for table in tables:
        read = {KEY, table.file_column, *table.label_columns, *FACT_COLUMNS}
        for column, spelled in zip(table.records.columns, table.records.spelled, strict=True):
            if column not in read and not all(is_nothing(row.get(column)) for row in table.records.rows):
                unread.setdefault(column, spelled)
    if not unread:
        return []
    shown = sorted(unread.values(), key=lambda name: not name)[:COLUMNS_SHOWN]  # an index of pandas has no name
    return [f"columns that are not read: {len(unread)}, such as {', '.join(map(show, shown))}"]


def make_entry(location: str, table: LabelFile, row: dict[str, object], name: str, video_id: str) -> Entry:
    """Return the video of a row; CorpusError for a cell that means nothing it could mean."""
    spelled = dict(zip(table.records.columns, table.records.spelled, strict=True))

    def read(parse: Callable[[object], Fact], *columns: str) -> list[Fact]:
        """Return what the row's cells in some columns mean."""
        facts = []
        for column in (one for one in columns if one in row):
            try:
                facts.append(parse(row[column]))
            except ValueError as error:
                said = f"{show(name)} has the {spelled[column]} {show(row[column])}; {error}"
                raise CorpusError(f"{location}: {said}") from None
        return facts

    labels = read(parse_label, *table.label_columns)
    if set(LABELS) <= set(labels):
        both = " and ".join(f"the {spelled[one]} {show(row[one])}" for one in table.label_columns if one in row)
        raise CorpusError(f"{location}: {show(name)} has {both}, which contradict each other; leave one column for the label")
    targets = [one for names in read(parse_identities, *PEOPLE_COLUMNS) for one in names]
    swapped = [one for names in read(parse_identities, *SWAPPED_COLUMNS) for one in names]
    return Entry(
        video_id,
        posixpath.dirname(video_id) or None,
        label=next((label for label in labels if label), None),
        originals=tuple(one for names in read(parse_originals, *ORIGINAL_COLUMNS) for one in names),
        people=tuple(dict.fromkeys([*targets, *swapped])),
        swapped=tuple(one for one in dict.fromkeys(swapped) if one not in targets),
        groups=tuple(dict.fromkeys(one for names in read(parse_identities, *GROUP_COLUMNS) for one in names)),
        split=next((one for one in read(parse_text, *SPLIT_COLUMNS) if one), None),
        method=next((one for one in read(parse_text, *METHOD_COLUMNS) if one), None),
    )


def parse_originals(value: object) -> tuple[str, ...]:
    """Return the names of originals in a cell; ValueError for one that is no path in the corpus."""
    names = parse_names(value)
    if any(clean_path(name) is None for name in names):
        raise ValueError("expected the name of a video or its path in the corpus, without '..'")
    return names


def absent_id(location: str, folder: str, name: str) -> str:
    """Return the id of a video that is not in the corpus; CorpusError unless its name is a path in it."""
    cleaned = clean_path(name)
    if cleaned is None or ABSOLUTE.match(name.strip()):
        raise CorpusError(
            f"{location}: {show(name)} is not a path in the corpus; expected one from the table's folder, without '..'"
        )
    return posixpath.join(folder, cleaned)


def merge_repeated(corpus: str, named: list[Named]) -> tuple[list[Entry], list[str]]:
    """Return the videos, each once, and notes on those listed twice; CorpusError if one is so with different labels."""
    videos = dict[str, Named]()
    again = list[Named]()
    unlike: dict[str, list[str]] = {column: [] for column in ("split", "method")}
    for one in named:
        first = videos.setdefault(one.entry.video_id, one)
        if first is one:
            continue
        if {first.entry.label, one.entry.label} == set(LABELS):
            raise CorpusError(
                f"--corpus {corpus}: {show(one.entry.video_id)} is listed twice, as {show(first.name)} in {show(first.table)} "
                f"({first.entry.label}) and as {show(one.name)} in {show(one.table)} ({one.entry.label}); which label is right?"
            )
        for column, examples in unlike.items():
            kept, other = getattr(first.entry, column), getattr(one.entry, column)
            if kept and other and kept != other:
                examples.append(f"{show(one.entry.video_id)} ({show(kept)} and {show(other)})")
        videos[one.entry.video_id] = replace(first, entry=merge_facts(first.entry, one.entry))
        again.append(one)
    entries = [one.entry for one in videos.values()]
    if not again:
        return entries, []
    example = f"{show(again[0].name)} for {show(again[0].entry.video_id)}"
    return entries, [
        f"{count_of(len(again), 'row')} with a video that an earlier row names, such as {example}: it is one video",
        *(
            f"rows that disagree in the {column} of a video: {len(examples)}, such as of {examples[0]}; the first counts"
            for column, examples in unlike.items()
            if examples
        ),
    ]


def merge_facts(one: Entry, other: Entry) -> Entry:
    """Return an entry with what two rows say of its video."""
    targets = {name for entry in (one, other) for name in entry.people if name not in entry.swapped}
    return replace(
        one,
        label=one.label or other.label,
        originals=tuple(dict.fromkeys(one.originals + other.originals)),
        people=tuple(dict.fromkeys(one.people + other.people)),
        swapped=tuple(name for name in dict.fromkeys(one.swapped + other.swapped) if name not in targets),
        groups=tuple(dict.fromkeys(one.groups + other.groups)),
        split=one.split or other.split,
        method=one.method or other.method,
    )
