"""The tables of a run: their schemas, what their metadata promise, and the few helpers that read and write them.

A table is a folder of Parquet files, `<run>/<table>/`. Up to `projection`, every table has exactly the manifest's rows.
Each file carries, under the key `dfd_ray`, its schema version and the settings that made it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from dfd_ray.config import Config
from dfd_ray.errors import RunError
from dfd_ray.storage import join, list_files, open_location

SCHEMA_VERSION = 1
METADATA_KEY = b"dfd_ray"


class Column(NamedTuple):
    """A column of a table, or a field of the structs in one."""

    name: str
    type: pa.DataType
    meaning: str
    nullable: bool = True

    @property
    def field(self) -> pa.Field:
        """The Arrow field."""
        return pa.field(self.name, self.type, nullable=self.nullable)


def struct_of(columns: Sequence[Column]) -> pa.DataType:
    """Return the Arrow type of a struct with these fields."""
    return pa.struct([column.field for column in columns])


VIDEO_ID = Column("video_id", pa.string(), "path of the video relative to the corpus, unique across parts", False)
LABEL = Column("label", pa.string(), "REAL, FAKE or null")
GROUP = Column("group", pa.string(), "connected component of `original` links, named by its first video")
FOLD = Column("fold", pa.int32(), "null for a video without a label")
STATUS = Column("status", pa.string(), "how the video ended, see below", False)
ERROR_STAGE = Column("error_stage", pa.string(), "where it failed, see below; null unless `status` is error")
ERROR = Column("error", pa.string(), "reason (see below), a colon, and what the decoder or the file system said")
FRAME_INDEX = Column("frame_index", pa.int64(), "in display order among all frames of the stream, from 0")
FACE_INDEX = Column("face_index", pa.int32(), "within the frame, the most probable face first")

FACE = [
    FRAME_INDEX,
    Column("time", pa.float64(), "seconds, of presentation"),
    FACE_INDEX,
    Column("box", pa.list_(pa.float32(), 4), "x1, y1, x2, y2 in pixels of the upright frame"),
    Column("landmarks", pa.list_(pa.float32(), 10), "five x, y pairs in the same pixels: eyes, nose, corners of the mouth"),
    Column("probability", pa.float32(), "of being a face, by the detector"),
    Column("image", pa.binary(), "the crop, JPEG"),
]


def embedding_face(dimensions: int) -> list[Column]:
    """Return the fields of a face of `embeddings/` for vectors of a length."""
    vector = Column("vector", pa.list_(pa.float16(), dimensions), "of the face: the backbone's pooled features")
    return [FRAME_INDEX, FACE_INDEX, vector]


COLUMNS: dict[str, list[Column]] = {
    "manifest": [
        VIDEO_ID,
        Column("uri", pa.string(), "where the video is", False),
        Column("part", pa.string(), "sub-folder of the corpus"),
        LABEL,
        Column("original", pa.string(), "name of the video that a FAKE one was made from"),
        Column("split", pa.string(), "as the corpus's metadata have it; not used"),
        GROUP,
        FOLD,
        Column("bytes", pa.int64(), "of the file; null where it was absent when indexed"),
    ],
    "faces": [
        VIDEO_ID,
        LABEL,
        GROUP,
        FOLD,
        STATUS,
        ERROR_STAGE,
        ERROR,
        Column("width", pa.int32(), "pixels, of the upright picture"),
        Column("height", pa.int32(), "pixels, of the upright picture"),
        Column("fps", pa.float64(), "frames a second, on average"),
        Column("frame_count", pa.int64(), "frames of the stream, counted"),
        Column("codec", pa.string(), "FFmpeg's name of the codec"),
        Column("seconds_spent", pa.float64(), "on decoding and detection"),
        Column("faces", pa.list_(struct_of(FACE)), "those found in the sampled frames, in the order of the frames", False),
    ],
    "embeddings": [
        VIDEO_ID,
        # With `embedding_face` for a backbone's vectors in place of these: see `embeddings_schema`.
        Column("faces", pa.list_(struct_of(embedding_face(0))), "a vector for every face of `faces/`, in its order", False),
    ],
    # Between the faces and the predictions, so that these can be made again without a network.
    "scores": [
        VIDEO_ID,
        STATUS,
        ERROR_STAGE,
        ERROR,
        Column("log_odds", pa.list_(pa.float32()), "of FAKE, one per face", False),
    ],
    "projection": [
        VIDEO_ID,
        Column(*FRAME_INDEX[:3], False),
        Column(*FACE_INDEX[:3], False),
        LABEL,
        Column("pca", pa.list_(pa.float32()), "principal components of the vector, the largest variance first"),
        Column("x", pa.float32(), "on the t-SNE map"),
        Column("y", pa.float32(), "on the t-SNE map"),
        Column("z", pa.float32(), "on the t-SNE map; null where it has two dimensions"),
        Column("cluster", pa.int32(), "HDBSCAN's, from 0; -1 = noise"),
        Column("membership", pa.float32(), "in its cluster, 0 to 1"),
        Column("thumbnail", pa.binary(), "the face, JPEG"),
    ],
    "predictions": [
        VIDEO_ID,
        LABEL,
        FOLD,
        Column("probability", pa.float64(), "of FAKE, calibrated and clipped"),
        Column("raw_probability", pa.float64(), "of FAKE, as aggregated from the faces"),
        Column("faces_used", pa.int32(), "faces behind it", False),
        STATUS,
    ],
}

SCHEMAS: dict[str, pa.Schema] = {
    table: pa.schema([column.field for column in columns]) for table, columns in COLUMNS.items() if table != "embeddings"
}


def embeddings_schema(dimensions: int) -> pa.Schema:
    """Return the schema of `embeddings/` for vectors of a length."""
    face = struct_of(embedding_face(dimensions))
    return pa.schema([VIDEO_ID.field, pa.field("faces", pa.list_(face), nullable=False)])


def with_metadata(schema: pa.Schema, table: str, config: Config, **facts: Any) -> pa.Schema:
    """Return a schema that carries what made the table, and any other facts a reader should have."""
    promise = {
        "table": table,
        "schema_version": SCHEMA_VERSION,
        "fingerprint": config.fingerprint(table),
        "configuration": config.content(table),
        **facts,
    }
    return schema.with_metadata({METADATA_KEY: json.dumps(promise).encode()})


def read_metadata(run: str, table: str) -> dict[str, Any]:
    """Return what `with_metadata` stored, from any readable file of the table; empty when there is none."""
    filesystem, _ = open_location(run)
    for path in table_files(run, table):
        try:
            stored = read_footer(path, filesystem).metadata
        except (pa.ArrowInvalid, OSError):
            continue
        return dict(json.loads((stored or {}).get(METADATA_KEY, b"{}")))
    return {}


def table_files(run: str, table: str) -> list[str]:
    """Return the Parquet files of a table, as paths inside the run's file system, in a fixed order."""
    return list_files(join(run, table), ".parquet")


