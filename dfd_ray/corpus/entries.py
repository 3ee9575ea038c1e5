"""The videos of a corpus: those of a data set that is known, those that its labels name, or just those in it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dfd_ray.config import Config
from dfd_ray.corpus.class_folders import describe_contradicted, find_pairs
from dfd_ray.corpus.data_set import DataSet, Tree
from dfd_ray.corpus.dfdc_test import NAME as DFDC_TEST
from dfd_ray.corpus.dfdc_test import is_test_set, mark_test
from dfd_ray.corpus.groups import describe_named
from dfd_ray.corpus.label_files import LabelFile, choose_label_files, describe_unread, is_metadata, is_named_so
from dfd_ray.corpus.layouts import read_class_folders, read_data_set, refuse_incomplete
from dfd_ray.corpus.listing import VIDEO_SUFFIXES, Entry, check_folder, describe_left_out, is_hidden, is_video, list_files
from dfd_ray.corpus.originals import resolve_originals
from dfd_ray.corpus.outside import describe_outside
from dfd_ray.corpus.records import TABLE_SUFFIXES
from dfd_ray.corpus.rows import describe_columns, merge_repeated, read_rows_of
from dfd_ray.corpus.spellings import Spellings
from dfd_ray.corpus.wording import count_of, show
from dfd_ray.errors import CorpusError
from dfd_ray.store.storage import join

UNLISTED = "that no table names"
"""What notes call videos on disk without a row."""
OUTSIDE = "outside"
"""What notes call videos on disk that are not of the data set, before its name."""
ASIDE = re.compile(rf"left out: [\d,]+ videos? ({UNLISTED}|{OUTSIDE} )")
"""How a note begins on videos on disk that are no rows."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a corpus was read as: its videos, the layout in words, and notes."""

    entries: list[Entry]
    layout: str
    notes: list[str]
    read: frozenset[str] = frozenset()
    """The files that it was read from, and those that the notes name."""
    belonging: str = UNLISTED
    """What a video that is not among them is not."""
    tables: tuple[LabelFile, ...] = ()


def read_entries(corpus: str, layout: str = "auto") -> tuple[list[Entry], list[str]]:
    """Return what `read_corpus` does, without the layout."""
    entries, notes, _ = read_corpus(corpus, layout)
    return entries, notes


def read_corpus(corpus: str, layout: str = "auto", extra: Sequence[Entry] = ()) -> tuple[list[Entry], list[str], str]:
    """Return the videos of a corpus, by id, notes on all that is in it and not among them, and what layout it has, in words.

    What they are is known from a data set's layout; or read from tables: DFDC's `metadata.json` files, or CSV, TSV, JSON or
    JSON Lines with a column for the file and one for the label; or from folders named as labels. Without any, they are the
    videos in the folder. `layout` is `index.layout`. CorpusError, one line, for what cannot be right.
    Originals may also be among the videos of `index.extra_real`, `extra`.
    """
    check_folder(corpus, "--corpus")
    files = list_files(corpus)
    videos = sorted(path for path in files if is_video(path) and files[path] is not None)
    others = sorted(path for path in files if not is_video(path) and not is_hidden(path) and files[path] is not None)
    tree = Tree(corpus, videos, others)
    data_set = read_data_set(tree, layout)
    found = read_others(tree, files, layout) if data_set is None else of_data_set(data_set)
    entries = sorted((replace(one, bytes=files.get(one.video_id)) for one in found.entries), key=lambda entry: entry.video_id)
    known = {entry.video_id for entry in entries}
    left_out = [video for video in videos if video not in known and video not in found.read]
    entries, told = resolve_originals(entries, extra, left_out if found.tables else ())
    notes = found.notes
    if left_out:
        notes.append(f"left out: {count_of(len(left_out), 'video')} {found.belonging}, such as {show(left_out[0])}")
    notes += [*told, *describe_unlabelled(entries, found.tables)]
    return entries, [*notes, *describe_left_out(files, known | {*videos, *found.read})], found.layout


def of_data_set(data_set: DataSet) -> Found:
    """Return a data set as what the corpus was read as."""
    people = describe_named([replace(entry, groups=()) for entry in data_set.entries])  # its groups are not for people to know
    return Found(
        data_set.entries,
        data_set.description,
        [*data_set.notes, *people],
        data_set.lists | data_set.aside,
        f"{OUTSIDE} {data_set.name}",
    )


