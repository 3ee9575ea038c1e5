"""embed: from the faces to their vectors.

faces ──read──▶ EmbedFaces (actors, GPU or CPU) ──▶ embeddings/
"""

from __future__ import annotations

import time

from dfd_ray.models.backbones import create_backbone, feature_size
from dfd_ray.runtime.resumable_table import fill_table, is_complete, read_rows, require, write_rows
from dfd_ray.runtime.session import pick_device
from dfd_ray.stages.embed import VIDEOS_AT_ONCE, embed_faces_of, settle_precision
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import embeddings_schema
from dfd_ray.store.summary import NOTHING_DONE, Summary, elapsed, time_job
from dfd_ray.store.tables import count_faces, count_rows, read_metadata


@time_job
def embed(run: Run) -> Summary:
    """Write `embeddings/`: one row per video, a vector for every face."""
    started = time.monotonic()
    if is_complete(run, "embeddings"):
        return summarise(run, NOTHING_DONE)
    require(run, "faces")
    rows, faces = count_rows(run.location, "embeddings"), count_embedded(run)
    settings = run.config.embed
    # Weights that are missing end the job here, before anything is started or written.
    dimensions = feature_size(create_backbone(settings.backbone, weights=settings.weights, image_size=settings.image_size)[0])
    with fill_table("embed", run, "embeddings") as counter:
        arithmetic = settle_precision(run)
        videos = read_rows(run, "faces", ["video_id", "status", "faces"], VIDEOS_AT_ONCE)
        vectors = embed_faces_of(videos, run, arithmetic["precision"], counter)
        write_rows(vectors, run, "embeddings", embeddings_schema(dimensions), dimensions=dimensions, **arithmetic)
    summary = summarise(run)
    summary.there_before = rows
    summary.details["faces_per_second"] = round((count_embedded(run) - faces) / elapsed(started), 1)
    return summary


def count_embedded(run: Run) -> int:
    """Return the faces of the table; none where there is no table yet."""
    return count_faces(run.location, "embeddings") if count_rows(run.location, "embeddings") else 0


def summarise(run: Run, *notes: str) -> Summary:
    """Count the videos and vectors, and say how they were computed."""
    rows = count_rows(run.location, "embeddings")
    facts = read_metadata(run.location, "embeddings")
    cosine = facts.get("cosine_to_fp32")
    return Summary(
        job="embed",
        table=run.path("embeddings"),
        rows=rows,
        ok=rows,
        notes=list(notes),
        details={
            "backbone": run.config.embed.backbone,
            "precision": facts["precision"],
            "bf16_cosine_to_fp32": cosine if cosine is None else round(cosine, 5),
            "device": pick_device(run.config.resources.embed),
            "faces": count_embedded(run),
        },
    )
