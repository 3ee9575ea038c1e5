"""The tables of a run: what their metadata promise, and how to read and write them.

A table is a folder of Parquet files, `<run>/<table>/`. Up to `projection`, every table has exactly the manifest's rows.
Each file carries, under the key `dfd_ray`, its schema version, the settings that made it, and digests of what it was made from
(`sources.py`). Files of one table may have other columns where another version of the program wrote them.
"""

from __future__ import annotations

import io
import json
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from dfd_ray.config import Config, has_field
from dfd_ray.errors import RunError
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.storage import join, list_files, open_input, open_location, write_bytes

SCHEMA_VERSION = 1
"""Raised when a column's meaning changes: tables of another version are refused."""
METADATA_KEY = b"dfd_ray"


def with_metadata(schema: pa.Schema, table: str, config: Config, **facts: object) -> pa.Schema:
    """Return a schema whose metadata say what made the table, and any other facts that a reader needs."""
    promise = {
        "table": table,
        "schema_version": SCHEMA_VERSION,
        "fingerprint": config.fingerprint(table),
        "configuration": config.content(table),
        **facts,
    }
    return schema.with_metadata({METADATA_KEY: json.dumps(promise).encode()})


def read_metadata(folder: str, table: str) -> dict[str, Any]:
    """Return what `with_metadata` stored, from the first readable file of the table; empty when there is none."""
    filesystem, _ = open_location(folder)
    for path in table_files(folder, table):
        try:
            stored = read_footer(path, filesystem).metadata
        except (pa.ArrowInvalid, OSError):
            continue
        return dict(json.loads((stored or {}).get(METADATA_KEY, b"{}")))
    return {}


def table_files(folder: str, table: str) -> list[str]:
    """Return the Parquet files of a table, as paths inside the run's file system, in a fixed order."""
    return list_files(join(folder, table), ".parquet")


def count_rows(folder: str, table: str) -> int:
    """Return the number of rows of a table, from the files' footers alone; a file cut off in the writing has none.

    Raises RunError for a file that may hold code, so that a job which counts first is refused before Ray starts.
    """
    return survey_table(folder, table)[0]


def read_promises(folder: str, table: str) -> list[dict[str, Any]]:
    """Return what `with_metadata` stored in the files of a table, each different one once."""
    return survey_table(folder, table)[1]


def survey_table(folder: str, table: str) -> tuple[int, list[dict[str, Any]]]:
    """Return what `count_rows` and `read_promises` do, from one look at every footer."""
    filesystem, _ = open_location(folder)
    rows, stored = 0, dict[bytes, None]()
    for path in table_files(folder, table):
        try:
            footer = read_footer(path, filesystem)
        except (pa.ArrowInvalid, OSError):
            continue
        rows += footer.num_rows
        stored[(footer.metadata or {}).get(METADATA_KEY, b"{}")] = None
    return rows, [dict(json.loads(one)) for one in stored]


def read_footer(path: str, filesystem: pafs.FileSystem) -> pq.FileMetaData:
    """Return a Parquet file's metadata; RunError when it may hold code."""
    with open_input(path, filesystem) as file:
        return read_trusted_footer(file, path)


def read_trusted_footer(file: pa.NativeFile, path: str) -> pq.FileMetaData:
    """Return an open Parquet file's metadata; RunError when a column is of an extension type, which no table of ours has.

    Importing Ray Data registers types whose values or parameters are pickles: reading them runs the code that they hold.
    """
    try:
        metadata = pq.read_metadata(file)
        types = [field.type for field in metadata.schema.to_arrow_schema()]
    except pa.ArrowInvalid:
        raise
    except (ValueError, TypeError) as error:  # Ray's types refuse parameters that are pickles
        raise RunError(f"{path} has a column that cannot be trusted: {' '.join(str(error).split())}") from None
    while types:
        kind = types.pop()
        if isinstance(kind, pa.BaseExtensionType):
            raise RunError(f"{path} has a column of the type {kind}, which may hold code; dfd-ray has not written it")
        types += [kind.field(number).type for number in range(kind.num_fields)]
    return metadata


def count_faces(folder: str, table: str) -> int:
    """Return the number of faces in `faces` or `embeddings`, without reading their images or vectors."""
    videos = read_table(folder, table, ["faces.list.element.face_index"])
    return int(pc.sum(pc.list_value_length(videos.column("faces"))).as_py() or 0)


