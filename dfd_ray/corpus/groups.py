"""Which videos belong together: those linked by an original, a named group, a named person, or the same bytes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable

from scipy.cluster.hierarchy import DisjointSet

from dfd_ray.corpus.listing import Entry
from dfd_ray.corpus.originals import absent_key
from dfd_ray.corpus.wording import count_of, show


def link_groups(entries: list[Entry], twins: Iterable[list[str]] = ()) -> list[str]:
    """Return each video's group: the connected component of its links, named by its first video.

    `twins` are lists of ids that belong together, too. An original that is not in the corpus links the videos made from it.
    """
    known = {entry.video_id for entry in entries}
    links = DisjointSet(known)
    pairs: list[tuple[str, Hashable]] = [(entry.video_id, node) for entry in entries for node in nodes_of(entry, known)]
    pairs += [(ids[0], other) for ids in twins for other in ids[1:]]
    for video_id, node in pairs:
        links.add(node)
        links.merge(video_id, node)
    names = dict[str, str]()
    for subset in links.subsets():
        members = subset & known
        names |= dict.fromkeys(members, min(members))
    return [names[entry.video_id] for entry in entries]


def nodes_of(entry: Entry, known: set[str]) -> list[Hashable]:
    """Return what a video is linked to: the ids of its originals, and the names of what is no video of the corpus."""
    originals = [name if name in known else ("absent", absent_key(name)) for name in entry.originals]
    return [*originals, *(("group", name) for name in entry.groups), *(("person", name) for name in entry.people)]


def describe_named(entries: list[Entry]) -> list[str]:
    """Return notes on the people and the groups that a corpus names: how many, the largest, and those that differ in case."""
    notes = []
    for what, names in (
        ("people", [name for entry in entries for name in entry.people]),
        ("groups", [name for entry in entries for name in entry.groups]),
    ):
        if not names:
            continue
        count = Counter(names)
        largest, videos = count.most_common(1)[0]
        note = f"{what} that the corpus names: {len(count)}, the largest {show(largest)} of {count_of(videos, 'video')}"
        same = defaultdict[str, list[str]](list)
        for name in count:
            same[name.casefold()].append(name)
        if alike := [several for several in same.values() if len(several) > 1]:
            note += f"; {show(alike[0][0])} and {show(alike[0][1])} differ in case alone and count as two"
        notes.append(note)
    return notes
