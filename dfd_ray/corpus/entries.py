"""The videos of a corpus: those that its labels name, or just those in it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import replace

from dfd_ray.config import Config
from dfd_ray.corpus.groups import describe_named
from dfd_ray.corpus.label_files import LabelFile, choose_label_files, describe_unread, is_named_so
from dfd_ray.corpus.listing import VIDEO_SUFFIXES, Entry, check_folder, describe_left_out, is_video, list_files
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


def read_entries(corpus: str, extra: Sequence[Entry] = ()) -> tuple[list[Entry], list[str]]:
    """Return the videos of a corpus, by id, and notes on all that is in it and not among them.

    What they are is read from tables: DFDC's `metadata.json` files, or CSV, TSV, JSON or JSON Lines with a column for the file
    and one for the label. Without one, they are the videos in the folder. CorpusError, one line, for what cannot be right.
    Originals may also be among the videos of `index.extra_real`, `extra`.
    """
    check_folder(corpus, "--corpus")
    files = list_files(corpus)
    videos = sorted(path for path in files if is_video(path) and files[path] is not None)
    spellings = Spellings(files)
    tables, unread = choose_label_files(corpus, files, spellings)
    notes = describe_unread(tables, unread)
    if tables:
        entries, told = merge_repeated(corpus, [one for table in tables for one in read_rows_of(corpus, table)])
        notes += [*describe_outside(corpus, tables), *describe_columns(tables), *told]
    else:
        refuse_too_deep(corpus, unread)
        entries = [Entry(path, posixpath.dirname(path) or None) for path in videos]
    refuse_none(corpus, entries, tables)
    entries = sorted((replace(one, bytes=files.get(one.video_id)) for one in entries), key=lambda entry: entry.video_id)
    known = {entry.video_id for entry in entries}
    left_out = [video for video in videos if video not in known]
    entries, told = resolve_originals(entries, extra, left_out)
    if left_out:
        notes.append(f"left out: {count_of(len(left_out), 'video')} {UNLISTED}, such as {show(left_out[0])}")
    notes += [*told, *describe_named(entries), *describe_unlabelled(entries, tables)]
    read = known | {*videos, *unread, *(table.path for table in tables)}
    return entries, [*notes, *describe_left_out(files, read)]


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


def describe_unlabelled(entries: list[Entry], tables: list[LabelFile]) -> list[str]:
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
