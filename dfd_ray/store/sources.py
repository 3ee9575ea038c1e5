"""What a table was made from: digests of it, kept in the table's metadata, and whether they still hold.

With its configuration every table carries, under `made_from`, a digest of each thing that it depends on: the manifest's ids,
labels, groups, folds and sizes of files, the tables before it, weights and classifiers. No digest depends on the order of rows,
on the files that hold them, or on how long anything took. What is not there (a table of an older version has no digests, faces
may have been deleted to save space) is not compared.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs

from dfd_ray.arrays import UInt8Array
from dfd_ray.errors import RunError
from dfd_ray.store.run import Run
from dfd_ray.store.storage import list_files, open_input, open_location
from dfd_ray.store.tables import (
    WRITER,
    count_rows,
    flatten_faces,
    iterate_batches,
    read_metadata,
    read_promises,
    read_table,
    table_files,
)

FACTS = {"ids": "video_id", "labels": "label", "groups": "group", "folds": "fold", "sizes": "bytes", "methods": "method"}
"""What is compared of the videos, and its column of the manifest."""
LISTED = ("ids", "labels", "groups", "folds", "sizes")
"""Those of them that all tables depend on; scores by method are taken at the end."""
SOURCES: dict[str, tuple[str, ...]] = {
    "faces": LISTED,
    "embeddings": ("ids", "labels", "sizes", "faces", "embed.weights"),
    "projection": (*LISTED, "faces", "embeddings"),
    "models": (*LISTED, "faces", "train.weights"),
    "scores": ("ids", "labels", "folds", "sizes", "faces", "models"),
    "predictions": (*FACTS, "faces", "models"),
}
"""What each table is made from, the first cause first; the tables in the order in which they are made."""
UPSTREAM = {"faces": (), "embeddings": ("faces",), "scores": ("faces",), "predictions": ("faces",)}
"""The tables that must agree with their own sources before one that is made from them can be called finished."""


class Content(NamedTuple):
    """What is compared of a table: columns of every video and fields of every face, and the large field of some videos."""

    columns: list[str]
    fields: list[str]
    large: str


CONTENT = {
    "faces": Content(["video_id", "status"], ["frame_index", "face_index", "box", "probability"], "image"),
    "embeddings": Content(["video_id"], ["frame_index", "face_index"], "vector"),
}
SAMPLE = 64
"""Videos whose pictures or vectors are compared, the same ones in any order: of all, they would be the whole corpus to read."""
THREADS = 8
"""Files that are read at once; over a network most of the time is waiting."""
ROWS_AT_ONCE = 4096
PIECE = 2**22
"""Bytes of a file that are in memory at once."""

Signature = tuple[tuple[str, int, int], ...]
"""Of files: path, size and time. What had been read of them is not read again in the same process."""


def digest_sources(run: Run, table: str) -> dict[str, str]:
    """Return the digests of what a table is made from now, by their names in `SOURCES`; what is not there is left out."""
    found = {name: digest_source(run, name) for name in SOURCES[table]}
    return {name: digest for name, digest in found.items() if digest is not None}


def refuse_changed(run: Run, table: str, promises: Iterable[Mapping[str, Any]] | None = None) -> None:
    """Raise RunError if a table was made from something else than what is there now: what changed, and what to delete.

    `promises` are what `with_metadata` stored with it, read if None.
    """
    stored = read_promises(run.location, table) if promises is None else promises
    if name := find_changed_source(run, table, stored):
        of_it = [other for other, sources in SOURCES.items() if table in sources and (name in sources or name not in FACTS)]
        there = [run.path(other) for other in of_it if list_files(run.path(other))]
        too = f", with what is made of it ({', '.join(there)})," if there else ""
        raise RunError(
            f"{run.path(table)} {describe_change(run, table, name)}; delete it{too} and run `dfd-ray {WRITER[table]}` again"
        )


def find_changed_source(run: Run, table: str, promises: Iterable[Mapping[str, Any]]) -> str | None:
    """Return the name of the first source that is not what it was when any file of a table was made; None if all are."""
    for promise in promises:
        made_from = promise.get("made_from") or {}
        for name in (one for one in SOURCES[table] if one in made_from):
            now = digest_source(run, name)
            if now is not None and now != made_from[name]:
                return name
    return None


def describe_change(run: Run, table: str, name: str) -> str:
    """Return what a table says of a source that has changed, to follow the table's name."""
    match name:
        case "sizes":
            return "was made from videos of other sizes: files were replaced since"
        case "embed.weights" | "train.weights":
            section, field = name.split(".")
            value = getattr(getattr(run.config, section), field)
            return f"was made with other weights than {name} = {value} holds now"
        case "models":
            return f"was made by other classifiers than {run.path('models')} holds now"
        case "faces" | "embeddings":
            return f"was made from other rows than {run.path(name)} holds now"
    column = FACTS[name]
    what = "videos" if name == "ids" else name
    try:
        then = read_table(run.location, table, ["video_id", column])
        change = compare_videos(then, read_table(run.location, "manifest", ["video_id", column]), column)
    except (RunError, KeyError):  # a model has no rows, and some tables not this column
        change = None
    return f"was made from other {what} than {run.path('manifest')} has now" + (f": {change}" if change else "")


