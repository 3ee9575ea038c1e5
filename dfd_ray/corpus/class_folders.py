"""Folders named as labels: `real` and `fake`, or one of a few other pairs of names, side by side."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from dfd_ray.corpus.data_set import DataSet, Tree, common_folder, describe_place, key_of, list_folders, split_of
from dfd_ray.corpus.listing import Entry
from dfd_ray.corpus.wording import show

NAME = "class folders"
NUMBERS = ("0", "1")
PAIRS = (
    ("real", "fake"),
    ("reals", "fakes"),
    ("real-videos", "fake-videos"),
    ("original", "manipulated"),
    ("originals", "manipulated"),
    ("training-real", "training-fake"),
    NUMBERS,
)
"""Names of the folders of REAL and of FAKE videos, as `key_of` gives them."""
LABEL_OF = {name: label for pair in PAIRS for name, label in zip(pair, ("REAL", "FAKE"), strict=True)}
PARTS = frozenset(LABEL_OF)
WORDS = PARTS - {*NUMBERS}


@dataclass(frozen=True, slots=True)
class Classes:
    """A pair of folders that stand side by side."""

    above: str
    folders: dict[str, str]
    """The label of each of the two, by the name as it is spelled."""


def find(tree: Tree) -> str | None:
    """Return the folder that holds all pairs of class folders, None if there is no pair."""
    pairs = find_pairs(tree)
    return common_folder(pair.above for pair in pairs) if pairs else None


def read(tree: Tree, folder: str) -> DataSet:
    """Return all videos, with the label of the outermost class folder that each is in, and the split that a folder names."""
    pairs, children = find_pairs(tree), map_children(tree)
    labels = {posixpath.join(pair.above, name): label for pair in pairs for name, label in pair.folders.items()}
    depths = {pair.above.count("/") if pair.above else -1 for pair in pairs}
    names = {key_of(name) for pair in pairs for name in pair.folders}
    for above in sorted({above for path in tree.videos for above in folders_above(path)}):
        parent, name = posixpath.split(above)
        # Where train/ has both classes, test/ may have one.
        if key_of(name) not in names or (name.isdecimal() and is_numbered(children[parent])):
            continue
        if (parent.count("/") if parent else -1) in depths:
            labels.setdefault(above, LABEL_OF[key_of(name)])
    entries = [make_entry(path, labels) for path in tree.videos]
    spelled = {label: sorted({posixpath.basename(one) for one in labels if labels[one] == label}) for label in ("REAL", "FAKE")}
    said = " and ".join(f"{' and '.join(map(show, names))} taken for {label}" for label, names in spelled.items())
    notes = []
    counts = {split: sum(one.split == split for one in entries) for split in ("train", "val", "test")}
    if splits := [f"{count} {split}" for split, count in counts.items() if count]:
        said += f"; splits: {', '.join(splits)}"
    if "0" in names:
        notes.append("the folders 0 and 1 are taken for REAL and FAKE; --set index.layout=none if they mean something else")
    if both := [one.video_id for one in entries if one.label and is_contradicted(one)]:
        notes.append(f"videos in folders of both labels: {len(both)}, such as {show(both[0])}; the outermost counts")
    return DataSet(NAME, entries, f"{NAME}{describe_place(folder)}: {said}", notes)


def find_pairs(tree: Tree) -> list[Classes]:
    """Return the pairs of class folders that stand side by side, each with videos in it."""
    children = map_children(tree)
    pairs = list[Classes]()
    for above in sorted(children):
        if is_in(above, [one for pair in pairs for one in pair_paths(pair)]):
            continue  # inside a class folder, `0` and `1` are numbers
        names = {key_of(name): name for name in sorted(children[above])}
        for pair in PAIRS:
            if not set(pair) <= set(names):
                continue
            if pair == NUMBERS and (
                is_numbered(names) or holds_words(children, [posixpath.join(above, one) for one in NUMBERS])
            ):
                continue
            pairs.append(Classes(above, {names[key]: LABEL_OF[key] for key in pair}))
            break
    return pairs


def map_children(tree: Tree) -> dict[str, set[str]]:
    """Return the names of the folders with videos in each folder."""
    children = defaultdict[str, set[str]](set)
    for folder in {folder for path in tree.videos for folder in folders_above(path)}:
        above, name = posixpath.split(folder)
        children[above].add(name)
    return children


def is_numbered(names: Iterable[str]) -> bool:
    """Return whether folders are numbered, so that `0` and `1` are but two of them."""
    return any(name.isdecimal() and name not in NUMBERS for name in names)


def is_in(folder: str, others: Iterable[str]) -> bool:
    """Return whether a folder is, or is in, one of others."""
    return any(folder == one or folder.startswith(f"{one}/") for one in others)


def holds_words(children: dict[str, set[str]], folders: list[str]) -> bool:
    """Return whether there is a pair of words inside of folders, which says more than the numbers that they are called."""
    inside = [set(map(key_of, names)) for folder, names in children.items() if is_in(folder, folders)]
    return any(set(pair) <= names for names in inside for pair in PAIRS if pair != NUMBERS)


def is_contradicted(entry: Entry) -> bool:
    """Return whether a video is also in a folder that is called as the other label."""
    return any(LABEL_OF[key] != entry.label for key in map(key_of, entry.video_id.split("/")[:-1]) if key in WORDS)


def describe_contradicted(tree: Tree, entries: list[Entry]) -> list[str]:
    """Return a note on the videos whose labels, from a table, are not those of the class folders that they are in."""
    if not find_pairs(tree):
        return []
    of_folder = {entry.video_id: entry.label for entry in read(tree, "").entries}
    unlike = [entry for entry in entries if entry.label and of_folder.get(entry.video_id) not in (None, entry.label)]
    if not unlike:
        return []
    return [
        f"labels that contradict the folder of their video: {len(unlike)} of {len(entries)}, such as {unlike[0].label} of "
        f"{show(unlike[0].video_id)}; the table counts, and --set index.layout=class_folders takes those of the folders"
    ]


def describe_lone(tree: Tree) -> list[str]:
    """Return a note on a class folder without its other half, or whose other half is beside the corpus: it gives no label."""
    above, name = posixpath.split(tree.corpus.rstrip("/"))
    others = {one for pair in PAIRS if key_of(name) in pair for one in pair} - {key_of(name)}
    if others and others & list_folders(above):
        return [f"the corpus folder is called {show(name)}, and its other half is beside it: --corpus {above} gives labels"]
    names = {name for path in tree.videos for name in path.split("/")[:-1] if key_of(name) in WORDS}
    if not names:
        return []
    lone = min(names)
    other = "FAKE" if LABEL_OF[key_of(lone)] == "REAL" else "REAL"
    return [f"a folder is called {show(lone)}, and none beside it holds the {other} videos: no label is taken from it"]


def make_entry(path: str, labels: dict[str, str]) -> Entry:
    """Return a video with the label of the outermost class folder that it is in."""
    label = next((labels[folder] for folder in folders_above(path) if folder in labels), None)
    return Entry(path, posixpath.dirname(path) or None, label=label, split=split_of(path))


def folders_above(path: str) -> list[str]:
    """Return the folders that a path is in, the outermost first."""
    folders = path.split("/")[:-1]
    return ["/".join(folders[:number]) for number in range(1, len(folders) + 1)]


def pair_paths(pair: Classes) -> list[str]:
    """Return the paths of the two folders."""
    return [posixpath.join(pair.above, name) for name in pair.folders]