def count_rows(run: str, table: str) -> int:
    """Return a table's rows, from the files' footers alone; a file cut off in the writing has none.

    Raises RunError for a file that may hold code, so that a job which counts before it reads is refused before Ray starts.
    """
    filesystem, _ = open_location(run)
    rows = 0
    for path in table_files(run, table):
        try:
            rows += read_footer(path, filesystem).num_rows
        except (pa.ArrowInvalid, OSError):
            continue
    return rows


def read_footer(path: str, filesystem: pafs.FileSystem) -> pq.FileMetaData:
    """Return a Parquet file's metadata; RunError when a column is of an extension type, which no table of ours has.

    Importing Ray Data registers types whose values, or whose parameters, are pickles: reading them runs what they hold.
    """
    try:
        metadata = pq.read_metadata(path, filesystem=filesystem)
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


def count_faces(run: str, table: str) -> int:
    """Return the faces in `faces` or `embeddings`, without reading their images or vectors."""
    videos = read_table(run, table, ["faces.list.element.face_index"])
    return int(pc.sum(pc.list_value_length(videos.column("faces"))).as_py() or 0)


def read_table(run: str, table: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Return whole columns of a table; for `faces` and `embeddings` name the small ones, or use `iterate_batches`."""
    filesystem, _ = open_location(run)
    files = table_files(run, table)
    if not files:
        raise RunError(f"{join(run, table)} holds no table; run `dfd-ray {WRITER[table]}` first")
    return pa.concat_tables(_open_file(path, filesystem).read(columns=list(columns) if columns else None) for path in files)


def iterate_batches(
    run: str,
    table: str,
    columns: Sequence[str] | None = None,
    batch_size: int = 64,
    files: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """Yield a table, or some of its files, piece by piece in order; memory is that of `batch_size` rows."""
    filesystem, _ = open_location(run)
    for path in files if files is not None else table_files(run, table):
        with _open_file(path, filesystem) as file:
            for batch in file.iter_batches(batch_size=batch_size, columns=list(columns) if columns else None):
                yield pa.Table.from_batches([batch])


def _open_file(path: str, filesystem: pafs.FileSystem) -> pq.ParquetFile:
    return pq.ParquetFile(path, filesystem=filesystem, metadata=read_footer(path, filesystem))


def check_compatible(run: str, table: str, config: Config) -> None:
    """Refuse (RunError) a table that another configuration made, naming the first field that differs."""
    stored = read_metadata(run, table)
    if stored:
        check_promise(stored, join(run, table), table, config)


def check_promise(stored: dict[str, Any], location: str, table: str, config: Config) -> None:
    """Refuse (RunError) what another configuration made, by the `fingerprint` and `configuration` stored with it."""
    if stored.get("fingerprint") == config.fingerprint(table):
        return
    then, now = stored.get("configuration", {}), config.content(table)
    for field in now:
        if then.get(field) != now[field]:
            raise RunError(
                f"{location} was made with {field} = {then.get(field)!r}, not {now[field]!r}; "
                f"use the same setting or another --run"
            )
    raise RunError(f"{location} was made by another version of the schema; use another --run")


def flatten_faces(videos: pa.Table, columns: Sequence[str] = ()) -> pa.Table:
    """Return one row per face: the named video columns, repeated, then the fields of the face.

    This is `unnest` in DuckDB. `videos` has a column `faces` (list of structs); rows without faces vanish.
    """
    faces = videos.column("faces").combine_chunks()
    if isinstance(faces, pa.ChunkedArray):
        faces = faces.chunk(0) if faces.num_chunks else pa.array([], faces.type)
    parents = pc.list_parent_indices(faces)
    flat = pc.list_flatten(faces)
    repeated = videos.select(list(columns)).take(parents)
    arrays = {name: repeated.column(name) for name in columns}
    arrays |= {field.name: pc.struct_field(flat, field.name) for field in flat.type}
    return pa.table(arrays)


def nest_faces(videos: pa.Table, faces: pa.StructArray, columns: Sequence[str] = ("video_id",)) -> pa.Table:
    """Return one row per video again: the inverse of `flatten_faces`, with other fields in each face.

    `faces` holds, in order, one struct for every face of `videos`.
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
