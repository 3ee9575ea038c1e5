"""From the rows of tables to videos: what each cell says, and a video that several rows name."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from dfd_ray.corpus.cells import parse_label, parse_names, parse_text
from dfd_ray.corpus.label_files import LabelFile
from dfd_ray.corpus.listing import Entry
from dfd_ray.corpus.spellings import ABSOLUTE, clean_path
from dfd_ray.corpus.wording import count_of, show
from dfd_ray.errors import CorpusError
from dfd_ray.labels import LABELS
from dfd_ray.store.storage import join

Fact = TypeVar("Fact")


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
    return Entry(
        video_id,
        posixpath.dirname(video_id) or None,
        label=next((label for label in labels if label), None),
        originals=tuple(one for names in read(parse_originals, "original", "originals") for one in names),
        people=tuple(one for names in read(parse_names, "person", "people") for one in names),
        groups=tuple(one for names in read(parse_names, "group") for one in names),
        split=next((one for one in read(parse_text, "split", "set") if one), None),
        method=next((one for one in read(parse_text, "method") if one), None),
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
    """Return the videos, each once, and a note on those listed twice; CorpusError if one is so with different labels."""
    videos = dict[str, Named]()
    again = list[Named]()
    for one in named:
        first = videos.setdefault(one.entry.video_id, one)
        if first is one:
            continue
        if {first.entry.label, one.entry.label} == set(LABELS):
            raise CorpusError(
                f"--corpus {corpus}: {show(one.entry.video_id)} is listed twice, as {show(first.name)} in {show(first.table)} "
                f"({first.entry.label}) and as {show(one.name)} in {show(one.table)} ({one.entry.label}); which label is right?"
            )
        videos[one.entry.video_id] = replace(first, entry=merge_facts(first.entry, one.entry))
        again.append(one)
    entries = [one.entry for one in videos.values()]
    if not again:
        return entries, []
    example = f"{show(again[0].name)} for {show(again[0].entry.video_id)}"
    return entries, [
        f"{count_of(len(again), 'row')} with a video that an earlier row names, such as {example}: it is one video"
    ]


def merge_facts(one: Entry, other: Entry) -> Entry:
    """Return an entry with what two rows say of its video."""
    return replace(
        one,
        label=one.label or other.label,
        originals=tuple(dict.fromkeys(one.originals + other.originals)),
        people=tuple(dict.fromkeys(one.people + other.people)),
        groups=tuple(dict.fromkeys(one.groups + other.groups)),
        split=one.split or other.split,
        method=one.method or other.method,
    )
