"""Groups of videos that belong together because an original links them."""

from __future__ import annotations

import posixpath

from scipy.cluster.hierarchy import DisjointSet

from dfd_ray.corpus.listing import Entry


def link_groups(entries: list[Entry]) -> list[str]:
    """Return each video's group: the connected component of `original` links, named by its first video.

    An original is a path in the corpus, or a name, which is looked up first in the same part. An original that is not in the
    corpus still links the videos made from it.
    """
    known = {entry.video_id for entry in entries}
    by_name: dict[str, str] = {}
    for entry in entries:
        by_name.setdefault(posixpath.basename(entry.video_id), entry.video_id)
    links = DisjointSet(known)
    for entry in entries:
        if entry.original:
            beside = posixpath.join(posixpath.dirname(entry.video_id), entry.original)
            name = posixpath.basename(entry.original)
            places = [place for place in (entry.original, beside) if place in known]
            source = places[0] if places else by_name.get(name, f"absent:{name}")
            links.add(source)
            links.merge(entry.video_id, source)
    names = {member: min(subset & known) for subset in links.subsets() for member in subset & known}
    return [names[entry.video_id] for entry in entries]
