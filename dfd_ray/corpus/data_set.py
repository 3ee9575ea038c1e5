"""What a layout is looked for in, and what it gives: a corpus on disk, and the data set that was recognised there."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import pyarrow.fs as pafs

from dfd_ray.corpus.listing import Entry
from dfd_ray.corpus.wording import count_of, show
from dfd_ray.errors import ConfigurationError, CorpusError
from dfd_ray.store.storage import open_location

Key = TypeVar("Key", bound=Hashable)
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Words in the names of folders, and the split that each means."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A corpus on disk: its location, and its files by their paths there; hidden files are in neither list."""

    corpus: str
    videos: list[str]
    others: list[str]


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set by name, its videos, a description of one line, and notes on what is odd in it."""

    name: str
    entries: list[Entry]
    description: str
    notes: list[str]
    lists: frozenset[str] = frozenset()
    """The files that it was read from, and those that the notes name."""
    aside: frozenset[str] = frozenset()
    """Videos that are none to judge, such as masks; the notes count them."""


def key_of(folder: str) -> str:
    """Return a folder's name as we look for it: without case, `_` and spaces as `-`."""
    return folder.strip().casefold().replace("_", "-").replace(" ", "-")


def stem_of(path: str) -> str:
    """Return the name of a file without its folders and suffix."""
    return posixpath.splitext(posixpath.basename(path))[0]


def split_of(path: str) -> str | None:
    """Return the split that a folder above a file names: train, val or test."""
    return next((SPLITS[key] for key in map(key_of, path.split("/")[:-1]) if key in SPLITS), None)


def list_folders(location: str) -> set[str]:
    """Return the names of the folders in a folder, as we look for them; none if it cannot be listed."""
    return {key_of(name) for name in list_children(location, pafs.FileType.Directory)}


def list_children(location: str, kind: pafs.FileType) -> list[str]:
    """Return the names of what is in a folder and of a kind; none if it cannot be listed."""
    try:
        filesystem, path = open_location(location or "/")
        found = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
        return sorted(posixpath.basename(one.path) for one in found if one.type == kind)
    except (OSError, ConfigurationError, UnicodeDecodeError):
        return []


def place_videos(tree: Tree, key_of_path: Callable[[str], Key | None]) -> dict[str, Key]:
    """Return the videos that a data set knows, by path, each with what it is known by."""
    placed = {path: key_of_path(path) for path in tree.videos}
    return {path: key for path, key in placed.items() if key is not None}


def find_holder(paths: Iterable[str], is_part: Callable[[str], bool]) -> str | None:
    """Return the folder that holds the parts of a data set in which its videos are, None without videos.

    A part that was unpacked inside of another is what it is called, so the innermost counts.
    """
    holders = []
    for path in paths:
        folders = path.split("/")[:-1]
        holders.append("/".join(folders[: max(number for number, one in enumerate(folders) if is_part(one))]))
    return common_folder(holders) if holders else None


def common_folder(folders: Iterable[str]) -> str:
    """Return the deepest folder that is, or is above, each of some; empty for the corpus itself."""
    found = sorted(set(folders))
    return posixpath.commonpath(found) if found and all(found) else ""


def describe_place(folder: str) -> str:
    """Return " in 'folder'", or nothing for the corpus folder itself."""
    return f" in {show(folder)}" if folder else ""


def refuse_twice(corpus: str, name: str, keys: dict[str, Hashable]) -> None:
    """Raise CorpusError if two paths are the same video of a data set; `keys` says which video a path is."""
    first = dict[Hashable, str]()
    for path, key in keys.items():
        if first.setdefault(key, path) != path:
            raise CorpusError(
                f"--corpus {corpus}: {show(first[key])} and {show(path)} are one video of {name}; leave one of the two"
            )


def describe_one_label(name: str, entries: list[Entry]) -> list[str]:
    """Return a note if a data set has no REAL video, or no FAKE one: half of it was not downloaded."""
    labels = {entry.label for entry in entries if entry.label}
    if len(labels) != 1:
        return []
    [label] = labels
    other = "FAKE" if label == "REAL" else "REAL"
    return [
        f"{name} is not complete: all {count_of(len(entries), 'video')} are {label}; without {other} ones nothing is trained"
    ]
