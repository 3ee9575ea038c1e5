"""Whether a corpus is as it was when it was indexed."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.config import Config
from dfd_ray.corpus.entries import describe_missing, is_on_videos_aside
from dfd_ray.corpus.listing import Entry
from dfd_ray.corpus.manifest import list_facts, read_videos
from dfd_ray.corpus.spellings import clean_path, fold
from dfd_ray.errors import RunError, Status
from dfd_ray.labels import TRAIN_ONLY
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.sources import compare_videos, digest_facts, digest_location
from dfd_ray.store.storage import absolute_uri, exists
from dfd_ray.store.tables import read_metadata, read_table, table_files

COMPARED = {
    "label": "the labels",
    "originals": "the originals",
    "people": "the people",
    "method": "the methods",
    "split": "the splits",
    "bytes": "the sizes of files",
}
"""Columns of the manifest that the corpus gives, and what a message calls each."""

DIGESTED = {
    "groups": "its labels name other groups",
    "index.extra_real": "index.extra_real holds other videos",
    "index.people": "index.people holds other vectors",
}
"""What a message says of what is only known by a digest."""


def digest_corpus(entries: list[Entry], extra: list[Entry], config: Config) -> dict[str, str]:
    """Return the digests of what a manifest is made from and does not hold row by row."""
    found = {
        "groups": digest_groups(entries),
        "index.extra_real": digest_facts([one.video_id for one in extra], [one.bytes for one in extra]),
        "index.people": digest_location(config.index.people) if config.index.people else None,
    }
    return {name: digest for name, digest in found.items() if digest is not None}


def digest_groups(entries: list[Entry], as_written: bool = False) -> str:
    """Return the digest of the groups that labels name, in any order; `as_written` is that of manifests of older versions."""
    groups = [one.groups if as_written else tuple(sorted(one.groups)) for one in entries]
    return digest_facts([one.video_id for one in entries], groups)


def refuse_other_corpus(run: Run) -> None:
    """Raise RunError if the configuration names another corpus than the one that the run's manifest is of."""
    indexed, asked = read_metadata(run.location, "manifest").get("corpus"), run.config.corpus
    if indexed and asked and indexed != absolute_uri(asked):
        raise RunError(f"--run {run.location} is of the corpus {indexed}, not {absolute_uri(asked)}; use another --run")


def refuse_changed_corpus(run: Run, corpus: str) -> list[str]:
    """Raise RunError if a corpus, or what a setting of `index` names, is not as it was; return notes on what is not known.

    A manifest of an older version does not say what it was made from, and is not compared.
    """
    made_from = read_metadata(run.location, "manifest").get("made_from")
    if not made_from:
        return []
    for place in (corpus, run.config.index.extra_real):
        if place and not exists(place):
            return [f"{place} is not there, so whether it has changed is not known"]
    entries, extra, notes, _ = read_videos(corpus, configure_as_then(run))
    change, remedy = describe_changes(run, entries), f"delete {run.path('manifest')} and run `dfd-ray index` again"
    if change is None:
        now = digest_corpus(entries, extra, run.config)
        known = {"groups": digest_groups(entries, as_written=True)}
        change = next((DIGESTED[one] for one in now if made_from.get(one, now[one]) not in (now[one], known.get(one))), None)
    elif change.startswith(COMPARED["bytes"]) and (failed := list_failed(run)) and not list_resized(run, entries) - failed:
        remedy = "run `dfd-ray retry-errors` to read those videos again"
    if change:
        raise RunError(f"{corpus} has changed since {run.path('manifest')} was made: {change}; {remedy}")
    return [*filter(is_on_videos_aside, notes), *describe_missing(entries)]


def configure_as_then(run: Run) -> Config:
    """Return the configuration with the layout by which an older version, which knew none, read the corpus."""
    stored = read_metadata(run.location, "manifest").get("configuration", {})
    if "index.layout" in stored:
        return run.config
    return run.config.model_copy(update={"index": run.config.index.model_copy(update={"layout": "none"})})


def describe_changes(run: Run, entries: list[Entry]) -> str | None:
    """Return the first thing in which a corpus differs from the rows of the manifest; None if there is none."""
    then = read_own(run)
    schema = pa.schema([SCHEMAS["manifest"].field(name) for name in ("video_id", *COMPARED)])
    now = pa.Table.from_pylist([list_facts(entry) for entry in entries], schema=schema)
    now = keep_known_names(keep_known_sizes(now, then), then)
    if change := compare_videos(then, now, "video_id"):
        return change
    found = ((what, compare_videos(then, now, column)) for column, what in COMPARED.items())
    return next((f"{what} of {change}" for what, change in found if change), None)


def keep_known_sizes(now: pa.Table, then: pa.Table) -> pa.Table:
    """Return the rows with the size that a file had where it is not there now: it may have been deleted to save space."""
    sizes = map_sizes(then)
    rows = zip(now.column("video_id").to_pylist(), now.column("bytes").to_pylist(), strict=True)
    known = [sizes.get(video_id) if size is None else size for video_id, size in rows]
    return now.set_column(now.schema.get_field_index("bytes"), "bytes", pa.array(known, pa.int64()))


def keep_known_names(now: pa.Table, then: pa.Table) -> pa.Table:
    """Return the rows with the lists of names as they were where they hold the same ones, in any order and spelling."""
    videos = now.column("video_id").to_pylist()
    for column in ("originals", "people"):
        known = dict(zip(then.column("video_id").to_pylist(), then.column(column).to_pylist(), strict=True))
        lists = [
            known.get(video) if set_of(column, video, names) == set_of(column, video, known.get(video)) else names
            for video, names in zip(videos, now.column(column).to_pylist(), strict=True)
        ]
        now = now.set_column(now.schema.get_field_index(column), column, pa.array(lists, pa.list_(pa.string())))
    return now


def set_of(column: str, video_id: str, names: list[str] | None) -> set[str]:
    """Return the names in a cell as they count: of originals the spelling does not, nor does the video itself."""
    if column == "originals":
        return {fold(clean_path(name) or name) for name in names or ()} - {fold(video_id)}
    return set(names or ())


def read_own(run: Run) -> pa.Table:
    """Return the manifest's rows of the corpus itself, without those of `index.extra_real`."""
    videos = read_table(run.location, "manifest", ["video_id", "fold", *COMPARED])
    return videos.filter(pc.not_equal(pc.fill_null(videos.column("fold"), 0), TRAIN_ONLY))


def map_sizes(videos: pa.Table) -> dict[str, int | None]:
    """Return the size of each video's file, by id."""
    return dict(zip(videos.column("video_id").to_pylist(), videos.column("bytes").to_pylist(), strict=True))


def list_resized(run: Run, entries: list[Entry]) -> set[str]:
    """Return the ids of the videos whose files have another size than when they were indexed."""
    sizes = map_sizes(read_own(run))
    return {one.video_id for one in entries if one.bytes is not None and sizes.get(one.video_id, one.bytes) != one.bytes}


def list_failed(run: Run) -> set[str]:
    """Return the ids of the videos that could not be read when their faces were looked for."""
    if not table_files(run.location, "faces"):
        return set()
    rows = read_table(run.location, "faces", ["video_id", "status"])
    return set(rows.filter(pc.equal(rows.column("status"), Status.ERROR)).column("video_id").to_pylist())
