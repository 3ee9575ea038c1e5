"""From the names of originals to the videos of the corpus that they mean."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from dataclasses import replace

from dfd_ray.corpus.listing import Entry
from dfd_ray.corpus.spellings import Spellings, clean_path, fold, remove_suffix
from dfd_ray.corpus.wording import count_of, show


def resolve_originals(entries: list[Entry]) -> tuple[list[Entry], list[str]]:
    """Return the videos with their originals by id, and notes on names that mean no video of the corpus, or several."""
    spellings = Spellings(entry.video_id for entry in entries)
    absent, several = defaultdict[str, list[str]](list), dict[str, list[str]]()
    resolved = []
    for entry in entries:
        originals = list[str]()
        for name in entry.originals:
            found = find_original(entry, name, spellings)
            if found is None:
                absent[absent_key(name)].append(name)
                originals.append(clean_path(name) or name)
            else:
                originals += found
                if len(found) > 1:
                    several[name] = found
        resolved.append(replace(entry, originals=tuple(dict.fromkeys(originals))))
    return resolved, [*describe_absent(absent), *describe_several(several)]


def find_original(entry: Entry, name: str, spellings: Spellings) -> list[str] | None:
    """Return the ids of the videos that an original's name means; none where it means the video itself; None if unknown.

    It is a path from the video's folder or one above it, or else the end of any path. Its suffix may differ or be absent.
    """
    folder: str = posixpath.dirname(entry.video_id)
    while True:
        found = spellings.find(name, folder, any_suffix=True)
        if found == [entry.video_id] and entry.label == "REAL":
            return []  # some tables write a REAL video's own name
        if others := [path for path in found if path != entry.video_id]:
            return others
        if not folder:
            return spellings.find_anywhere(name, but=(entry.video_id,)) or None
        folder = posixpath.dirname(folder)


def absent_key(name: str) -> str:
    """Return what an original that is not in the corpus is known by: its name without folder, suffix and case."""
    return remove_suffix(fold(posixpath.basename(clean_path(name) or name)))


def describe_absent(absent: dict[str, list[str]]) -> list[str]:
    """Return a note on the originals that are not in the corpus; `absent` has the names that videos give each."""
    if not absent:
        return []
    names = max(absent.values(), key=len)
    return [
        f"originals that are not in the corpus: {len(absent)}, such as {show(names[0])} of {count_of(len(names), 'video')}; "
        "videos made from the same one are in one group"
    ]


def describe_several(several: dict[str, list[str]]) -> list[str]:
    """Return a note on the names that mean several videos."""
    if not several:
        return []
    name, found = next(iter(several.items()))
    example = ", ".join(map(show, found[:3]))
    return [f"names that mean several originals: {len(several)}, such as {show(name)} ({example}); all are in one group"]
