"""Which files of a corpus hold its labels, and which of its videos each row of them means."""

from __future__ import annotations

import math
import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from dfd_ray.corpus.file_columns import FileColumn, choose_file_column, find_doubt
from dfd_ray.corpus.label_columns import choose_label_columns, find_unfit
from dfd_ray.corpus.listing import METADATA, is_hidden, is_video
from dfd_ray.corpus.records import FILE_COLUMNS, KEY, TABLE_SUFFIXES, Records, read_records
from dfd_ray.corpus.spellings import ABSOLUTE, Spellings
from dfd_ray.corpus.wording import show
from dfd_ray.errors import CorpusError
from dfd_ray.store.storage import join

ROWS_LOOKED_AT = 1000
"""Rows of a table without a column for the file that are searched for a video's name."""
MOST_TABLES = 50
"""Tables in one folder that are looked into; of more, only those that are called `metadata` or `labels`."""
NEEDED = (
    "a table of videos needs a column for the file (filename, file, path, video, name or uri) and one for the label "
    "(label, target, class or is_fake), empty where there is none"
)


@dataclass(frozen=True, slots=True)
class LabelFile:
    """A table that may be about videos; without a column for files it is about something else."""

    path: str
    records: Records
    file_column: str | None
    label_columns: tuple[str, ...]
    names: list[str]
    """For each row the name of a file as it is written there, relative to the corpus if that was its beginning."""
    found: list[list[str]]
    """For each row the files that it may mean: one, none, or several between which the name does not decide."""
    doubt: str | None = None
    """Why another column for the file may be the right one."""

    @property
    def folder(self) -> str:
        """The folder it is in, which its names are relative to."""
        return posixpath.dirname(self.path)


def choose_label_files(corpus: str, files: Iterable[str], spellings: Spellings) -> tuple[list[LabelFile], dict[str, str]]:
    """Return the files of a corpus whose rows are its videos; and those that look so and are not read, with the reason.

    They are looked for in the corpus folder and the folders in it. CorpusError, one line, if two in a folder are about its
    videos, if one cannot be read, or if none has labels.
    """
    candidates, beside, unread = find_candidates(list(files))
    read, broken = list[LabelFile](), dict[str, CorpusError]()
    for path in candidates:
        try:
            records = read_records(join(corpus, path))
        except CorpusError as error:
            broken[path] = error
            continue
        if records is not None:
            read.append(match_rows(corpus, path, records, spellings, alone=len(candidates) == 1))
        elif is_metadata(path):
            raise CorpusError(f'{join(corpus, path)}: expected {{"name.mp4": {{"label": ...}}}}')
        else:
            unread[path] = "it is no table"
    chosen = [table for table in read if is_about_videos(table)] or read_beside(corpus, beside, spellings)
    chosen = chosen or [table for table in read if has_columns(table)]
    refuse_two(corpus, chosen)
    refuse_doubt(corpus, chosen)
    refuse_broken(broken, chosen)
    if not any(table.label_columns for table in chosen):
        refuse_without_labels(corpus, read, spellings)
    unread |= {path: str(error).removeprefix(f"{join(corpus, path)}: ") for path, error in broken.items()}
    unread |= {table.path: describe_unfit(table) for table in read if table not in chosen}
    return chosen, unread


def read_beside(corpus: str, paths: list[str], spellings: Spellings) -> list[LabelFile]:
    """Return those of the tables that are named as a video beside them which have labels of several videos."""
    found = list[LabelFile]()
    for path in paths:
        try:
            records = read_records(join(corpus, path))
        except CorpusError:
            continue
        table = match_rows(corpus, path, records, spellings, alone=False) if records else None
        if table and is_about_videos(table) and len({one for files in table.found for one in files}) > 1:
            found.append(table)
    return found


def find_candidates(files: list[str]) -> tuple[list[str], list[str], dict[str, str]]:
    """Return the tables in the corpus folder and the folders in it; and those that are not looked into, with the reason.

    A table named as a video beside it is most often about that video alone. Where a folder has few, they are listed apart.
    """
    videos = {_stem(path) for path in files if is_video(path)}
    by_folder: dict[str, list[str]] = defaultdict(list)
    beside: dict[str, list[str]] = defaultdict(list)
    unread = dict[str, str]()
    for path in sorted(files):
        if not path.lower().endswith(TABLE_SUFFIXES) or is_hidden(path):
            continue
        if path.count("/") <= 1 and (is_named_so(path) or _stem(path) not in videos):
            by_folder[posixpath.dirname(path)].append(path)
        elif path.count("/") <= 1:
            beside[posixpath.dirname(path)].append(path)
        elif is_named_so(path):
            unread[path] = "it is deeper than one folder"
    candidates = list[str]()
    for paths in by_folder.values():
        taken = paths if len(paths) <= MOST_TABLES else [path for path in paths if is_named_so(path)]
        candidates += taken
        unread |= dict.fromkeys(set(paths) - set(taken), f"it is one of more than {MOST_TABLES} tables in its folder")
    few = [path for paths in beside.values() if len(paths) <= MOST_TABLES for path in paths]
    return candidates, few, unread