def compare_videos(then: pa.Table, now: pa.Table, column: str) -> str | None:
    """Return how many videos are new, are gone, or differ in a column, with an example; None if there is no difference."""
    before, after = (dict(zip(*(one.column(c).to_pylist() for c in ("video_id", column)), strict=True)) for one in (then, now))
    if new := sorted(after.keys() - before.keys()):
        return f"{len(new)} of {len(after)} videos are new, such as {new[0]}"
    if gone := sorted(before.keys() - after.keys()):
        return f"{len(gone)} of {len(before)} videos are gone, such as {gone[0]}"
    unlike = sorted(one for one in after if before[one] != after[one])
    if not unlike:
        return None
    first = unlike[0]
    return f"{len(unlike)} of {len(after)} videos differ, such as {first}: {after[first]}, was {before[first]}"


def digest_source(run: Run, name: str) -> str | None:
    """Return the digest of one of `SOURCES` as it is now; None if it is not there, or not whole."""
    if name in FACTS:
        return digest_manifest(run.location, sign(run.location, table_files(run.location, "manifest"))).get(name)
    if name in CONTENT:
        own, videos = (sign(run.location, table_files(run.location, table)) for table in (name, "manifest"))
        whole = count_signed(run.location, name, own) == count_signed(run.location, "manifest", videos) > 0
        return digest_rows(run.location, name, own) if whole else None
    if name == "models":
        files = sorted(list_files(run.path("models"), ".safetensors"), key=lambda path: (len(path), path))
        return digest_files(run.location, sign(run.location, files)) if files else None
    section = getattr(run.config, name.partition(".")[0])
    return digest_weights(section.weights, section.backbone)


def digest_weights(weights: str, backbone: str) -> str | None:
    """Return what tells the weights that a setting names from others: a file's content, or where else they are from.

    None if it names a file that is not there.
    """
    if weights in ("random", "hub", "package"):
        return weights
    if weights == "auto":
        from dfd_ray.models.weights import find_package_file  # importing it takes seconds, and most settings do not need it

        return "package" if find_package_file(backbone) else "hub"
    return digest_location(weights)


def digest_location(location: str) -> str | None:
    """Return 16 hexadecimal digits that change with a file's content; None if it is not there."""
    filesystem, path = open_location(location)
    is_file = filesystem.get_file_info(path).type == pafs.FileType.File
    return digest_files(location, sign(location, [path])) if is_file else None


@lru_cache(maxsize=32)
def count_signed(folder: str, table: str, signature: Signature) -> int:
    """Return the number of a table's rows. The footers of the same files are read once in a process."""
    return count_rows(folder, table) if signature else 0


@lru_cache(maxsize=32)
def digest_manifest(folder: str, signature: Signature) -> dict[str, str]:
    """Return the digests of `FACTS` in a run's manifest; none without one."""
    if not signature:
        return {}
    videos = read_table(folder, "manifest", list(FACTS.values()))
    # `retry-errors` notes new sizes of files that could not be read before; what was made of the others still holds.
    retried = read_metadata(folder, "manifest").get("sizes_when_indexed", {})
    ids, sizes = videos.column("video_id").to_pylist(), videos.column("bytes").to_pylist()
    sizes = [retried.get(video_id, size) for video_id, size in zip(ids, sizes, strict=True)]
    columns = {name: videos.column(column).to_pylist() for name, column in FACTS.items()} | {"sizes": sizes}
    return {name: digest_facts(ids, values) for name, values in columns.items()}


