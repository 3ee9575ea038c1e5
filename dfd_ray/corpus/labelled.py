"""What a folder of new videos says of them: labels, groups and methods, by which their scores can be judged."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace

from dfd_ray.corpus.entries import read_corpus
from dfd_ray.corpus.groups import link_groups
from dfd_ray.corpus.twins import Place, find_twins
from dfd_ray.corpus.wording import count_of, show
from dfd_ray.errors import CorpusError
from dfd_ray.store.run import Run
from dfd_ray.store.storage import join, open_location
from dfd_ray.store.tables import count_rows, read_metadata, read_table


@dataclass(frozen=True, slots=True)
class Labelled:
    """The labelled videos of a folder, by id, and what is said of them."""

    label: dict[str, str]
    group: dict[str, str]
    method: dict[str, str | None]
    bytes: dict[str, int | None]
    layout: str
    """The data set, in words."""

    def leave_out(self, video_ids: set[str]) -> Labelled:
        """Return the videos without some, and without all others of their groups."""
        groups = {self.group[one] for one in video_ids}
        kept = {one: label for one, label in self.label.items() if self.group[one] not in groups}
        return replace(self, label=kept)


def read_labelled(videos: str) -> tuple[Labelled | None, list[str]]:
    """Return the labelled videos of a folder, None if there are none, and notes.

    Labels that cannot be right are a note, not an error: the videos can be scored all the same.
    """
    filesystem, path = open_location(videos)
    if filesystem.get_file_info(path).is_file:
        return None, []
    try:
        entries, _, layout = read_corpus(videos)
    except CorpusError as error:
        return None, [f"labels are not read: {error}"]
    entries = [entry for entry in entries if entry.bytes is not None]
    groups = dict(zip([entry.video_id for entry in entries], link_groups(entries), strict=True))
    label = {entry.video_id: entry.label for entry in entries if entry.label}
    if not label:
        return None, []
    methods = {entry.video_id: entry.method for entry in entries}
    sizes = {entry.video_id: entry.bytes for entry in entries}
    return Labelled(label, groups, methods, sizes, layout), []


def find_learnt(run: Run, videos: str, labelled: Labelled) -> list[str]:
    """Return which labelled videos of a folder have the bytes of one that a run's models may have learnt from.

    Only files of one size are read. Where the run's corpus is not there any more, none is found.
    """
    if not count_rows(run.location, "manifest"):
        return []
    manifest = read_table(run.location, "manifest", ["video_id", "uri", "bytes"])
    corpus = str(read_metadata(run.location, "manifest").get("corpus", ""))
    places = [place_of(row, corpus) for row in manifest.to_pylist()]
    places += [Place(f"new/{one}", videos, one, labelled.bytes[one]) for one in labelled.label]
    twins = find_twins(places, run.config.preprocess.follow_links)
    both = [same for same in twins if any(one.startswith("own/") for one in same)]
    return sorted(one.removeprefix("new/") for same in both for one in same if one.startswith("new/"))


def place_of(row: dict[str, str], corpus: str) -> Place:
    """Return where a video of the run's own is: in its corpus, or in the folder of further videos."""
    name, uri, size = f"own/{row['video_id']}", row["uri"], row["bytes"]
    if corpus and uri == join(corpus, row["video_id"]):
        return Place(name, corpus, row["video_id"], size)  # type: ignore[arg-type]
    folder, path = posixpath.split(uri)
    return Place(name, folder, path, size)  # type: ignore[arg-type]


def describe_learnt(learnt: list[str], labelled: Labelled, judged: Labelled) -> list[str]:
    """Return a note on the videos that do not count because the run has learnt from them or from others of their groups."""
    if not learnt:
        return []
    gone = len(labelled.label) - len(judged.label)
    return [
        f"{count_of(len(learnt), 'video')} of the training corpus found again, such as {show(learnt[0])}: "
        f"{gone} of {len(labelled.label)} labelled videos do not count, these and others of their groups"
    ]
