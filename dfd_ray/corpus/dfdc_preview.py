"""DFDC's preview: one `dataset.json` at the root, whose keys are paths and whose people are numbers."""

from __future__ import annotations

import posixpath
from dataclasses import replace

from dfd_ray.corpus.data_set import DataSet, Tree, describe_one_label, describe_place, key_of
from dfd_ray.corpus.label_files import match_rows, refuse_doubt
from dfd_ray.corpus.listing import Entry
from dfd_ray.corpus.records import KEY, read_records
from dfd_ray.corpus.rows import describe_columns, merge_repeated, read_rows_of
from dfd_ray.corpus.spellings import Spellings
from dfd_ray.corpus.wording import show
from dfd_ray.errors import CorpusError
from dfd_ray.store.storage import join

NAME = "DFDC preview"
TABLE = "dataset.json"
ORIGINALS = "original-videos"
PARTS = frozenset({ORIGINALS, "method-a", "method-b"})
COLUMNS = frozenset({"targetid", "swappedid"})


def find(tree: Tree) -> str | None:
    """Return the folder that holds the data set, that of its `dataset.json`; None if it is not there, CorpusError if twice."""
    tables = [path for path in tree.others if posixpath.basename(path).casefold() == TABLE and is_its_table(tree, path)]
    if len(tables) > 1:
        raise CorpusError(
            f"--corpus {tree.corpus}: {show(tables[0])} and {show(tables[1])} are both of {NAME}; name one folder"
        )
    return posixpath.dirname(tables[0]) if tables else None


def read(tree: Tree, folder: str) -> DataSet:
    """Return the videos that `dataset.json` names, with their people, split and method; also those that are not there."""
    path = next(one for one in tree.others if posixpath.dirname(one) == folder and posixpath.basename(one).casefold() == TABLE)
    records = read_records(join(tree.corpus, path))
    assert records is not None
    table = match_rows(tree.corpus, path, records, Spellings([*tree.videos, *tree.others]), alone=True)
    if not any(table.found):
        raise CorpusError(f"{join(tree.corpus, path)}: it names none of the videos in the folder")
    refuse_doubt(tree.corpus, [table])
    named = [replace(one, entry=add_person(one.entry, folder)) for one in read_rows_of(tree.corpus, table)]
    entries, notes = merge_repeated(tree.corpus, named)
    notes = [*describe_columns([table]), *notes, *describe_one_label(NAME, entries)]
    counts = [(split, sum(entry.split == split for entry in entries)) for split in sorted({one.split or "" for one in entries})]
    said = ", ".join(f"{count} {split or 'of none'}" for split, count in counts)
    return DataSet(NAME, entries, f"{NAME}{describe_place(folder)}, official splits: {said}", notes, frozenset({path}))


def refuse_without_table(tree: Tree) -> None:
    """Raise CorpusError if the folders of originals and of a method are side by side: then the table is what lacks."""
    folders = {(*map(key_of, path.split("/")[:-1]),) for path in tree.videos}
    places = {key: {folder[: folder.index(key)] for folder in folders if key in folder} for key in PARTS}
    if places[ORIGINALS] & (places["method-a"] | places["method-b"]):
        raise CorpusError(
            f"--corpus {tree.corpus}: {NAME} without its {TABLE}, which has the labels; "
            "--set index.layout=none takes the videos without labels"
        )


def is_its_table(tree: Tree, path: str) -> bool:
    """Return whether a file is DFDC preview's table, by its keys."""
    try:
        records = read_records(join(tree.corpus, path))
    except CorpusError:
        return False
    return records is not None and KEY in records.columns and set(records.columns) >= COLUMNS


def add_person(entry: Entry, folder: str) -> Entry:
    """Return a video of a row with its method, and with the person whom an original's folder names where the row does not."""
    inside = entry.video_id.removeprefix(f"{folder}/" if folder else "").split("/")
    people = entry.people
    if key_of(inside[0]) == ORIGINALS and len(inside) > 2 and set(people) <= set(entry.swapped):
        people = (inside[1], *people)
    method = inside[0] if entry.label == "FAKE" and len(inside) > 1 else None
    return replace(entry, people=tuple(dict.fromkeys(people)), method=entry.method or method)
