"""DFDC's public test set: videos in `test_videos/` or `test/`, and tables of labels beside or above them."""

from __future__ import annotations

import posixpath
from dataclasses import replace

import pyarrow.fs as pafs

from dfd_ray.corpus.data_set import key_of, list_children
from dfd_ray.corpus.listing import Entry
from dfd_ray.errors import CorpusError

NAME = "DFDC, public test set"
FOLDERS = ("test-videos", "test")
TABLES = ("labels.csv", "metadata.json")


def is_test_set(corpus: str, entries: list[Entry], tables: list[str]) -> bool:
    """Return whether the tables of a corpus are DFDC's test set's, by their names and by the folder of all its videos."""
    if not {posixpath.basename(path).casefold() for path in tables} <= {*TABLES}:
        return False
    folders = {posixpath.basename(posixpath.join(corpus, entry.part or "").rstrip("/")) for entry in entries}
    return all(key_of(folder) in FOLDERS for folder in folders)


def refuse_part(corpus: str) -> None:
    """Raise CorpusError if the corpus is the folder of the videos, and the labels are beside it."""
    above, name = posixpath.split(corpus.rstrip("/"))
    if key_of(name) not in FOLDERS:
        return
    tables = [one for one in list_children(above, pafs.FileType.File) if one.casefold() in TABLES]
    if tables:
        raise CorpusError(
            f"--corpus {corpus}: {tables[0]} with the labels is in the folder above; --corpus is {above}. "
            "--set index.layout=none takes the videos without labels"
        )


def mark_test(entries: list[Entry]) -> list[Entry]:
    """Return the videos as those of a test set, which the table does not say."""
    return [entry if entry.split else replace(entry, split="test") for entry in entries]
