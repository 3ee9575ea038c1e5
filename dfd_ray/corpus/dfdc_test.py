"""DFDC's public test set: videos in `test_videos/` or `test/`, and one table of labels beside or above them."""

from __future__ import annotations

import posixpath
from dataclasses import replace

from dfd_ray.corpus.data_set import key_of
from dfd_ray.corpus.label_files import LabelFile
from dfd_ray.corpus.listing import Entry

NAME = "DFDC, public test set"
FOLDERS = ("test-videos", "test")
TABLES = ("labels.csv", "metadata.json")


def is_test_set(corpus: str, entries: list[Entry], tables: list[LabelFile]) -> bool:
    """Return whether the table of a corpus is DFDC's test set's, by its name and by the folder of all its videos."""
    if len(tables) != 1 or posixpath.basename(tables[0].path).casefold() not in TABLES:
        return False
    folders = {posixpath.basename(posixpath.join(corpus, entry.part or "").rstrip("/")) for entry in entries}
    return all(key_of(folder) in FOLDERS for folder in folders)


def mark_test(entries: list[Entry]) -> list[Entry]:
    """Return the videos as those of a test set, which the table does not say."""
    return [entry if entry.split else replace(entry, split="test") for entry in entries]
