"""The manifest: one row per video, with its label, its group and its fold."""

from __future__ import annotations

import posixpath
from itertools import pairwise

import pyarrow as pa

from dfd_ray.config import Config
from dfd_ray.corpus.folds import assign_folds
from dfd_ray.corpus.groups import link_groups
from dfd_ray.corpus.listing import METADATA, Entry, add_sizes, check_folder, list_extra_real, list_videos, read_entries
from dfd_ray.corpus.people import join_people
from dfd_ray.errors import ConfigurationError, CorpusError
from dfd_ray.labels import TRAIN_ONLY
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.storage import absolute_uri, delete_folder, join
from dfd_ray.store.tables import write_file


def build_manifest(corpus: str, config: Config) -> tuple[pa.Table, list[str]]:
    """Return the manifest of a corpus, and remarks on folds and on videos that are left out.

    Raises CorpusError when the corpus is missing or empty, or its metadata contradict it.
    """
    listed, left_out = read_entries(corpus)
    entries = add_sizes(corpus, sorted(listed, key=lambda entry: entry.video_id), config)
    parent, extra = "", list[Entry]()
    if config.index.extra_real is not None:
        parent, extra = list_extra_real(absolute_uri(config.index.extra_real))
    refuse_repeated(corpus, [*entries, *extra])
    groups, notes = [*link_groups(entries), *(entry.video_id for entry in extra)], []
    if config.index.people is not None:
        if config.index.same_person is None:
            raise ConfigurationError("index.people needs index.same_person: from which cosine two vectors are of one person")
        video_ids = [entry.video_id for entry in (*entries, *extra)]
        groups, joined = join_people(video_ids, groups, config.index.people, config.index.same_person)
        notes.append(joined)
    groups, groups_of_extra = groups[: len(entries)], groups[len(entries) :]
    folds, note = assign_folds([entry.label for entry in entries], groups, config.index.folds, config.index.seed)
    uris = [join(corpus, entry.video_id) for entry in entries]
    # A model must not train on a person whom it is tested on.
    tested = set(groups)
    others = [(entry, group) for entry, group in zip(extra, groups_of_extra, strict=True) if group not in tested]
    if len(others) < len(extra):
        notes.append(f"{len(extra) - len(others)} videos of index.extra_real show people of the corpus and were left out")
    for entry, group in others:
        entries.append(entry)
        uris.append(join(parent, entry.video_id))
        groups.append(group)
        folds.append(TRAIN_ONLY)
    columns = {
        "video_id": [entry.video_id for entry in entries],
        "uri": uris,
        "part": [entry.part for entry in entries],
        "label": [entry.label for entry in entries],
        "original": [entry.original for entry in entries],
        "split": [entry.split for entry in entries],
        "method": [entry.method for entry in entries],
        "group": groups,
        "fold": folds,
        "bytes": [entry.bytes for entry in entries],
    }
    notes += [note] if note else []
    if left_out:
        notes.append(f"{len(left_out)} videos are in no metadata and were left out, such as '{left_out[0]}'")
    return pa.table(columns, schema=SCHEMAS["manifest"]), notes


def list_new_videos(folder: str) -> pa.Table:
    """Return the manifest of a folder of new videos: every file but the hidden ones and a `metadata.json`, without labels.

    Raises CorpusError unless the folder is there and holds a file.
    """
    check_folder(folder, "--videos")
    entries = [entry for entry in list_videos(folder, suffixes=("",)) if posixpath.basename(entry.video_id) != METADATA]
    if not entries:
        raise CorpusError(f"--videos {folder}: the folder is empty")
    rows = [
        {"video_id": entry.video_id, "uri": join(folder, entry.video_id), "part": entry.part, "bytes": entry.bytes}
        for entry in sorted(entries, key=lambda entry: entry.video_id)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["manifest"])


def refuse_repeated(corpus: str, entries: list[Entry]) -> None:
    """Raise CorpusError if a video is listed twice."""
    for one, other in pairwise(sorted(entry.video_id for entry in entries)):
        if one == other:
            raise CorpusError(f"--corpus {corpus}: '{one}' is listed twice")


def write_manifest(folder: str, manifest: pa.Table) -> None:
    """Write the manifest of a run's folder as one Parquet file, which appears whole or not at all."""
    write_file(join(folder, "manifest", "part-0.parquet"), manifest)
    for table in ("faces", "embeddings", "scores"):  # left by a run whose manifest was deleted by hand
        delete_folder(join(folder, "checkpoints", table))
