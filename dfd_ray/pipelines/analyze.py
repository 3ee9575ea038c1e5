"""analyze: from the vectors of all faces to a map of them and their clusters.

    embeddings ──▶ moments (tasks) ──merge──▶ PCA ──▶ scores (tasks) ──▶ t-SNE + HDBSCAN (one task, GPU or CPU) ──┐
    faces ──▶ thumbnails (tasks) ◀──────────────────────────────────────────────────────────────────────────────┘
                  └──▶ projection/

No process ever holds all vectors: the tasks stream through the files they are given, and only PCA's scores are gathered.
"""

from __future__ import annotations

import io
import os
import time
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray

from dfd_ray.analysis import PCA
from dfd_ray.analysis.face_map import Map, describe_clusters, describe_tsne, map_and_cluster
from dfd_ray.arrays import AnyArray, Float32Array
from dfd_ray.config import Config
from dfd_ray.errors import ResourceError, RunError
from dfd_ray.faces.crop import decode_jpeg, encode_jpeg
from dfd_ray.runtime.resumable_table import require
from dfd_ray.runtime.session import ATTEMPTS, await_room, ray_session
from dfd_ray.sections import Analyze
from dfd_ray.stages.pca_passes import KEYS, fit_pca, project
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.storage import delete_folder, write_bytes
from dfd_ray.store.summary import NOTHING_DONE, Summary, elapsed
from dfd_ray.store.tables import (
    check_compatible,
    count_faces,
    count_rows,
    flatten_faces,
    iterate_batches,
    read_table,
    table_files,
    with_metadata,
)

LEAKS_TOLD = 20
"""Pairs of videos that the summary names, those with the most faces first."""


def analyze(run: Run) -> Summary:
    """Write `projection/`: one row per face, with its scores, place on the map, cluster and thumbnail."""
    started = time.monotonic()
    require(run, "embeddings")
    faces = count_faces(run.location, "embeddings")
    check_compatible(run, "projection")
    if faces and count_rows(run.location, "projection") == faces:
        return Summary("analyze", run.path("projection"), faces, faces, notes=[NOTHING_DONE])
    if faces < 2:
        raise RunError(f"{run.path('embeddings')} holds {faces} faces; there is nothing to map")
    pool, settings = run.config.resources.analyze, with_device(run.config)
    with ray_session(run):
        await_room("analyze", pool)
        pca, pca_seconds = fit_pca(run, faces)
        keys, scores = project(run, pca)
        place = ray.remote(map_and_cluster).options(num_cpus=pool.num_cpus, num_gpus=pool.num_gpus, max_retries=ATTEMPTS)
        result: Map = ray.get(place.remote(scores, truths(run, keys), settings, threads(run.config)))
        write_projection(run, keys, scores, result)  # last, since its rows say that the job is done
    return summarise(run, started, pca, pca_seconds, result)


def with_device(config: Config) -> Analyze:
    """Return the settings with a GPU only where the task is given one; ResourceError if one is asked for and not given."""
    settings = config.analyze
    if config.resources.analyze.num_gpus:
        return settings
    if settings.device == "cuda":
        raise ResourceError("analyze.device=cuda needs a GPU to be given: --set resources.analyze.num_gpus=1")
    return settings.model_copy(update={"device": "cpu"})


def threads(config: Config) -> int:
    """Return the CPU threads of the map: of a cluster those that the task holds, else the machine's, 0 standing for all."""
    return int(config.resources.analyze.num_cpus) if os.environ.get("RAY_ADDRESS") else config.resources.cpus or 0


def truths(run: Run, keys: pa.Table) -> dict[str, AnyArray]:
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
    """Write the table, a file for every file of `faces/`; a file written twice is the same file."""
    delete_folder(run.path("projection"))
    x, y, *z = result.tsne.coordinates.T
    places = keys.append_column("pca", pa.array(list(scores), pa.list_(pa.float32())))
    for name, values in [("x", x), ("y", y), ("z", z[0] if z else None)]:
        places = places.append_column(
            name, pa.array(values, pa.float32()) if values is not None else pa.nulls(len(keys), pa.float32())
        )
    places = places.append_column("cluster", pa.array(result.clusters.labels, pa.int32()))
    places = places.append_column("membership", pa.array(result.clusters.membership, pa.float32()))
    places = places.append_column("video_cluster", pa.array(result.video_clusters.labels[result.video], pa.int32()))
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
        thumbnails = [thumbnail(image, run.config.analyze.thumbnail_size) for image in faces.column("image").to_pylist()]
        parts.append(faces.drop_columns("image").append_column("thumbnail", pa.array(thumbnails, pa.binary())))
    faces = pa.concat_tables(parts)
    if len(faces):
        # Acero joins no list columns: the row numbers are joined, and the rows then taken.
        numbered = places.select(KEYS).append_column("place", pa.array(np.arange(len(places))))
        order = faces.select(KEYS).append_column("row", pa.array(np.arange(len(faces)))).join(numbered, KEYS).sort_by("row")
        found = places.drop_columns(KEYS).take(order.column("place"))
        for name in found.column_names:
            faces = faces.append_column(name, found.column(name))
        buffer = io.BytesIO()
        pq.write_table(faces.select(schema.names).cast(schema), buffer, compression="zstd")
        write_bytes(run.path("projection", f"part-{number:06d}.parquet"), buffer.getvalue())


def thumbnail(image: bytes, size: int) -> bytes:
    """Return a crop's JPEG as a smaller JPEG of size x size pixels."""
    small = cv2.resize(decode_jpeg(image), (size, size), interpolation=cv2.INTER_AREA)
    return encode_jpeg(np.asarray(small, np.uint8), 80)


def summarise(run: Run, started: float, pca: PCA, pca_seconds: float, result: Map) -> Summary:
    """Tell what ran, where, and how good the map is."""
    rows = count_rows(run.location, "projection")
    explained = float(pca.explained_variance_ratio.sum())
    kept = len(pca.components)
    asked = run.config.analyze.components
    notes = [f"{kept} components, not {asked}: there are no more"] if kept < asked else []
    leaks = leak_facts(result)
    if leaks["looked_up"]:
        notes.append(
            f"the same footage in two folds? {leaks['share']:.2%} of {leaks['looked_up']} labelled faces looked up are nearer "
            "to a face of another fold than to any of their video"
        )
    notes += [f"{leak.first} and {leak.second}: {leak.faces} faces nearer across than within" for leak in result.leaks[:3]]
    return Summary(
        job="analyze",
        table=run.path("projection"),
        rows=rows,
        ok=rows,
        seconds=elapsed(started),
        notes=notes,
        details={
            "pca": {"components": kept, "explained": round(explained, 4), "seconds": pca_seconds},
            "tsne": describe_tsne(result),
            **describe_clusters(result),
            "quality": {name: None if value is None else round(value, 4) for name, value in result.quality.items()},
            "leaks": leaks,
        },
    )


def leak_facts(result: Map) -> dict[str, Any]:
    """Return how many faces look like footage of another fold, of how many; `share` is null where none could be looked up."""
    faces = sum(leak.faces for leak in result.leaks)
    return {
        "looked_up": result.looked_up,
        "faces": faces,
        "share": round(faces / result.looked_up, 6) if result.looked_up else None,
        "pairs": len(result.leaks),
        "nearest": [asdict(leak) | {"ratio": round(leak.ratio, 4)} for leak in result.leaks[:LEAKS_TOLD]],
    }
