"""Which videos belong together: those linked by an original, a named group, a named person, or the same bytes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from scipy.cluster.hierarchy import DisjointSet

from dfd_ray.corpus.listing import Entry
from dfd_ray.corpus.originals import absent_key


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
