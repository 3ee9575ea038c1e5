"""The manifest: one row per video, with its label, its group and its fold."""

from __future__ import annotations

import posixpath
from itertools import pairwise
from typing import NamedTuple

import pyarrow as pa
import pyarrow.fs as pafs

from dfd_ray.config import Config
from dfd_ray.corpus.entries import check_present, read_corpus
from dfd_ray.corpus.folds import assign_folds
from dfd_ray.corpus.groups import group_people
from dfd_ray.corpus.listing import (
    VIDEO_SUFFIXES,
    Entry,
    check_folder,
    describe_left_out,
    is_video,
    list_extra_real,
    list_files,
)
from dfd_ray.corpus.people import join_people
from dfd_ray.corpus.twins import Place, Report, describe_twins, find_twins, ignore
from dfd_ray.corpus.wording import count_of
from dfd_ray.errors import ConfigurationError, CorpusError
from dfd_ray.labels import TRAIN_ONLY
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.storage import absolute_uri, delete_folder, join, open_location
from dfd_ray.store.tables import write_file


class Videos(NamedTuple):
    """The videos of a corpus, those of `index.extra_real`, notes on all that is left out, and the corpus's layout in words."""

    entries: list[Entry]
    extra: list[Entry]
    notes: list[str]
    layout: str


def read_videos(corpus: str, config: Config) -> Videos:
    """Return the videos of a corpus, and of `index.extra_real`.

    Raises CorpusError when a folder is missing or empty, its metadata contradict it, or the layout that `index.layout` names
    is not there.
    """
    extra, told = list_extra_real(absolute_uri(config.index.extra_real)) if config.index.extra_real is not None else ([], [])
    entries, notes, layout = read_corpus(corpus, config.index.layout, extra)
    return Videos(entries, extra, [*notes, *told], layout)


def build_manifest(
    corpus: str,
    config: Config,
    report: Report = ignore,
    read: Videos | None = None,
) -> tuple[pa.Table, list[str]]:
    """Return the manifest of a corpus, and notes on all that is left out of it, on copies and on folds.

    `report` is called with how many of how many files have been compared; `read` is what `read_videos` returned, if it was
    called before. Raises CorpusError as that does, and when files are absent.
    """
    entries, extra, notes, _ = read or read_videos(corpus, config)
    notes += check_present(corpus, entries, config)
    places = [Place(entry.video_id, corpus, entry.video_id, entry.bytes) for entry in entries]
    count = len(entries)
    if config.index.extra_real is not None:
        folder, entries = absolute_uri(config.index.extra_real), entries + extra
        places += [Place(entry.video_id, folder, entry.video_id.partition("/")[2], entry.bytes) for entry in extra]
    refuse_repeated(corpus, entries)
    groups, told = group_videos(entries, places, config, report)
    labels = [entry.label for entry in entries[:count]]
    folds, note = assign_folds(labels, groups[:count], config.index.folds, config.index.seed)
    folds += [TRAIN_ONLY] * (len(entries) - count)
    # A model must not train on a person whom it is tested on.
    tested = set(groups[:count])
    kept = [*range(count), *(number for number in range(count, len(entries)) if groups[number] not in tested)]
    notes += [*told, *([note] if note else [])]
    if left_out := len(entries) - len(kept):
        notes.append(
            f"left out: {count_of(left_out, 'video')} of index.extra_real, of people who are in the corpus, or copied from it"
        )
    rows = [make_row(entries[number], places[number], groups[number], folds[number]) for number in kept]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["manifest"]), notes


def group_videos(entries: list[Entry], places: list[Place], config: Config, report: Report) -> tuple[list[str], list[str]]:
    """Return each video's group, and notes on copies and on people that join groups."""
    twins = find_twins(places, config.preprocess.follow_links, report)
    notes = describe_twins(twins, {entry.video_id: entry.label for entry in entries})
    groups, told = group_people(entries, twins, config.index.folds, config.index.join_people)
    notes += told
    if config.index.people is not None:
        if config.index.same_person is None:
            raise ConfigurationError("index.people needs index.same_person: from which cosine two vectors are of one person")
        video_ids = [entry.video_id for entry in entries]
        groups, joined = join_people(video_ids, groups, config.index.people, config.index.same_person)
        notes.append(joined)
    return groups, notes


def make_row(entry: Entry, place: Place, group: str, fold: int | None) -> dict[str, object]:
    """Return a row of the manifest."""
    return {**list_facts(entry), "uri": join(place.folder, place.path), "group": group, "fold": fold}


def list_facts(entry: Entry) -> dict[str, object]:
    """Return the columns of the manifest that the corpus gives."""
    row = {column: getattr(entry, column) for column in ("video_id", "part", "label", "split", "method", "bytes")}
    return row | {column: list(getattr(entry, column)) or None for column in ("originals", "people")}


def list_new_videos(location: str) -> tuple[pa.Table, list[str]]:
    """Return the manifest of new videos, without labels, and notes on the files beside them that are left out.

    Of a folder they are the videos that `index` would find without a table of labels. A file that is named itself is a row,
    whatever it is. Raises CorpusError where there is nothing of that name, or a folder without a video.
    """
    filesystem, path = open_location(location)
    info = filesystem.get_file_info(path)
    if info.type == pafs.FileType.File:
        row = {"video_id": posixpath.basename(path), "uri": location, "bytes": info.size}
        return pa.Table.from_pylist([row], schema=SCHEMAS["manifest"]), []
    check_folder(location, "--videos")
    files = list_files(location)
    videos = sorted(path for path in files if is_video(path) and files[path] is not None)
    notes = describe_left_out(files, videos)
    if not videos:
        found = "; ".join([f"looked for {', '.join(VIDEO_SUFFIXES)}", *notes])
        raise CorpusError(f"--videos {location}: {f'no video in it ({found})' if files else 'the folder is empty'}")
    rows = [
        {"video_id": path, "uri": join(location, path), "part": posixpath.dirname(path) or None, "bytes": files[path]}
        for path in videos
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["manifest"]), notes


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
