"""FaceForensics++, as its own script lays it out and as it is passed around, with DeepFakeDetection in the same tree."""

from __future__ import annotations

import json
import posixpath
import re
from collections import defaultdict
from dataclasses import dataclass

from dfd_ray.corpus.class_folders import LABEL_OF
from dfd_ray.corpus.data_set import (
    DataSet,
    Tree,
    common_folder,
    describe_one_label,
    describe_place,
    key_of,
    refuse_twice,
    split_of,
    stem_of,
)
from dfd_ray.corpus.listing import Entry
from dfd_ray.corpus.records import read_text
from dfd_ray.corpus.wording import count_of, show
from dfd_ray.errors import CorpusError
from dfd_ray.store.storage import join

NAME = "FaceForensics++"
ACTORS = "DeepFakeDetection"
METHODS = {key_of(name): name for name in ("Deepfakes", "Face2Face", "FaceSwap", "FaceShifter", "NeuralTextures", ACTORS)}
METHODS["dfd-manipulated-sequences"] = ACTORS
ORIGINALS = frozenset({"original", "originals", "youtube", "actors", "real", "dfd-original-sequences"})
"""Folders of originals where the tree is not the script's own."""
FAKES = frozenset(name for name, label in LABEL_OF.items() if label == "FAKE" and name != "1")
"""Folders in which no original is looked for."""
PARTS = frozenset({"original-sequences", "manipulated-sequences", "original", *METHODS})
COMPRESSIONS = ("raw", "c0", "c23", "c40")
IN_A_NAME = re.compile(r"(?<![a-z0-9])(c0|c23|c40)(?![a-z0-9])")
"""A compression in the name of a folder above, such as `FaceForensics++_C23`."""
NUMBER = re.compile(r"\d{1,4}")
PAIR = re.compile(r"(\d{1,4})_(\d{1,4})")
SCENE = re.compile(r"(\d{1,3})__(.+)")
SWAPPED_SCENE = re.compile(r"(\d{1,3})_(\d{1,3})__(.+?)(?:__[A-Z0-9]{8})?")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Video:
    """A video of the data set: its path, the folder that holds the data set, the method of a FAKE one, and its compression."""

    path: str
    root: str
    method: str | None
    compression: str | None

    @property
    def stem(self) -> str:
        """Its name: `000`, `000_003`, `01__hall` or `01_02__hall__ABCDEFGH`."""
        return stem_of(self.path)


def find(tree: Tree) -> str | None:
    """Return the folder that holds the data set, None if it is not there.

    Folders called `original_sequences` or `manipulated_sequences` are enough, or one named as a method with videos named
    as pairs.
    """
    videos, _ = place_videos(tree, by_name=True)
    sure = [video for video in videos if video.method or "original-sequences" in keys_of(video.path)]
    return common_folder(video.root for video in videos) if sure else None


def read(tree: Tree, folder: str) -> DataSet:
    """Return the videos with originals, groups, actors and official splits; CorpusError for lists that cannot be right."""
    videos, masks = place_videos(tree, by_name=False)
    refuse_fake_originals(tree.corpus, videos, folder)
    refuse_twice(tree.corpus, NAME, {one.path: (one.method, one.compression, one.stem) for one in videos})
    splits, lists, notes = read_splits(tree)
    originals = defaultdict[str, dict[str | None, str]](dict)
    for video in videos:
        if video.method is None:
            originals[pad(video.stem)][video.compression] = video.path
    entries = [make_entry(video, originals, splits) for video in videos]
    if masks:
        notes.append(f"left out: {count_of(len(masks), 'video')} of masks, such as {show(masks[0])}")
    notes += describe_one_label(NAME, entries)
    notes += describe_names(videos)
    notes += describe_splits(videos, entries, splits)
    return DataSet(NAME, entries, describe(videos, splits, folder), notes, lists, frozenset(masks))


def place_videos(tree: Tree, by_name: bool) -> tuple[list[Video], list[str]]:
    """Return the videos of the data set and the paths of its masks, which are videos, too.

    `by_name` leaves out what a folder such as `Deepfakes` holds under other names than the data set's. Else they are taken
    from such folders beside those with its names.
    """
    above = posixpath.basename(tree.corpus.rstrip("/"))
    videos, masks = list[Video](), list[str]()
    fitting = {path: video for path in tree.videos if (video := place(path, above, by_name=True))}
    homes = {home_of(video.root) for video in fitting.values()}
    for path in tree.videos:
        video = fitting.get(path)
        if video is None and not by_name:
            video = place(path, above, by_name=False)
            video = video if video and home_of(video.root) in homes else None
        if video and {"masks", "mask"} & set(keys_of(video.path)):
            masks.append(video.path)
        elif video:
            videos.append(video)
    return videos, masks


