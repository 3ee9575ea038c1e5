"""Celeb-DF, versions 1 and 2: celebrities whose faces are swapped with each other's."""

from __future__ import annotations

import posixpath
import re

from dfd_ray.corpus.data_set import (
    DataSet,
    Tree,
    describe_one_label,
    describe_place,
    find_holder,
    key_of,
    place_videos,
    refuse_twice,
    split_of,
    stem_of,
)
from dfd_ray.corpus.listing import Entry
from dfd_ray.corpus.records import read_text
from dfd_ray.corpus.spellings import clean_path
from dfd_ray.corpus.wording import count_of, show
from dfd_ray.errors import CorpusError
from dfd_ray.store.storage import join

NAME = "Celeb-DF"
CELEBRITIES, YOUTUBE, SYNTHESIS = "celeb-real", "youtube-real", "celeb-synthesis"
PARTS = frozenset({CELEBRITIES, YOUTUBE, SYNTHESIS})
LIST = "list_of_testing_videos.txt"
LABELS_OF_LIST = {"1": "REAL", "0": "FAKE"}
"""The reverse of what all other tables mean."""
NAMES = {
    CELEBRITIES: re.compile(r"(id\d+)_(\d+)"),
    SYNTHESIS: re.compile(r"(id\d+)_(id\d+)_(\d+)"),
    YOUTUBE: re.compile(r"\d+"),
}
"""What the names of the videos in each folder look like, in lower case."""

Key = tuple[str, str]
"""Which of the three folders a video is in, and its name without suffix, in lower case."""


def find(tree: Tree) -> str | None:
    """Return the folder that holds the data set, None if none of its three folders is there."""
    return find_holder(place_videos(tree, key_of_path), lambda folder: key_of(folder) in PARTS)


def read(tree: Tree, folder: str) -> DataSet:
    """Return the videos with their originals, people and split; CorpusError for a list that cannot be right."""
    placed = place_videos(tree, key_of_path)
    refuse_twice(tree.corpus, NAME, dict(placed))
    paths = {key: path for path, key in placed.items()}
    lists = [path for path in tree.others if posixpath.basename(path).casefold() == LIST]
    tested = {key: name for path in lists for key, name in read_list(join(tree.corpus, path)).items()}
    entries = [make_entry(path, key, paths, tested if lists else None) for path, key in placed.items()]
    notes = describe_one_label(NAME, entries)
    if absent := [name for key, name in tested.items() if key not in paths]:
        notes.append(
            f"the list of testing videos names {len(absent)} of {count_of(len(tested), 'video')} that are not there, "
            f"such as {show(absent[0])}"
        )
    unknown = [path for path, (kind, stem) in placed.items() if not NAMES[kind].fullmatch(stem)]
    if unknown:
        notes.append(
            f"videos that are not named as the others of their folder: {len(unknown)}, such as {show(unknown[0])}; "
            "their label is that of the folder"
        )
    test = sum(entry.split == "test" for entry in entries)
    split = f"official split: {len(entries) - test}/{test} videos to train and test" if lists else "no official split"
    return DataSet(NAME, entries, f"{NAME}{describe_place(folder)}, {split}", notes, frozenset(lists))


def key_of_path(path: str) -> Key | None:
    """Return what a video is known by, None if it is in none of the three folders; the innermost says what it is."""
    kind = next((key for key in map(key_of, reversed(path.split("/")[:-1])) if key in PARTS), None)
    return (kind, stem_of(path).casefold()) if kind else None


def make_entry(path: str, key: Key, paths: dict[Key, str], tested: dict[Key, str] | None) -> Entry:
    """Return a video as an entry: `idA_idB_N` is made from `idA_N` with the face of `idB`."""
    kind, stem = key
    originals, people = list[str](), list[str]()
    match = NAMES[kind].fullmatch(stem)
    if kind == SYNTHESIS and match:
        people = [match[1], match[2]]
        name = f"{match[1]}_{match[3]}"
        originals = [paths.get((CELEBRITIES, name), name)]
    elif kind == CELEBRITIES and match:
        people = [match[1]]
    split = split_of(path) if tested is None else "test" if key in tested else "train"
    return Entry(
        path,
        posixpath.dirname(path) or None,
        label="FAKE" if kind == SYNTHESIS else "REAL",
        originals=tuple(originals),
        people=tuple(people),
        swapped=tuple(people[1:]),
        split=split,
        method=NAME if kind == SYNTHESIS else None,
    )


def read_list(location: str) -> dict[Key, str]:
    """Return the videos of the official test set, each with its name there; CorpusError for a line that cannot be right."""
    tested = dict[Key, str]()
    for number, line in enumerate(read_text(location).splitlines(), 1):
        if not line.strip():
            continue
        label, _, name = line.strip().partition("\t" if "\t" in line else " ")
        path = clean_path(name)
        key = key_of_path(path or "")
        if label not in LABELS_OF_LIST or key is None:
            raise CorpusError(f"{location}: line {number} is {show(line)}; expected such as '1 YouTube-real/00170.mp4'")
        if LABELS_OF_LIST[label] != ("FAKE" if key[0] == SYNTHESIS else "REAL"):
            raise CorpusError(f"{location}: line {number} is {show(line)}; in this list 1 means REAL and 0 means FAKE")
        tested[key] = name.strip()
    return tested
