"""The videos of a corpus: those that its labels name, or just those in it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from dfd_ray.config import Config
from dfd_ray.corpus.cells import parse_label, parse_names, parse_text
from dfd_ray.corpus.label_files import LabelFile, choose_label_files, describe_unread, is_named_so
from dfd_ray.corpus.listing import VIDEO_SUFFIXES, Entry, check_folder, describe_left_out, is_video, list_files
from dfd_ray.corpus.originals import resolve_originals
from dfd_ray.corpus.records import TABLE_SUFFIXES
from dfd_ray.corpus.spellings import ABSOLUTE, Spellings, clean_path
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


def read_entries(corpus: str) -> tuple[list[Entry], list[str]]:
    """Return the videos of a corpus, by id, and notes on all that is in it and not among them.

    What they are is read from tables: DFDC's `metadata.json` files, or CSV, TSV, JSON or JSON Lines with a column for the file
    and one for the label. Without one, they are the videos in the folder. CorpusError, one line, for what cannot be right.
    """
    check_folder(corpus, "--corpus")
    files = list_files(corpus)
    videos = sorted(path for path in files if is_video(path) and files[path] is not None)
    spellings = Spellings(files)
    tables, unread = choose_label_files(corpus, files, spellings)
    notes = describe_unread(tables, unread)
    if tables:
        entries, told = merge_repeated(corpus, [one for table in tables for one in read_rows_of(corpus, table)])
        notes += told
    else:
        refuse_too_deep(corpus, unread)
        entries = [Entry(path, posixpath.dirname(path) or None) for path in videos]
    refuse_none(corpus, entries, tables)
    entries = sorted((replace(one, bytes=files.get(one.video_id)) for one in entries), key=lambda entry: entry.video_id)
    entries, told = resolve_originals(entries)
    known = {entry.video_id for entry in entries}
    left_out = [video for video in videos if video not in known]
    if left_out:
        notes.append(f"left out: {count_of(len(left_out), 'video')} that no table names, such as {show(left_out[0])}")
    read = known | {*videos, *unread, *(table.path for table in tables)}
    return entries, [*notes, *told, *describe_unlabelled(entries), *describe_left_out(files, read)]


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

    return Entry(
        video_id,
        posixpath.dirname(video_id) or None,
        label=next(iter(read(parse_label, *([table.label_column] if table.label_column else []))), None),
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


def refuse_none(corpus: str, entries: list[Entry], tables: list[LabelFile]) -> None:
    """Raise CorpusError if there is no video."""
    if entries:
        return
    if tables:
        raise CorpusError(f"{join(corpus, tables[0].path)}: no video in it; a table of labels has a row for each")
    looked = f"looked for a table of labels ({', '.join(TABLE_SUFFIXES)}) and for {', '.join(VIDEO_SUFFIXES)}"
    raise CorpusError(f"--corpus {corpus}: no video in it ({looked})")


def refuse_too_deep(corpus: str, unread: Iterable[str]) -> None:
    """Raise CorpusError if the corpus seems to be a folder further down."""
    for path in sorted(unread):
        if is_named_so(path) and path.count("/") > 1:
            above = join(corpus, posixpath.dirname(posixpath.dirname(path)))
            raise CorpusError(f"--corpus {corpus}: {path} is too deep; --corpus is the folder above the parts, such as {above}")


def describe_unlabelled(entries: list[Entry]) -> list[str]:
    """Return a note if some videos have a label and others not."""
    without = [entry.video_id for entry in entries if entry.label is None]
    if not without or len(without) == len(entries):
        return []
    return [
        f"{len(without)} of {len(entries)} videos have no label, such as {show(without[0])}: they are mapped, not trained on"
    ]


def check_present(corpus: str, entries: list[Entry], config: Config) -> None:
    """Raise CorpusError for a file that is absent, unless `index.missing_files` says to keep its video as an error row."""
    absent = [entry.video_id for entry in entries if entry.bytes is None]
    if absent and config.index.missing_files == "refuse":
        raise CorpusError(
            f"--corpus {corpus}: {len(absent)} of {len(entries)} videos that the metadata name are absent, such as "
            f"{show(absent[0])}; --set index.missing_files=keep makes them error rows"
        )