def home_of(root: str) -> str:
    """Return a folder without those at its end that are called as a part of the data set."""
    while root and key_of(posixpath.basename(root)) in {*METHODS, *ORIGINALS}:
        root = posixpath.dirname(root)
    return root


def refuse_fake_originals(corpus: str, videos: list[Video], folder: str) -> None:
    """Raise CorpusError if a video is in a folder of originals and, below that of the data set, in one of FAKE videos."""
    for video in videos:
        inside = keys_of(video.path.removeprefix(f"{folder}/" if folder else ""))
        if video.method is None and "original-sequences" not in inside and FAKES & set(inside):
            raise CorpusError(
                f"--corpus {corpus}: {show(video.path)} is in a folder of FAKE videos and in one of {NAME}'s originals; rename "
                "the one that is wrong"
            )


def place(path: str, above: str, by_name: bool) -> Video | None:
    """Return what a path says of a video, None if it is none of the data set; `above` is the name of the corpus folder."""
    folders, keys = path.split("/")[:-1], keys_of(path)
    number = find_part(keys, stem_of(path), by_name)
    if number is None:
        return None
    compression = next((one for one in reversed(keys[number:]) if one in COMPRESSIONS), None)
    if compression is None:
        named = [match[0] for one in (above.casefold(), *keys) for match in IN_A_NAME.finditer(one)]
        compression = named[-1] if named else None
    method = METHODS.get(keys[number])
    if keys[number] == "manipulated-sequences":
        found = next((one for one in folders[number + 1 :] if key_of(one) not in (*COMPRESSIONS, "videos")), "unknown")
        method = METHODS.get(key_of(found), found)
    return Video(path, "/".join(folders[:number]), method, compression)


def find_part(keys: list[str], stem: str, by_name: bool) -> int | None:
    """Return which folder says what a video is: the script's own, or one that fits its name, or else the innermost.

    Of the script's own it is the innermost: one that was unpacked inside of another is what it is called.
    """
    numbers = range(len(keys))
    fitting = METHODS if PAIR.fullmatch(stem) or SWAPPED_SCENE.fullmatch(stem) else frozenset[str]()
    if NUMBER.fullmatch(stem) or SCENE.fullmatch(stem):
        fitting = ORIGINALS
    own = [number for number in numbers if keys[number] in ("original-sequences", "manipulated-sequences")]
    found = own[-1:] or [number for number in numbers if keys[number] in fitting]
    if found or by_name:
        return found[0] if found else None
    named = {*METHODS, *ORIGINALS} - {"real"}  # which is anybody's
    return next((number for number in reversed(numbers) if keys[number] in named), None)


def make_entry(video: Video, originals: dict[str, dict[str | None, str]], splits: dict[str, str]) -> Entry:
    """Return a video as an entry: `T_S` is made from `T` with the face of `S`; actors are people."""
    stem, names, people, split = video.stem, list[str](), list[str](), None
    if video.method is None:
        groups = [pad(stem)]
        split = splits.get(pad(stem))
        if scene := SCENE.fullmatch(stem):
            people = [scene[1]]
    elif pair := PAIR.fullmatch(stem):
        names = groups = [pad(pair[1]), pad(pair[2])]
        found = {splits.get(name) for name in names}
        split = found.pop() if len(found) == 1 else None
    elif scene := SWAPPED_SCENE.fullmatch(stem):
        names = groups = [f"{scene[1]}__{scene[3]}"]
        people = [scene[1], scene[2]]
    else:
        groups = [f"{video.method}/{stem}"]
    return Entry(
        video.path,
        posixpath.dirname(video.path) or None,
        label="FAKE" if video.method else "REAL",
        originals=tuple(find_original(originals.get(name), video.compression, name) for name in names),
        people=tuple(people),
        swapped=tuple(people[1:]),
        groups=tuple(f"{NAME} {name}" for name in groups),
        split=split or split_of(video.path),
        method=video.method,
    )


