"""embed: from the faces to their vectors.

faces ──read──▶ Embed (actors, GPU or CPU) ──▶ embeddings/
"""

from __future__ import annotations

import time
from typing import Any

import ray

from dfd_ray.models.backbones import create_backbone, feature_size
from dfd_ray.runtime.progress import show_progress
from dfd_ray.runtime.resumable_table import check_whole, is_complete, read_rows, require, resumable, write_rows
from dfd_ray.runtime.session import ATTEMPTS, check_placeable, pick_device, ray_session, read_wait_limit, run_as_actors
from dfd_ray.stages.embed import EmbedFaces, measure
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import embeddings_schema
from dfd_ray.store.summary import NOTHING_DONE, Summary, elapsed
from dfd_ray.store.tables import (
    count_faces,
    count_rows,
    read_metadata,
    with_metadata,
)

VIDEOS_AT_ONCE = 16
"""Videos whose faces are put together, so that the network's batches are full although most videos have eight faces."""


def embed(run: Run) -> Summary:
    """Write `embeddings/`: one row per video, a vector for every face."""
    started = time.monotonic()
    if is_complete(run, "embeddings"):
        return summarise(run, started, note=NOTHING_DONE)
    require(run, "faces")
    before = count_vectors(run)
    # Weights that cannot be had are found out here, before anything is started or written.
    dimensions = feature_size(
        create_backbone(run.config.embed.backbone, weights=run.config.embed.weights, image_size=run.config.embed.image_size)[0]
    )
    pool = run.config.resources.embed
    with ray_session(run), resumable(run, "embeddings"), show_progress("embed", run.location, "embeddings") as counter:
        check_placeable("embed", pool)
        facts = arithmetic(run)
        schema = with_metadata(embeddings_schema(dimensions), "embeddings", run.config, dimensions=dimensions, **facts)
        videos = read_rows(run, "faces", ["video_id", "status", "faces"], VIDEOS_AT_ONCE)
        videos = videos.map_batches(
            EmbedFaces,
            fn_constructor_args=(run.config.embed, facts["precision"], pool, counter),
            batch_format="pyarrow",
            batch_size=VIDEOS_AT_ONCE,
            **run_as_actors(pool),
        )
        write_rows(videos, run, "embeddings", schema, run.config.resources.videos_per_file)
        check_whole(run, "embeddings")
    return summarise(run, started, before)


def arithmetic(run: Run) -> dict[str, Any]:
    """Return the `precision` of the whole table, and under `cosine_to_fp32` what was measured to choose it.

    It is what is set, or what the rows that are there have, or what suits the actors' machine: chosen once, because on a
    cluster of several kinds of machines the actors would choose differently.
    """
    if run.config.embed.precision != "auto":
        return {"precision": run.config.embed.precision}
    stored = read_metadata(run.location, "embeddings")
    if not stored:
        pool = run.config.resources.embed
        ask = ray.remote(measure).options(num_cpus=pool.num_cpus, num_gpus=pool.num_gpus, max_retries=ATTEMPTS)
        stored = ray.get(ask.remote(run, pick_device(pool)), timeout=read_wait_limit())
    return {key: stored[key] for key in ("precision", "cosine_to_fp32")}


def count_vectors(run: Run) -> tuple[int, int]:
    """Return the rows of the table, and their faces."""
    rows = count_rows(run.location, "embeddings")
    return rows, count_faces(run.location, "embeddings") if rows else 0


def summarise(run: Run, started: float, before: tuple[int, int] = (0, 0), note: str = "") -> Summary:
    """Count what the table holds; `before` is what it held when the job began."""
    rows, faces = count_vectors(run)
    seconds = elapsed(started)
    facts = read_metadata(run.location, "embeddings")
    cosine = facts.get("cosine_to_fp32")
    return Summary(
        job="embed",
        table=run.path("embeddings"),
        rows=rows,
        there_before=before[0],
        ok=rows,
        seconds=seconds,
        notes=[note] if note else [],
        details={
            "backbone": run.config.embed.backbone,
            "precision": facts["precision"],
            "bf16_cosine_to_fp32": cosine if cosine is None else round(cosine, 5),
            "device": pick_device(run.config.resources.embed),
            "faces": faces,
            **({} if note else {"faces_per_second": round((faces - before[1]) / seconds, 1)}),
        },
    )