def match_rows(corpus: str, path: str, records: Records, spellings: Spellings, alone: bool) -> LabelFile:
    """Return a table with its column for the file and those for the label."""
    labels = choose_label_columns(records)
    matched = list[FileColumn]()
    for column in (name for name in FILE_COLUMNS if name in records.columns):
        names = [_name_in(row.get(column)).removeprefix(f"{corpus.rstrip('/')}/") for row in records.rows]
        matched.append(FileColumn(column, names, find_files(names, posixpath.dirname(path), spellings, alone)))
    if not matched:
        return LabelFile(path, records, None, labels, [], [])
    best = choose_file_column(matched)
    doubt = find_doubt(best, matched, dict(zip(records.columns, records.spelled, strict=True)))
    return LabelFile(path, records, best.column, labels, best.names, best.found, doubt)


def find_files(names: list[str], folder: str, spellings: Spellings, alone: bool) -> list[list[str]]:
    """Return the files that each name of a table in a folder may mean.

    A name is a path from that folder, or else the end of a path below it. If no name is found so, names are paths from the
    corpus folder, and where there is no other table, ends of any path.
    """
    found = [spellings.find(name, folder) for name in names]
    named = {path for paths in found for path in paths}
    found = [paths or _end_of(name, folder, spellings, named) for name, paths in zip(names, found, strict=True)]
    if folder and not any(found):
        if alone:
            return find_files(names, "", spellings, alone)
        return [spellings.find(name, "") if len(name.replace("\\", "/").strip("/").split("/")) > 1 else [] for name in names]
    return found


def is_about_videos(table: LabelFile) -> bool:
    """Return whether a table names files of the corpus and has labels, or is DFDC's, which may name files that are absent."""
    if is_metadata(table.path) and (table.file_column == KEY or not table.records.rows):
        return True
    return has_columns(table) and any(table.found) and find_unfit(table.records, table.label_columns) is None


def has_columns(table: LabelFile) -> bool:
    """Return whether a table has the columns that one of videos needs."""
    return table.file_column is not None and bool(table.label_columns)


def refuse_two(corpus: str, chosen: list[LabelFile]) -> None:
    """Raise CorpusError if two tables in one folder are about videos."""
    by_folder: dict[str, str] = {}
    for table in chosen:
        other = by_folder.setdefault(table.folder, table.path)
        if other != table.path:
            raise CorpusError(
                f"--corpus {corpus}: {show(other)} and {show(table.path)} both hold labels of videos; leave one in the folder"
            )


def refuse_doubt(corpus: str, chosen: list[LabelFile]) -> None:
    """Raise CorpusError if it is not certain which column of a table names its videos."""
    for table in chosen:
        if table.doubt:
            raise CorpusError(f"{join(corpus, table.path)}: {table.doubt}")


def refuse_broken(broken: dict[str, CorpusError], chosen: list[LabelFile]) -> None:
    """Raise the error of a table that cannot be read, if no other has labels or it is called as one that has."""
    needed = {METADATA, *(posixpath.basename(table.path).lower() for table in chosen)}
    for path, error in broken.items():
        if not chosen or posixpath.basename(path).lower() in needed:
            raise error


def refuse_without_labels(corpus: str, read: list[LabelFile], spellings: Spellings) -> None:
    """Raise CorpusError if a table names videos, in any column, and cannot give them a label."""
    for table in read:
        first = [cell for row in table.records.rows[:ROWS_LOOKED_AT] for cell in row.values()]
        cells = [cell for cell in (*table.records.spelled, *first) if isinstance(cell, str) and "." in cell]
        if any(table.found) or any(spellings.find(cell, table.folder) for cell in cells):
            has = ", ".join(name for name in table.records.spelled if name != KEY) or "none"
            raise CorpusError(f"{join(corpus, table.path)}: its columns are {has}; {NEEDED}")


def describe_unfit(table: LabelFile) -> str:
    """Return why a table is not about the videos."""
    if not has_columns(table):
        return f"it has no column for the {'file' if table.file_column is None else 'label'}"
    if not any(table.found):
        return "it names none of the videos"
    return f"its column for the label holds none, but {show(find_unfit(table.records, table.label_columns))}"


def describe_unread(chosen: list[LabelFile], unread: dict[str, str]) -> list[str]:
    """Return a note for each reason why tables are not read, with an example, that says where labels are from."""
    source = f"labels are read from {show(chosen[0].path)}" if chosen else "no file has labels"
    source += f" and {len(chosen) - 1} more" if len(chosen) > 1 else ""
    notes = []
    for reason, count in Counter(unread.values()).items():
        first = min(path for path, why in unread.items() if why == reason)
        others = f" (and {count - 1} more)" if count > 1 else ""
        notes.append(f"{source}; {show(first)}{others} is not read: {reason}")
    return notes


def is_metadata(path: str) -> bool:
    """Return whether a file is called as DFDC's, in any case."""
    return posixpath.basename(path).lower() == METADATA


def is_named_so(path: str) -> bool:
    """Return whether a table has the name of one that holds labels."""
    return path.lower().endswith(TABLE_SUFFIXES) and _stem(posixpath.basename(path)) in (
        "metadata",
        "labels",
        "label",
        "dataset",
    )


def _name_in(cell: object) -> str:
    return "" if cell is None or (isinstance(cell, float) and math.isnan(cell)) else str(cell)


def _end_of(name: str, folder: str, spellings: Spellings, named: set[str]) -> list[str]:
    return [] if ABSOLUTE.match(name) else spellings.find_below(name, folder, named)


def _stem(path: str) -> str:
    folder, name = posixpath.split(path.lower())
    return posixpath.join(folder, name.partition(".")[0])
