"""The videos of a folder, and what its DFDC metadata, CSV of labels or bare files say about them."""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pyarrow.fs as pafs

from dfd_ray.config import Config
from dfd_ray.errors import CorpusError
from dfd_ray.labels import LABELS
from dfd_ray.store.storage import join, open_location, read_bytes

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".ts")
METADATA = "metadata.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One video of the corpus, with what its metadata say."""

    video_id: str
    part: str | None
    label: str | None = None
    original: str | None = None
    split: str | None = None
    method: str | None = None
    bytes: int | None = None


def check_folder(location: str, flag: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a folder and its path there; CorpusError, naming the flag, if it is not a folder."""
    filesystem, path = open_location(location)
    kind = filesystem.get_file_info(path).type
    if kind != pafs.FileType.Directory:
        raise CorpusError(
            f"{flag} {location}: {'there is no such folder' if kind == pafs.FileType.NotFound else 'not a folder'}"
        )
    return filesystem, path


def read_entries(corpus: str) -> tuple[list[Entry], list[str]]:
    """Read the corpus from DFDC's `metadata.json` files, a Kaggle-style CSV, or just the videos in it.

    Returns the videos, and the ids of those in the corpus that its metadata do not mention.
    """
    filesystem, root = check_folder(corpus, "--corpus")
    beside = _list(filesystem, root, corpus)
    parts = ["", *sorted(posixpath.relpath(path, root) for path, kind, _ in beside if kind == pafs.FileType.Directory)]
    described = [part for part in parts if _is_file(filesystem, posixpath.join(root, part, METADATA))]
    listed = list_videos(corpus, (*VIDEO_SUFFIXES, METADATA))
    found = [entry for entry in listed if entry.video_id.lower().endswith(VIDEO_SUFFIXES)]
    deeper = [entry.video_id for entry in listed if posixpath.basename(entry.video_id) == METADATA]
    if deeper and not described:
        above = join(corpus, posixpath.dirname(posixpath.dirname(deeper[0])))
        raise CorpusError(
            f"--corpus {corpus}: {deeper[0]} is too deep; --corpus is the folder above the parts, such as {above}"
        )
    if described:
        entries = [entry for part in described for entry in _read_metadata_json(corpus, part)]
    else:
        tables = sorted(path for path, _, _ in beside if path.endswith(".csv"))
        if len(tables) > 1:
            raise CorpusError(f"--corpus {corpus}: {len(tables)} CSV files; which one holds the labels?")
        entries = list(_read_csv(corpus, posixpath.basename(tables[0]))) if tables else found
    if not entries:
        raise CorpusError(f"--corpus {corpus}: no video in it (looked for metadata.json, a CSV, {', '.join(VIDEO_SUFFIXES)})")
    known = {entry.video_id for entry in entries}
    sizes = {entry.video_id: entry.bytes for entry in found}
    entries = [replace(entry, bytes=sizes.get(entry.video_id)) for entry in entries]
    return entries, sorted(entry.video_id for entry in found if entry.video_id not in known)


def list_videos(corpus: str, suffixes: tuple[str, ...] = VIDEO_SUFFIXES) -> list[Entry]:
    """Return the videos of a folder and its sub-folders with their sizes, without labels and without hidden files.

    Raises CorpusError if a name is not UTF-8, since no table could hold it.
    """
    filesystem, root = open_location(corpus)
    files = [
        (posixpath.relpath(path, root), size)
        for path, kind, size in _list(filesystem, root, corpus, recursive=True)
        if kind == pafs.FileType.File
    ]
    return [
        Entry(path, posixpath.dirname(path) or None, bytes=size)
        for path, size in files
        if path.lower().endswith(suffixes) and not any(name.startswith(".") for name in path.split("/"))
    ]


def list_extra_real(folder: str) -> tuple[str, list[Entry]]:
    """Return the parent of a folder of more REAL videos, to which their ids are relative, and the videos sorted by id.

    Ids begin with the folder's own name, as if it were a part of the corpus. Raises CorpusError if the folder has no video.
    """
    check_folder(folder, "index.extra_real =")
    parent, name = posixpath.split(folder.rstrip("/"))
    entries = [
        replace(entry, video_id=posixpath.join(name, entry.video_id), part=posixpath.join(name, entry.part or "").rstrip("/"))
        for entry in list_videos(folder)
    ]
    if not entries:
        raise CorpusError(f"index.extra_real = {folder}: no video in it (looked for {', '.join(VIDEO_SUFFIXES)})")
    return parent, sorted((replace(entry, label="REAL") for entry in entries), key=lambda entry: entry.video_id)


def add_sizes(corpus: str, entries: list[Entry], config: Config) -> list[Entry]:
    """Return the videos with the sizes that the listing did not give.

    An absent file is an error (CorpusError) or has no size, as `index.missing_files` says.
    """
    filesystem, root = open_location(corpus)
    unlisted = [entry.video_id for entry in entries if entry.bytes is None]
    infos = filesystem.get_file_info([posixpath.join(root, video_id) for video_id in unlisted])
    sizes = {name: info.size for name, info in zip(unlisted, infos, strict=True) if info.type == pafs.FileType.File}
    sized = [entry if entry.bytes is not None else replace(entry, bytes=sizes.get(entry.video_id)) for entry in entries]
    absent = [entry.video_id for entry in sized if entry.bytes is None]
    if absent and config.index.missing_files == "refuse":
        raise CorpusError(
            f"--corpus {corpus}: {len(absent)} of {len(entries)} videos that the metadata name are absent, such as "
            f"'{absent[0]}'; --set index.missing_files=keep makes them error rows"
        )
    return sized


def _read_metadata_json(corpus: str, part: str) -> Iterator[Entry]:
    location = join(corpus, part, METADATA) if part else join(corpus, METADATA)
    try:
        metadata = json.loads(read_bytes(location))
    except (ValueError, OSError) as error:
        raise CorpusError(f"{location}: not JSON: {error}") from None
    if not isinstance(metadata, dict) or not all(isinstance(facts, dict) for facts in metadata.values()):
        raise CorpusError(f'{location}: expected {{"name.mp4": {{"label": ...}}}}')
    for name, facts in metadata.items():
        _refuse_bad_name(location, name)
        original = facts.get("original") or None
        if original is not None:
            _refuse_bad_name(location, original)
        yield Entry(
            posixpath.join(part, name),
            part or None,
            _check_label(location, name, facts.get("label")),
            original,
            _check_text(location, name, facts, "split"),
            _check_text(location, name, facts, "method") or None,
        )


def _read_csv(corpus: str, name: str) -> Iterator[Entry]:
    location = join(corpus, name)
    try:
        text = read_bytes(location).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CorpusError(f"{location}: not UTF-8 text") from None
    rows = csv.DictReader(io.StringIO(text), restval="")
    if not {"filename", "label"} <= set(rows.fieldnames or ()):
        raise CorpusError(f"{location}: expected the columns filename and label, got {', '.join(rows.fieldnames or ['none'])}")
    for row in rows:
        path = row["filename"]
        if not path:
            raise CorpusError(f"{location}: line {rows.line_num} names no file")
        if path.startswith("/") or ".." in path.split("/"):
            raise CorpusError(f"{location}: '{path}' points out of the corpus")
        label = {"0": "REAL", "1": "FAKE"}.get(row["label"], row["label"])
        yield Entry(
            path,
            posixpath.dirname(path) or None,
            _check_label(location, path, label or None),
            row.get("original") or None,
            method=row.get("method") or None,
        )


def _refuse_bad_name(location: str, name: object) -> None:
    if not isinstance(name, str) or not name or "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
        raise CorpusError(f"{location}: {name!r} is not a plain file name")


def _check_label(location: str, name: str, label: object) -> str | None:
    if label is None or label in LABELS:
        return label
    raise CorpusError(f"{location}: '{name}' has the label {label!r}; expected REAL or FAKE")


def _check_text(location: str, name: str, facts: Mapping[str, object], key: str) -> str | None:
    value = facts.get(key)
    if value is None or isinstance(value, str):
        return value
    raise CorpusError(f"{location}: '{name}' has the {key} {value!r}; expected text")


def _list(
    filesystem: pafs.FileSystem, root: str, location: str, recursive: bool = False
) -> list[tuple[str, pafs.FileType, int | None]]:
    """Return the path, type and size of everything in a folder."""
    found = filesystem.get_file_info(pafs.FileSelector(root, recursive=recursive))
    try:
        return [(info.path, info.type, info.size) for info in found]
    except UnicodeDecodeError as error:
        raise CorpusError(f"{location}: a file name is not UTF-8: {error.object!r}; rename it") from None


def _is_file(filesystem: pafs.FileSystem, path: str) -> bool:
    return bool(filesystem.get_file_info(path).type == pafs.FileType.File)