def read_others(tree: Tree, files: dict[str, int | None], layout: str) -> Found:
    """Return what `read_tables_or_videos` does; what it refuses may be taken from class folders, and the message says so."""
    try:
        return read_tables_or_videos(tree, files, layout)
    except CorpusError as error:
        if layout != "auto" or not find_pairs(tree):
            raise
        raise CorpusError(f"{error}; --set index.layout=class_folders takes the labels of the folders") from None


def read_tables_or_videos(tree: Tree, files: dict[str, int | None], layout: str) -> Found:
    """Return the videos that tables name, or those in class folders, or all; CorpusError for what cannot be right."""
    corpus = tree.corpus
    tables, unread = choose_label_files(corpus, files, Spellings(files))
    notes = describe_unread(tables, unread)
    if tables:
        entries, told = merge_repeated(corpus, [one for table in tables for one in read_rows_of(corpus, table)])
        refuse_none(corpus, entries, tables)
        notes += [*describe_outside(corpus, tables), *describe_columns(tables), *told, *describe_named(entries)]
        notes += describe_contradicted(tree, entries) if layout == "auto" else []
        return of_tables(tree, layout, Found(entries, "", notes, frozenset(unread), tables=tuple(tables)))
    if layout == "dfdc_test":
        raise CorpusError(f"index.layout = {layout}: {corpus} holds no table of labels")
    refuse_too_deep(corpus, unread)
    refuse_none(corpus, [Entry(path, None) for path in tree.videos], tables)
    if layout == "auto":
        classes, told = read_class_folders(tree)
        notes += told
        if classes is not None:
            found = of_data_set(classes)
            return replace(found, notes=[*notes, *found.notes], read=found.read | set(unread))
        refuse_incomplete(tree)
    entries = [Entry(path, posixpath.dirname(path) or None) for path in tree.videos]
    return Found(entries, "videos without labels", notes, frozenset(unread))


def of_tables(tree: Tree, layout: str, found: Found) -> Found:
    """Return the videos of tables with the layout in words; CorpusError if it is not the one that is asked for."""
    paths = [table.path for table in found.tables]
    found = replace(found, read=found.read | set(paths))
    if layout in ("auto", "dfdc_test") and is_test_set(tree.corpus, found.entries, paths):
        return replace(found, entries=mark_test(found.entries), layout=DFDC_TEST)
    if layout == "dfdc_test":
        raise CorpusError(
            f"index.layout = {layout}: {tree.corpus} is not {DFDC_TEST}, whose videos are all in test_videos/ or test/, "
            "with labels.csv or metadata.json"
        )
    if all(map(is_metadata, paths)):
        return replace(found, layout=f"DFDC, {count_of(len(paths), 'part')}")
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return replace(found, layout=f"labels of {show(paths[0])}{more}")


def is_on_videos_aside(note: str) -> bool:
    """Return whether a note is on videos on disk that are no rows, since nothing says what they are."""
    return ASIDE.match(note) is not None


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


def describe_unlabelled(entries: list[Entry], tables: Sequence[LabelFile]) -> list[str]:
    """Return a note if some videos have a label and others not, or if tables of labels give none to any."""
    without, of = [entry.video_id for entry in entries if entry.label is None], len(entries)
    if without and len(without) < of:
        return [f"{len(without)} of {of} videos have no label, such as {show(without[0])}: they are mapped, not trained on"]
    empty = [table.path for table in tables if table.label_columns and without]
    return [f"no video has a label: {show(empty[0])} has a column for it, and that is empty"] if empty else []


def check_present(corpus: str, entries: list[Entry], config: Config) -> list[str]:
    """Return a note on files that are absent; CorpusError unless `index.missing_files` says to keep them as error rows."""
    absent = [entry.video_id for entry in entries if entry.bytes is None]
    if absent and config.index.missing_files == "refuse":
        raise CorpusError(
            f"--corpus {corpus}: {len(absent)} of {len(entries)} videos that the metadata name are absent, such as "
            f"{show(absent[0])}; --set index.missing_files=keep makes them error rows"
        )
    return describe_missing(entries)


def describe_missing(entries: list[Entry]) -> list[str]:
    """Return a note on videos that tables list and that are not there."""
    absent = [entry.video_id for entry in entries if entry.bytes is None]
    return [f"{len(absent)} of {len(entries)} videos are listed and not there, such as {show(absent[0])}"] if absent else []
