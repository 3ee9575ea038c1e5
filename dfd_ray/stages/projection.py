"""The table of the map: tasks join the faces with their places on it."""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from dfd_ray.analysis.face_map import Map, describe_clusters, describe_tsne
from dfd_ray.arrays import AnyArray, Float32Array
from dfd_ray.faces.crop import decode_jpeg, encode_jpeg
from dfd_ray.runtime.session import ATTEMPTS
from dfd_ray.stages.pca_passes import KEYS
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.storage import delete_folder
from dfd_ray.store.tables import flatten_faces, iterate_batches, read_table, table_files, with_metadata, write_file


def read_truths(run: Run, keys: pa.Table) -> dict[str, AnyArray]:
    """Return each face's video, group, fold and label, (n,) each, in the order of the keys."""
    videos = read_table(run.location, "manifest", ["video_id", "group", "fold", "label"])
    row = pc.index_in(keys.column("video_id"), value_set=videos.column("video_id").combine_chunks())
    columns = videos.take(row)
    return {
        "video": columns.column("video_id").to_numpy(),
        "group": columns.column("group").to_numpy(),
        "fold": columns.column("fold").to_numpy(),
        "label": pc.fill_null(columns.column("label"), "none").to_numpy(),
    }


def write_projection(run: Run, keys: pa.Table, scores: Float32Array, result: Map) -> None:
    """Write `projection/` by tasks, a file for every file of `faces/`; a file that is written twice has the same bytes."""
    delete_folder(run.path("projection"))
    x, y, *z = result.tsne.coordinates.T
    columns = {
        "pca": pa.array(list(scores), pa.list_(pa.float32())),
        "x": pa.array(x, pa.float32()),
        "y": pa.array(y, pa.float32()),
        "z": pa.array(z[0], pa.float32()) if z else pa.nulls(len(keys), pa.float32()),
        "cluster": pa.array(result.clusters.labels, pa.int32()),
        "membership": pa.array(result.clusters.membership, pa.float32()),
        "video_cluster": pa.array(result.video_clusters.labels[result.video], pa.int32()),
    }
    places = keys
    for name, values in columns.items():
        places = places.append_column(name, values)
    facts = {"tsne": describe_tsne(result), **describe_clusters(result)}
    schema = with_metadata(SCHEMAS["projection"], "projection", run.config, **facts)
    write = ray.remote(write_projection_file).options(max_retries=ATTEMPTS)
    shared = ray.put(places)
    files = table_files(run.location, "faces")
    ray.get([write.remote(run, file, i, shared, schema) for i, file in enumerate(files)])


def write_projection_file(run: Run, file: str, number: int, places: pa.Table, schema: pa.Schema) -> None:
    """Join one file of `faces/` with the places of its faces, and write it as one file of `projection/`."""
    parts = []
    for batch in iterate_batches(run.location, "faces", ["video_id", "label", "faces"], files=[file]):
        faces = flatten_faces(batch, ["video_id", "label"]).select([*KEYS, "label", "image"])
        thumbnails = [shrink(image, run.config.analyze.thumbnail_size) for image in faces.column("image").to_pylist()]
        parts.append(faces.drop_columns("image").append_column("thumbnail", pa.array(thumbnails, pa.binary())))
    faces = pa.concat_tables(parts)
    if len(faces):
        # Acero cannot join list columns, so this joins row numbers and then takes the rows.
        numbered = places.select(KEYS).append_column("place", pa.array(np.arange(len(places))))
        order = faces.select(KEYS).append_column("row", pa.array(np.arange(len(faces)))).join(numbered, KEYS).sort_by("row")
        found = places.drop_columns(KEYS).take(order.column("place"))
        for name in found.column_names:
            faces = faces.append_column(name, found.column(name))
        location = run.path("projection", f"part-{number:06d}.parquet")
        write_file(location, faces.select(schema.names).cast(schema), "zstd")


def shrink(image: bytes, size: int) -> bytes:
    """Return a crop's JPEG as a smaller JPEG of size x size pixels."""
    small = cv2.resize(decode_jpeg(image), (size, size), interpolation=cv2.INTER_AREA)
    return encode_jpeg(np.asarray(small, np.uint8), 80)
