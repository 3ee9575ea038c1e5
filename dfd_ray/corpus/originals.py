"""From the names of originals to the videos of the corpus that they mean."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dfd_ray.corpus.listing import Entry
from dfd_ray.corpus.spellings import Spellings, clean_path, fold, remove_suffix, tails
from dfd_ray.corpus.wording import count_of, show

Labels = tuple[str | None, ...]
LIKELY: tuple[Labels, ...] = (("REAL",), ("REAL", None), ("REAL", None, "FAKE"))
"""The labels that an original of a FAKE video may have, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Videos:
    """The videos among which originals are looked for: their ids, however spelled, and their labels."""

    spellings: Spellings
    labels: dict[str, str | None]
    own: frozenset[str]
    """Those of the corpus itself, without those of `index.extra_real`."""

    @classmethod
    def of(cls, entries: Sequence[Entry], own: Sequence[Entry]) -> Videos:
        """Return some videos, and which of them are of the corpus itself."""
        labels = {entry.video_id: entry.label for entry in entries}
        return cls(Spellings(labels), labels, frozenset(entry.video_id for entry in own))


def resolve_originals(
    entries: list[Entry], extra: Sequence[Entry] = (), unlisted: Sequence[str] = ()
) -> tuple[list[Entry], list[str]]:
    """Return the videos with their originals by id, and notes on names that mean no video of the corpus, or several.

    Originals may also be among the videos of `index.extra_real`, `extra`: of equal ones, those of the corpus count. `unlisted`
    are videos on disk that no table names.
    """
    videos = Videos.of([*entries, *extra], entries)
    aside = Videos.of([Entry(path, None) for path in unlisted], [])
    absent, without_row = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    several, of_themselves = dict[str, list[str]](), list[str]()
    resolved = []
    for entry in entries:
        originals = list[str]()
        for name in entry.originals:
            found = find_original(entry, name, videos)
            if found is not None:
                originals += found
                if len(found) > 1:
                    several[name] = found
            elif means_itself(entry, name, videos):
                of_themselves.append(entry.video_id)
            else:
                originals.append(clean_path(name) or name)
                on_disk = find_original(replace(entry, label=None), name, aside)
                (without_row if on_disk else absent)[absent_key(name)].append(on_disk[0] if on_disk else name)
        resolved.append(replace(entry, originals=tuple(dict.fromkeys(originals))))
    told = [
        *describe_absent(absent, "originals that are not in the corpus"),
        *describe_absent(without_row, "originals on disk that no table names"),
        *describe_themselves(of_themselves),
    ]
    return resolved, [*told, *describe_several(several)]


def find_original(entry: Entry, name: str, videos: Videos) -> list[str] | None:
    """Return the ids of the videos that an original's name means; none where it means the video itself; None if unknown.

    It is a path from the video's folder or one above it, or else the end of any path. Its suffix may differ or be absent. Where
    a FAKE video's name means several, a REAL one is the original: fakes are often numbered as their sources are.
    """
    for number, tail in enumerate(tails(clean_path(name) or "")):
        near = number == 0 and find_near(entry, name, videos, LIKELY[-1], True) is not None
        if not near and not find_far(entry, tail, videos, LIKELY[-1], True):
            continue  # most originals that are absent are so in every spelling
        for labels in LIKELY if entry.label == "FAKE" else LIKELY[-1:]:
            for any_suffix in (False, True):
                found = find_near(entry, name, videos, labels, any_suffix) if near else None
                if found is None:
                    found = find_far(entry, tail, videos, labels, any_suffix) or None
                if found is not None:
                    return found
    return None


def find_near(entry: Entry, name: str, videos: Videos, labels: Labels, any_suffix: bool) -> list[str] | None:
    """Return the videos of some labels that a name means in the nearest folder from a video's own up; None if in none.

    The list is empty where the name means a REAL video itself: some tables write that.
    """
    folder: str = posixpath.dirname(entry.video_id)
    while True:
        found = videos.spellings.find(name, folder, any_suffix)
        if found == [entry.video_id] and entry.label == "REAL":
            return []
        if others := [path for path in found if path != entry.video_id and videos.labels[path] in labels]:
            return others
        if not folder:
            return None
        folder = posixpath.dirname(folder)


def find_far(entry: Entry, tail: str, videos: Videos, labels: Labels, any_suffix: bool) -> list[str]:
    """Return the videos of some labels whose path ends in a name, wherever they are."""
    key = fold(tail)
    found = videos.spellings.find_below(remove_suffix(key) if any_suffix else key, "", but=(entry.video_id,))
    fit = [path for path in found if videos.labels[path] in labels]
    return [path for path in fit if path in videos.own] or fit


def means_itself(entry: Entry, name: str, videos: Videos) -> bool:
    """Return whether the name of an original, as it is written, means the video itself."""
    itself = replace(entry, video_id=posixpath.join(posixpath.dirname(entry.video_id), "?"), label=None)  # no file is called so
    for any_suffix in (False, True):
        near = find_near(itself, name, videos, LIKELY[-1], any_suffix)
        if entry.video_id in (near or find_far(itself, clean_path(name) or "", videos, LIKELY[-1], any_suffix)):
            return True
    return False


def absent_key(name: str) -> str:
    """Return what an original that is not in the corpus is known by: its name without folder, suffix and case."""
    return remove_suffix(fold(posixpath.basename(clean_path(name) or name)))


def describe_absent(absent: dict[str, list[str]], what: str) -> list[str]:
    """Return a note on originals that are no videos of the corpus; `absent` has the names that videos give each."""
    if not absent:
        return []
    names = max(absent.values(), key=len)
    return [
        f"{what}: {len(absent)}, such as {show(names[0])} of {count_of(len(names), 'video')}; "
        "videos made from the same one are in one group"
    ]


def describe_themselves(video_ids: list[str]) -> list[str]:
    """Return a note on videos that name themselves as their original."""
    if not video_ids:
        return []
    example = show(video_ids[0])
    return [f"videos that name themselves as their original: {len(video_ids)}, such as {example}; that is left out"]


def describe_several(several: dict[str, list[str]]) -> list[str]:
    """Return a note on the names that mean several videos."""
    if not several:
        return []
    name, found = next(iter(several.items()))
    example = ", ".join(map(show, found[:3]))
    return [f"names that mean several originals: {len(several)}, such as {show(name)} ({example}); all are in one group"]
