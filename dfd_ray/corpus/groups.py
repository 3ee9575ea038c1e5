"""Which videos belong together: those linked by an original, a named group, a named person, or the same bytes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import replace

from scipy.cluster.hierarchy import DisjointSet

from dfd_ray.corpus.listing import Entry
from dfd_ray.corpus.originals import absent_key
from dfd_ray.corpus.wording import count_of, show
from dfd_ray.labels import LABELS


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


def group_people(entries: list[Entry], twins: list[list[str]], folds: int, join: str = "auto") -> tuple[list[str], list[str]]:
    """Return each video's group as `link_groups` does, with people joined as `index.join_people` says, and notes on that.

    A data set that swaps faces among a few people is one group where all people join. Then `auto` joins only the person whose
    video it is, if that leaves a group of each label for every fold, and a note says how many people are in several groups.
    """
    if join == "none":
        groups = link_groups([replace(entry, people=()) for entry in entries], twins)
        return groups, describe_people_apart(entries, groups)
    groups = link_groups(entries, twins)
    if join == "all" or not any(entry.swapped for entry in entries):
        return groups, []
    apart = link_groups([replace(entry, people=find_targets(entry)) for entry in entries], twins)
    after = len(set(groups))
    if len(set(apart)) == after:
        return groups, []
    before = count_of(len(set(apart)), "group")
    largest = count_of(Counter(groups).most_common(1)[0][1], "video")
    (few, label), (many, _) = count_foldable(entries, groups), count_foldable(entries, apart)
    if join == "target" or few < folds <= many:
        told = f"people: joining all of them would turn {before} into {after}, the largest of {largest}"
        told += f", and leave {few} with {label} videos, too few for {folds} folds" if few < folds else ""
        return apart, [f"{told}; only the videos of one target are joined", *describe_people_apart(entries, apart)]
    note = f"people join {before} into {after}, the largest of {largest}"
    if few < folds:
        note += "; --set index.join_people=target joins only the videos of one target"
    return groups, [note]


def find_targets(entry: Entry) -> tuple[str, ...]:
    """Return the people of a video without those of whom only the face was put in."""
    return tuple(name for place, name in enumerate(entry.people) if place == 0 or name not in entry.swapped)


def count_foldable(entries: list[Entry], groups: list[str]) -> tuple[int, str]:
    """Return how many groups hold the label that the fewest hold, and that label: so many folds can have both."""
    held = {label: {one for entry, one in zip(entries, groups, strict=True) if entry.label == label} for label in LABELS}
    return min(((len(found), label) for label, found in held.items() if found), default=(0, "labelled"))


def describe_people_apart(entries: list[Entry], groups: list[str]) -> list[str]:
    """Return a note on the people who are in several groups, none if there are none."""
    places = defaultdict[str, set[str]](set)
    for entry, group in zip(entries, groups, strict=True):
        for name in entry.people:
            places[name].add(group)
    several = sum(len(found) > 1 for found in places.values())
    if not several:
        return []
    return [
        f"people: {several} of {len(places)} are in several groups, so that a model may have seen those whom it is tested on, "
        "and scores may be too good; --set index.join_people=all joins their groups"
    ]


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