def digest_facts(ids: Sequence[str], values: Sequence[object]) -> str:
    """Return 16 hexadecimal digits that change with any video's value, and not with the order of the videos."""
    lines = sorted(repr(pair) for pair in zip(ids, values, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@lru_cache(maxsize=32)
def digest_files(folder: str, signature: Signature) -> str:
    """Return 16 hexadecimal digits that change with the content of files, about a second for each gigabyte."""
    filesystem, _ = open_location(folder)
    digest = hashlib.sha256()
    for path, _, _ in signature:
        with open_input(path, filesystem) as file:
            while piece := file.read(PIECE):
                digest.update(piece)
    return digest.hexdigest()[:16]


@lru_cache(maxsize=32)
def digest_rows(folder: str, table: str, signature: Signature) -> str:
    """Return 16 hexadecimal digits that change with the content of `faces/` or `embeddings/`.

    Covers the ids and outcomes of all videos and the places of all faces. Of the pictures and vectors it covers those of
    `SAMPLE` videos: tables that were made anew differ there, too.
    """
    files = [path for path, _, _ in signature]
    with ThreadPoolExecutor(THREADS) as pool:
        found = dict(zip(files, pool.map(lambda file: digest_places(folder, table, file), files), strict=True))
    digest = hashlib.sha256(b"".join(sorted(row for rows in found.values() for _, row, _ in rows)))
    with_faces = ((hash_of(name.encode()), name, file) for file, rows in found.items() for name, _, faces in rows if faces)
    chosen = sorted(with_faces)[:SAMPLE]
    by_file = {file: [name for _, name, at in chosen if at == file] for _, _, file in chosen}
    with ThreadPoolExecutor(THREADS) as pool:
        large = list(pool.map(lambda file: digest_large(folder, table, file, by_file[file]), by_file))
    digest.update(b"".join(sorted(one for rows in large for one in rows)))
    return digest.hexdigest()[:16]


def digest_places(folder: str, table: str, file: str) -> list[tuple[str, bytes, int]]:
    """Return the id of each video in a file, the digest of its outcome and of the places of its faces, and their number."""
    content = CONTENT[table]
    columns = [*content.columns, *(f"faces.list.element.{field}" for field in content.fields)]
    rows = list[tuple[str, bytes, int]]()
    for batch in iterate_batches(folder, table, columns, ROWS_AT_ONCE, [file]):
        faces = flatten_faces(batch)
        data = np.concatenate([to_bytes(faces.column(name)) for name in content.fields], axis=1)
        lengths = pc.fill_null(pc.list_value_length(batch.column("faces")), 0).to_numpy()
        ends = np.cumsum(lengths)
        facts = zip(*(batch.column(name).to_pylist() for name in content.columns), strict=True)
        for fact, start, end in zip(facts, ends - lengths, ends, strict=True):
            rows.append((fact[0], hash_of(repr(fact).encode(), data[start:end].tobytes()), int(end - start)))
    return rows


def digest_large(folder: str, table: str, file: str, video_ids: list[str]) -> list[bytes]:
    """Return the digests of the pictures or vectors of some videos in a file."""
    field, wanted = CONTENT[table].large, pa.array(video_ids, pa.string())
    rows = []
    for batch in iterate_batches(folder, table, ["video_id", f"faces.list.element.{field}"], files=[file]):
        chosen = batch.filter(pc.is_in(batch.column("video_id"), wanted))
        for number, name in enumerate(chosen.column("video_id").to_pylist()):
            values = flatten_faces(chosen.slice(number, 1)).column(field)
            binary = pa.types.is_binary(values.type)
            parts = [value or b"" for value in values.to_pylist()] if binary else [to_bytes(values).tobytes()]
            rows.append(hash_of(name.encode(), *parts))
    return rows


def to_bytes(column: pa.ChunkedArray) -> UInt8Array:
    """Return the numbers, or lists of a fixed length of them, of a column as (n, width) bytes; nulls differ from any number."""
    valid = column.is_valid().to_numpy()
    lists = pa.types.is_fixed_size_list(column.type)
    flat = (pc.list_flatten(column) if lists else column.drop_null()).to_numpy()
    data = np.zeros((len(valid), column.type.list_size if lists else 1), flat.dtype)
    data[valid] = flat.reshape(-1, data.shape[1])
    whole = data.view(np.uint8).reshape(len(data), data.shape[1] * data.itemsize)
    return np.concatenate([whole, valid.astype(np.uint8)[:, None]], axis=1)


def hash_of(*parts: bytes) -> bytes:
    """Return 16 bytes that change with the parts and with where one ends."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def sign(folder: str, paths: Sequence[str]) -> Signature:
    """Return the path, size and time of files in the file system of a folder, without those that are gone by now."""
    filesystem, _ = open_location(folder)
    if len(paths) == 1:
        facts = filesystem.get_file_info(list(paths))
    else:  # one request lists a folder of object storage; to ask for each file would be a request a file
        folders = {posixpath.dirname(path) for path in paths}
        facts = [fact for one in folders for fact in filesystem.get_file_info(pafs.FileSelector(one))]
    found = {fact.path: fact for fact in facts}
    return tuple((path, found[path].size or 0, found[path].mtime_ns or 0) for path in paths if path in found)
