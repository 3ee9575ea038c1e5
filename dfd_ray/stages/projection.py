"""From `embeddings/` to `projection/`: PCA file by file, so that no process holds all vectors, and the table of the map."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from dfd_ray.analysis import PCA, Moments
from dfd_ray.analysis.face_map import Map, describe_clusters, describe_tsne
from dfd_ray.arrays import AnyArray, Float32Array
from dfd_ray.errors import RunError
from dfd_ray.faces.crop import decode_jpeg, encode_jpeg
from dfd_ray.runtime.session import ATTEMPTS
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.sources import digest_sources
from dfd_ray.store.storage import delete_folder
from dfd_ray.store.summary import elapsed
from dfd_ray.store.tables import (
    flatten_faces,
    iterate_batches,
    read_metadata,
    read_table,
    table_files,
    with_metadata,
    write_file,
)

FILES_PER_TASK = 8
"""Fewest files that a moments or scores task streams through, so that its one result is worth sending."""
MOST_TASKS = 16
"""Most tasks over a table: each returns the moments of 2,560 columns, which take 52 MB."""

VIDEOS_PER_BLOCK = 128
"""Videos whose vectors become moments at once: a thousand vectors or more, so that merging costs less than multiplying."""

KEYS = ["video_id", "frame_index", "face_index"]


def fit_pca(run: Run, faces: int) -> tuple[PCA, float]:
    """Return PCA fitted on all vectors, and the seconds it took.

    Each task reduces its files to moments, which are merged in the order of the files.
    """
    started = time.monotonic()
    partial = ray.remote(compute_moments).options(max_retries=ATTEMPTS)
    moments: Moments | None = None
    for part in [partial.remote(run, files) for files in split_files(run, "embeddings")]:
        moments = merge_moments(moments, ray.get(part))
    if moments is None:
        raise RunError(f"{run.path('embeddings')} holds no vectors; there is nothing to fit")
    dimensions = read_metadata(run.location, "embeddings")["dimensions"]
    return PCA.fit(moments, min(run.config.analyze.components, faces - 1, dimensions)), elapsed(started)


def compute_moments(run: Run, files: Sequence[str]) -> Moments | None:
    """Return the moments of the vectors in some files of `embeddings/`; None if they hold none.

    Raises RunError, naming the video, if a vector holds NaN or infinity.
    """
    moments: Moments | None = None
    for batch in iterate_batches(run.location, "embeddings", batch_size=VIDEOS_PER_BLOCK, files=files):
        vectors = extract_vectors(batch)
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(broken):
            video = flatten_faces(batch, ["video_id"]).column("video_id")[int(broken[0])]
            raise RunError(f"{run.path('embeddings')} holds NaN or infinity in a vector of {video}; embed it again")
        if len(vectors):
            moments = merge_moments(moments, Moments.of(vectors))
    return moments


def merge_moments(left: Moments | None, right: Moments | None) -> Moments | None:
    """Return the moments of both sets of rows together; None stands for no rows of an unknown width."""
    return left if right is None else right if left is None else left.merge(right)


def project(run: Run, pca: PCA) -> tuple[pa.Table, Float32Array]:
    """Return the keys of all faces (n rows of `KEYS`) and their scores (n, components) float32, in the order of the files."""
    partial = ray.remote(compute_scores).options(max_retries=ATTEMPTS)
    fitted = ray.put(pca)
    parts = ray.get([partial.remote(run, files, fitted) for files in split_files(run, "embeddings")])
    return pa.concat_tables([keys for keys, _ in parts]), np.concatenate([scores for _, scores in parts])


def compute_scores(run: Run, files: Sequence[str], pca: PCA) -> tuple[pa.Table, Float32Array]:
    """Return keys and scores of the vectors in some files of `embeddings/`."""
    keys, scores = [], []
    for batch in iterate_batches(run.location, "embeddings", files=files):
        keys.append(flatten_faces(batch, ["video_id"]).select(KEYS))
        vectors = extract_vectors(batch)
        if len(vectors):
            scores.append(pca.transform(vectors, run.config.analyze.whiten))
    empty = np.empty((0, len(pca.components)), np.float32)
    return pa.concat_tables(keys), np.concatenate([empty, *scores])


def extract_vectors(batch: pa.Table) -> Float32Array:
    """Return the vectors of a batch of `embeddings/` as (n, d) float32."""
    column = flatten_faces(batch).column("vector").combine_chunks()
    flat = pc.list_flatten(column).to_numpy(zero_copy_only=False)
    return np.asarray(flat.reshape(-1, column.type.list_size), np.float32)


def split_files(run: Run, table: str) -> list[list[str]]:
    """Return the files of a table in at most `MOST_TASKS` groups, the same groups on any cluster."""
    files = table_files(run.location, table)
    size = max(FILES_PER_TASK, math.ceil(len(files) / MOST_TASKS))
    return [files[i : i + size] for i in range(0, len(files), size)]


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
    facts = {"made_from": digest_sources(run, "projection"), "tsne": describe_tsne(result), **describe_clusters(result)}
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
