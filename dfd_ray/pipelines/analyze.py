"""analyze: from the vectors of all faces to a map of them and their clusters.

    embeddings ──▶ moments (tasks) ──merge──▶ PCA ──▶ scores (tasks) ──▶ t-SNE + HDBSCAN (one task, GPU or CPU) ──┐
    faces ──▶ thumbnails (tasks) ◀──────────────────────────────────────────────────────────────────────────────┘
                  └──▶ projection/

No process ever holds all vectors: the tasks stream through their files, and the driver gathers only PCA's scores.
"""

from __future__ import annotations

import os
from dataclasses import asdict

import ray

from dfd_ray.analysis import PCA
from dfd_ray.analysis.face_map import Map, describe_clusters, describe_tsne, map_and_cluster
from dfd_ray.config import Config
from dfd_ray.errors import ResourceError, RunError
from dfd_ray.runtime.resumable_table import require
from dfd_ray.runtime.session import ATTEMPTS, await_room, ray_session
from dfd_ray.sections import Analyze
from dfd_ray.stages.projection import fit_pca, project, read_truths, write_projection
from dfd_ray.store.run import Run
from dfd_ray.store.sources import refuse_changed
from dfd_ray.store.summary import NOTHING_DONE, Summary, time_job
from dfd_ray.store.tables import check_compatible, count_faces, count_rows

LEAKS_SHOWN = 20
"""Pairs of videos that the summary names, those with the most faces first."""


@time_job
def analyze(run: Run) -> Summary:
    """Write `projection/`: one row per face, with its scores, place on the map, cluster and thumbnail."""
    require(run, "embeddings")
    faces = count_faces(run.location, "embeddings")
    check_compatible(run, "projection")
    refuse_changed(run, "projection")
    if faces and count_rows(run.location, "projection") == faces:
        return Summary("analyze", run.path("projection"), faces, ok=faces, notes=[NOTHING_DONE])
    if faces < 2:
        raise RunError(f"{run.path('embeddings')} holds {faces} faces; there is nothing to map")
    pool, settings = run.config.resources.analyze, choose_device(run.config)
    with ray_session(run):
        await_room("analyze", pool)
        pca, pca_seconds = fit_pca(run, faces)
        keys, scores = project(run, pca)
        draw = ray.remote(map_and_cluster).options(num_cpus=pool.num_cpus, num_gpus=pool.num_gpus, max_retries=ATTEMPTS)
        result: Map = ray.get(draw.remote(scores, read_truths(run, keys), settings, count_threads(run.config)))
        write_projection(run, keys, scores, result)  # last, since its rows say that the job is done
    return summarise(run, pca, pca_seconds, result)


def choose_device(config: Config) -> Analyze:
    """Return the settings, with a GPU only where the task has one; ResourceError if `device` asks for one that it has not."""
    settings = config.analyze
    if config.resources.analyze.num_gpus:
        return settings
    if settings.device == "cuda":
        raise ResourceError("analyze.device=cuda needs a GPU to be given: --set resources.analyze.num_gpus=1")
    return settings.model_copy(update={"device": "cpu"})


def count_threads(config: Config) -> int:
    """Return the CPU threads of the map: on a cluster those that the task holds, else the machine's; 0 stands for all."""
    return int(config.resources.analyze.num_cpus) if os.environ.get("RAY_ADDRESS") else config.resources.cpus or 0


def summarise(run: Run, pca: PCA, pca_seconds: float, result: Map) -> Summary:
    """Say what ran, where, and how good the map is."""
    rows = count_rows(run.location, "projection")
    explained = float(pca.explained_variance_ratio.sum())
    kept = len(pca.components)
    asked = run.config.analyze.components
    notes = [f"{kept} components, not {asked}: there are no more"] if kept < asked else []
    leaks = describe_leaks(result)
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
        notes=notes,
        details={
            "pca": {"components": kept, "explained": round(explained, 4), "seconds": pca_seconds},
            "tsne": describe_tsne(result),
            **describe_clusters(result),
            "quality": {name: None if value is None else round(value, 4) for name, value in result.quality.items()},
            "leaks": leaks,
        },
    )


def describe_leaks(result: Map) -> dict[str, object]:
    """Return how many faces look like footage of another fold, and of how many; `share` is null where none were looked up."""
    faces = sum(leak.faces for leak in result.leaks)
    return {
        "looked_up": result.looked_up,
        "faces": faces,
        "share": round(faces / result.looked_up, 6) if result.looked_up else None,
        "pairs": len(result.leaks),
        "nearest": [asdict(leak) | {"ratio": round(leak.ratio, 4)} for leak in result.leaks[:LEAKS_SHOWN]],
    }