def read_table(folder: str, table: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Return whole columns of a table. For `faces` and `embeddings` name the small ones, or use `iterate_batches`."""
    filesystem, _ = open_location(folder)
    files = table_files(folder, table)
    if not files:
        raise RunError(f"{join(folder, table)} holds no table; run `dfd-ray {WRITER[table]}` first")
    pieces = []
    for path in files:
        with open_file(path, filesystem) as file:
            pieces.append(complete_columns(file.read(columns=list(columns) if columns else None), table, columns))
    return concat_rows(pieces)


def concat_rows(pieces: Iterable[pa.Table]) -> pa.Table:
    """Return tables below each other; a column that one of them lacks is null in its rows."""
    return pa.concat_tables(pieces, promote_options="default")


def complete_columns(rows: pa.Table, table: str, columns: Sequence[str] | None) -> pa.Table:
    """Return rows of a table with the columns that were asked for and that its file, of another version, lacks: as nulls.

    The structs in a column become those of this version, too.
    """
    schema = SCHEMAS.get(table, pa.schema([]))
    for field in (field for field in schema if field.name in (columns or rows.column_names)):
        if field.name not in rows.column_names:
            rows = rows.append_column(field.with_nullable(True), pa.nulls(len(rows), field.type))
        elif pa.types.is_nested(field.type) and rows.schema.field(field.name).type != field.type:
            place = rows.column_names.index(field.name)
            rows = rows.set_column(place, field, rows.column(place).cast(field.type))
    return rows


def iterate_batches(
    folder: str, table: str, columns: Sequence[str] | None = None, batch_size: int = 64, files: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Yield a table, or some of its files, piece by piece in order; `batch_size` rows are in memory at a time."""
    filesystem, _ = open_location(folder)
    for path in files if files is not None else table_files(folder, table):
        with open_file(path, filesystem) as file:
            for batch in file.iter_batches(batch_size=batch_size, columns=list(columns) if columns else None):
                yield complete_columns(pa.Table.from_batches([batch]), table, columns)


@contextmanager
def open_file(path: str, filesystem: pafs.FileSystem) -> Iterator[pq.ParquetFile]:
    """Open one file of a table; RunError when it may hold code."""
    with open_input(path, filesystem) as file:
        yield pq.ParquetFile(file, metadata=read_trusted_footer(file, path))


def check_compatible(run: Run, table: str, promises: Iterable[dict[str, Any]] | None = None) -> None:
    """Raise RunError if a table has another schema, or another configuration made it; the first different field is named.

    `promises` are what its files have stored, read if None.
    """
    for stored in read_promises(run.location, table) if promises is None else promises:
        if stored:
            check_promise(stored, run.path(table), table, run.config)


def refuse_older_faces(run: Run) -> None:
    """Raise RunError if an older version began `faces/`: it chose frames and followed faces in a way that showed the label."""
    filesystem, _ = open_location(run.location)
    for path in table_files(run.location, "faces"):
        try:
            names = read_footer(path, filesystem).schema.to_arrow_schema().names
        except (pa.ArrowInvalid, OSError):  # cut off in the writing
            continue
        if "sampled" not in names:
            raise RunError(
                f"{run.path('faces')} was made by an older version, which chose frames in another way, so no row can be added; "
                f"delete it to make it anew, or use another --run"
            )


GROWING = ("preprocess.containers",)
"""Lists that may become longer: what the shorter one let in is read as before."""


def check_promise(stored: dict[str, Any], location: str, table: str, config: Config) -> None:
    """Raise RunError if another configuration made something, by the `fingerprint` and `configuration` stored with it.

    Checks the `schema_version` of a table as well; a model has none.
    """
    version = stored.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise RunError(f"{location} is of version {version} of the tables, this dfd-ray of {SCHEMA_VERSION}; use another --run")
    if stored.get("fingerprint") == config.fingerprint(table):
        return
    then, now, usual = stored.get("configuration", {}), config.content(table), Config().content(table)
    for field in now:
        before = then.get(field, usual[field])  # the default of a new setting is what older versions did
        grown = field in GROWING and set(cast(list[str], before)) <= set(cast(list[str], now[field]))
        if before != now[field] and not grown:
            raise RunError(
                f"{location} was made with {field} = {before!r}, not {now[field]!r}; use the same setting or another --run"
            )
    for field in then.keys() - now.keys():
        if not has_field(field):
            raise RunError(
                f"{location} was made with {field} = {then[field]!r}, which this version does not know; use another --run"
            )
    if not then:
        raise RunError(f"{location} was made by a version with other settings; use another --run")


def write_file(location: str, table: pa.Table, compression: str = "snappy") -> None:
    """Write one Parquet file, which appears whole or not at all."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression=compression)
    write_bytes(location, buffer.getvalue())


def replace_rows(folder: str, table: str, rows: pa.Table) -> None:
    """Replace the rows of the same videos by `rows`, file by file, each whole or not at all."""
    filesystem, _ = open_location(folder)
    replaced = rows.column("video_id").combine_chunks()
    for path in table_files(folder, table):
        with open_file(path, filesystem) as file:
            ids = file.read(columns=["video_id"]).column("video_id")
            out_of_date = pc.is_in(ids, value_set=replaced)
            if not pc.any(out_of_date).as_py():
                continue
            kept = file.read().filter(pc.invert(out_of_date))
        new = rows.filter(pc.is_in(rows.column("video_id"), value_set=ids.combine_chunks()))
        both = concat_rows([complete_columns(kept, table, None), new]).replace_schema_metadata(kept.schema.metadata)
        write_file(join(folder, table, posixpath.basename(path)), both, "zstd")


def flatten_faces(videos: pa.Table, columns: Sequence[str] = ()) -> pa.Table:
    """Return one row per face: the named video columns, repeated, then the fields of the face.

    DuckDB calls this `unnest`. `videos` has a column `faces` (list of structs); rows without faces disappear.
    """
    faces = videos.column("faces").combine_chunks()
    if isinstance(faces, pa.ChunkedArray):
        faces = faces.chunk(0) if faces.num_chunks else pa.array([], faces.type)
    parents = pc.list_parent_indices(faces)
    flat = pc.list_flatten(faces)
    repeated = videos.select(list(columns)).take(parents)
    fields = {field.name: pc.struct_field(flat, field.name) for field in flat.type}
    return pa.table({name: repeated.column(name) for name in columns} | fields)


def nest_faces(videos: pa.Table, faces: pa.StructArray, columns: Sequence[str] = ("video_id",)) -> pa.Table:
    """Return one row per video again, with other fields in each face: the inverse of `flatten_faces`.

    `faces` has one struct for every face of `videos`, in order.
    """
    lengths = pc.list_value_length(videos.column("faces")).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    nested = pa.ListArray.from_arrays(pa.array(offsets), faces)
    return videos.select(list(columns)).append_column("faces", nested)


WRITER = {
    "manifest": "index",
    "faces": "preprocess",
    "embeddings": "embed",
    "projection": "analyze",
    "models": "train",
    "scores": "evaluate",
    "predictions": "evaluate",
}
"""The job that writes each table."""
