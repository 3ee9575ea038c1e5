"""Map and cluster the PCA scores of faces, and measure how good the map and the clusters are."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

import numpy as np

from dfd_ray.analysis import (
    ClusterResult,
    Leak,
    TsneResult,
    choose_device,
    cluster_hdbscan,
    embed_tsne,
    find_leaks,
    neighbour_preservation,
    noise_share,
    purity,
    silhouette,
    stability,
    trustworthiness,
)
from dfd_ray.arrays import AnyArray, Float32Array, Float64Array, Int64Array
from dfd_ray.sections import Analyze

P = ParamSpec("P")
T = TypeVar("T")
Facts = dict[str, str | int | float | None]
"""What was computed and how, ready for JSON."""


@dataclass(frozen=True)
class Map:
    """The map and the clusters of the faces, in the order of the scores, and their quality."""

    tsne: TsneResult
    clusters: ClusterResult
    video: Int64Array
    """The video of each face (n,), as a row of `video_clusters`."""
    video_clusters: ClusterResult
    facts: dict[str, Facts]
    """For `hdbscan` (`clusters`) and `hdbscan_videos` (`video_clusters`): what was clustered, and by how many neighbours."""
    quality: dict[str, float | None]
    leaks: list[Leak]
    looked_up: int
    """Number of faces that were searched for leaks."""
    seconds: dict[str, float]


def map_and_cluster(scores: Float32Array, truth: dict[str, AnyArray], settings: Analyze, jobs: int) -> Map:
    """Run t-SNE on the PCA scores of faces and HDBSCAN on those of faces and of videos, and measure the quality.

    `scores` is (n, d) float32; `truth` has the `video`, `group`, `fold` and `label` of each face, (n,) each. `jobs` is the
    number of CPU threads, 0 for all of the machine's.
    """
    device = choose_device(settings.device)
    threads = jobs or os.cpu_count() or 1
    tsne, tsne_seconds = run_timed(
        embed_tsne,
        scores,
        dimensions=settings.dimensions,
        perplexity=settings.perplexity,
        iterations=settings.iterations,
        seed=settings.seed,
        device=device,
        jobs=threads,
    )
    cluster = partial(
        cluster_hdbscan,
        min_cluster_size=settings.min_cluster_size,
        min_samples=settings.min_samples,
        device=device,
        jobs=threads,
    )
    space = scores if settings.cluster_on == "pca" else tsne.coordinates
    clusters, cluster_seconds = run_timed(cluster, space)
    video, means = average_videos(scores, truth["video"])
    video_clusters, video_seconds = run_timed(
        cluster_hdbscan, means, min_cluster_size=settings.min_cluster_videos, device=device, jobs=threads
    )
    seconds = {"tsne": tsne_seconds, "hdbscan": cluster_seconds, "hdbscan_videos": video_seconds}
    quality: dict[str, float | None] = {
        "trustworthiness": trustworthiness(scores, tsne.coordinates),
        "neighbour_preservation": neighbour_preservation(scores, tsne.coordinates),
        "trustworthiness_pca": trustworthiness(scores, scores[:, : settings.dimensions]),
        "neighbour_preservation_pca": neighbour_preservation(scores, scores[:, : settings.dimensions]),
        "silhouette": silhouette(space, clusters.labels),
        "stability": stability(space, clusters.labels, lambda some: cluster(some).labels),
        **{f"purity_{name}": purity(clusters.labels, truth[name]) for name in ("video", "group", "label")},
    }
    facts: dict[str, Facts] = {
        "hdbscan": {
            "of": "faces",
            "on": settings.cluster_on,
            "dimensions": space.shape[1],
            "neighbours": settings.min_samples or settings.min_cluster_size,
        },
        "hdbscan_videos": {
            "of": "means of videos",
            "on": "pca",
            "dimensions": scores.shape[1],
            "neighbours": settings.min_cluster_videos,
        },
    }
    labelled = truth["label"] != "none"  # only labelled videos have a fold
    leaks, looked_up = find_leaks(scores[labelled], truth["video"][labelled], truth["fold"][labelled])
    return Map(tsne, clusters, video, video_clusters, facts, quality, leaks, looked_up, seconds)


def run_timed(function: Callable[P, T], *arguments: P.args, **settings: P.kwargs) -> tuple[T, float]:
    """Call a function, and return its result and the seconds it took."""
    started = time.monotonic()
    return function(*arguments, **settings), round(time.monotonic() - started, 3)


def average_videos(scores: Float32Array, video: AnyArray) -> tuple[Int64Array, Float64Array]:
    """Return the video of each face (n,), counted from 0, and the mean scores of each video (v, d).

    Faces of a video are near-duplicates, so clusters of faces are mostly videos. Clusters of means can be people.
    """
    names, row, sizes = np.unique(video, return_inverse=True, return_counts=True)
    sums = np.zeros((len(names), scores.shape[1]))
    np.add.at(sums, row, scores)
    return row, sums / sizes[:, None]


def describe_tsne(result: Map) -> Facts:
    """Return the library, device and parameters that made the map, its divergence, and the seconds it took."""
    tsne = result.tsne
    return {
        "library": tsne.library,
        "device": tsne.device,
        "dimensions": tsne.coordinates.shape[1],
        "perplexity": round(tsne.perplexity, 2),
        "neighbours": tsne.neighbours,
        "iterations": tsne.iterations,
        "divergence": round(tsne.divergence, 4) if math.isfinite(tsne.divergence) else None,
        "seconds": result.seconds["tsne"],
    }


def describe_clusters(result: Map) -> dict[str, Facts]:
    """Return how the clusters of faces (`hdbscan`) and of videos (`hdbscan_videos`) were made, and what was found."""
    made = {"hdbscan": result.clusters, "hdbscan_videos": result.video_clusters}
    return {
        name: {
            "library": clusters.library,
            "device": clusters.device,
            **result.facts[name],
            "clusters": clusters.count,
            "noise_share": round(noise_share(clusters.labels), 4),
            "seconds": result.seconds[name],
        }
        for name, clusters in made.items()
    }
