"""Files of the same bytes under several names: copies, which must not be on both sides of a fold."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections import defaultdict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from dfd_ray.corpus.wording import count_of, show
from dfd_ray.labels import LABELS
from dfd_ray.store.storage import open_location

Key = TypeVar("Key", bound=Hashable)
Report = Callable[[int, int], None]
"""Is called with how many of how many files are done."""
THREADS = 16
"""Files that are read at once; over a network most of the time is waiting."""
BEGINNING = 2**16
"""Bytes of a file that are compared first. Videos of one size that differ, differ here, in their tables of frames."""
PIECE = 2**22
"""Bytes of a file that are in memory at once."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a video is: its path in a folder, which it must not lead out of, as a link can."""

    video_id: str
    folder: str
    path: str
    bytes: int | None


def ignore(done: int, total: int) -> None:
    """Report nothing."""


def find_twins(places: list[Place], follow_links: bool = False, report: Report = ignore) -> list[list[str]]:
    """Return the ids of the videos that have the same bytes, in one list those of one content.

    Only files of one size are read: first their beginnings, then whole those that begin alike. `report` is called with how many
    of how many are read. Empty files, files that cannot be read, and links out of the folder are left out.
    """
    alike = [same for same in group_by(places, [place.bytes for place in places]) if same[0].bytes]
    alike = [[place for place in same if follow_links or not leads_out(place)] for same in alike if len(same) > 1]
    alike = split_by_content(alike, BEGINNING, report)
    small = [same for same in alike if (same[0].bytes or 0) <= BEGINNING]
    large = split_by_content([same for same in alike if (same[0].bytes or 0) > BEGINNING], None, report)
    return sorted([place.video_id for place in same] for same in (*small, *large))


def describe_twins(twins: list[list[str]], labels: dict[str, str | None]) -> list[str]:
    """Return notes on files of the same bytes, and on those of them that have different labels."""
    if not twins:
        return []
    more = sum(len(same) - 1 for same in twins)
    example = f"{show(twins[0][1])} of {show(twins[0][0])}"
    notes = [f"copies, the same bytes under another name: {more}, such as {example}; a video and its copies are in one group"]
    unlike = []
    for same in twins:
        real, fake = (next((one for one in same if labels[one] == label), None) for label in LABELS)
        if real and fake:
            unlike.append(f"{show(real)} (REAL) and {show(fake)} (FAKE)")
    if unlike:
        notes.append(
            f"copies with different labels: of {count_of(len(unlike), 'video')}, such as {unlike[0]}; one label is wrong"
        )
    return notes


def split_by_content(alike: list[list[Place]], limit: int | None, report: Report) -> list[list[Place]]:
    """Return the lists split by the SHA-256 of the files, or of their first `limit` bytes; lists of one file are left out."""
    places = [place for same in alike for place in same if len(same) > 1]
    digests = []
    with ThreadPoolExecutor(THREADS) as pool:
        for digest in pool.map(lambda place: digest_of(place, limit), places):
            digests.append(digest)
            report(len(digests), len(places))
    read = [(place, digest) for place, digest in zip(places, digests, strict=True) if digest is not None]
    return [
        same
        for same in group_by([place for place, _ in read], [(place.bytes, digest) for place, digest in read])
        if len(same) > 1
    ]


def digest_of(place: Place, limit: int | None) -> bytes | None:
    """Return the SHA-256 of a file, or of its first `limit` bytes; None if it cannot be read."""
    filesystem, folder = open_location(place.folder)
    digest, left = hashlib.sha256(), limit or place.bytes or 0
    try:
        with filesystem.open_input_file(posixpath.join(folder, place.path)) as file:
            while left > 0 and (piece := file.read(min(left, PIECE))):
                digest.update(piece)
                left -= len(piece)
    except OSError:
        return None
    return digest.digest()


def leads_out(place: Place) -> bool:
    """Return whether a file is a link that leads out of its folder."""
    if "://" in place.folder:
        return False
    folder = os.path.realpath(place.folder)
    return os.path.commonpath([folder, os.path.realpath(os.path.join(place.folder, place.path))]) != folder


def group_by(places: list[Place], keys: list[Key]) -> list[list[Place]]:
    """Return the places in lists of one key each, in order."""
    groups: dict[Key, list[Place]] = defaultdict(list)
    for place, key in zip(places, keys, strict=True):
        groups[key].append(place)
    return list(groups.values())