def find_original(found: dict[str | None, str] | None, compression: str | None, name: str) -> str:
    """Return the path of an original, in the same compression if it is there, or its name if it is in none."""
    if not found:
        return name
    return found.get(compression) or min(found.values())


def read_splits(tree: Tree) -> tuple[dict[str, str], frozenset[str], list[str]]:
    """Return the split of each original, the lists that say so, and notes; CorpusError for a list that is none of pairs.

    Lists are `train.json`, `val.json` and `test.json` in a folder `splits`, or anywhere else if they hold pairs.
    """
    splits, lists = dict[str, str](), dict[str, str]()
    for path in tree.others:
        split, suffix = posixpath.splitext(posixpath.basename(path).casefold())
        if suffix != ".json" or split not in SPLITS:
            continue
        pairs = read_pairs(join(tree.corpus, path))
        if pairs is None:
            if posixpath.basename(posixpath.dirname(path)).casefold() == "splits":
                raise CorpusError(f'{join(tree.corpus, path)}: expected a list of pairs, such as [["071", "054"]]')
            continue
        lists[path] = split
        for name in (name for pair in pairs for name in pair):
            if splits.setdefault(name, split) != split:
                raise CorpusError(f"{join(tree.corpus, path)}: {show(name)} is in the split {splits[name]}, too")
    lacking = [split for split in SPLITS if split not in lists.values()]
    if not lists or not lacking:
        return splits, frozenset(lists), []
    return splits, frozenset(lists), [f"official splits: there is no {' and no '.join(f'{one}.json' for one in lacking)}"]


def read_pairs(location: str) -> list[tuple[str, str]] | None:
    """Return the pairs of originals in a list; None if it is of another shape."""
    try:
        value = json.loads(read_text(location))
    except (CorpusError, ValueError, RecursionError):
        return None
    if not isinstance(value, list) or not value:
        return None
    pairs = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not all(NUMBER.fullmatch(str(name)) for name in pair):
            return None
        pairs.append((pad(str(pair[0])), pad(str(pair[1]))))
    return pairs


def describe(videos: list[Video], splits: dict[str, str], folder: str) -> str:
    """Return the data set in one line: its compressions, its methods and its official splits."""
    found = {video.compression for video in videos}
    compressions = [one for one in COMPRESSIONS if one in found] or ["compression not known"]
    if splits:
        counts = [list(splits.values()).count(split) for split in SPLITS]
        official = f"official splits: {'/'.join(map(str, counts))} pairs"
    else:
        official = "no official splits"
    methods = sorted({video.method for video in videos if video.method})
    named = " and ".join([", ".join(compressions[:-1]), compressions[-1]]) if compressions[1:] else compressions[0]
    said = ", ".join([f"{NAME}{describe_place(folder)}", named, official])
    return f"{said}; {', '.join(methods) or 'no method'}"


def describe_names(videos: list[Video]) -> list[str]:
    """Return notes on FAKE videos whose names do not say what they were made from, and on REAL ones named otherwise."""
    pairs = {one.path for one in videos if PAIR.fullmatch(one.stem) or SWAPPED_SCENE.fullmatch(one.stem)}
    unknown = [one.path for one in videos if one.method and one.path not in pairs]
    doubtful = [
        one.path for one in videos if not one.method and not NUMBER.fullmatch(one.stem) and not SCENE.fullmatch(one.stem)
    ]
    notes = []
    if unknown:
        notes.append(f"FAKE videos whose name is no pair of originals: {len(unknown)}, such as {show(unknown[0])}")
    if doubtful:
        notes.append(f"REAL videos whose name is none of an original: {len(doubtful)}, such as {show(doubtful[0])}")
    return notes


def describe_splits(videos: list[Video], entries: list[Entry], splits: dict[str, str]) -> list[str]:
    """Return a note on the videos that the lists of the official splits leave out; they never hold actors."""
    if not splits:
        return []
    meant = [entry.video_id for entry, video in zip(entries, videos, strict=True) if "__" not in video.stem and not entry.split]
    if not meant:
        return []
    return [f"official splits: {len(meant)} of {count_of(len(videos), 'video')} are in none, such as {show(meant[0])}"]


def keys_of(path: str) -> list[str]:
    """Return the folders of a path as we look for them."""
    return [key_of(folder) for folder in path.split("/")[:-1]]


def pad(name: str) -> str:
    """Return the number of an original in three digits, any other name unchanged."""
    return name.zfill(3) if name.isdecimal() else name
