"""DFDC's preview: one `dataset.json` at the root, whose keys are paths and whose people are numbers."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import replace

from dfd_ray.corpus.cells import parse_names
from dfd_ray.corpus.data_set import DataSet, Tree, describe_one_label, describe_place, key_of
from dfd_ray.corpus.label_files import LabelFile, match_rows
from dfd_ray.corpus.listing import Entry
from dfd_ray.corpus.records import KEY, read_records
from dfd_ray.corpus.rows import Named, merge_repeated, read_rows_of
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
    named = list(read_rows_of(tree.corpus, table))
    entries, notes = merge_repeated(
        tree.corpus,
        [replace(one, entry=entry) for one, entry in zip(named, add_people(tree, table, named, folder), strict=True)],
    )
    notes += describe_one_label(NAME, entries)
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


def add_people(tree: Tree, table: LabelFile, named: list[Named], folder: str) -> Iterator[Entry]:
    """Yield the videos with their people and method: of an original the folder is the person, of a fake the row says them."""
    for row, one in zip(table.records.rows, named, strict=True):
        inside = one.entry.video_id.removeprefix(f"{folder}/" if folder else "").split("/")
        try:
            target, swapped = (parse_names(row.get(column)) for column in ("targetid", "swappedid"))
        except ValueError as error:
            said = f"target_id or swapped_id of {show(one.name)}: {error}"
            raise CorpusError(f"{join(tree.corpus, table.path)}: {said}") from None
        if key_of(inside[0]) == ORIGINALS and not target and len(inside) > 2:
            target = (inside[1],)
        method = inside[0] if one.entry.label == "FAKE" and len(inside) > 1 else None
        yield replace(one.entry, people=tuple(dict.fromkeys(target + swapped)), swapped=swapped, method=method)
