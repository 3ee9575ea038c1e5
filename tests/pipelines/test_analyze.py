"""What is computed once PCA has made the vectors small; the whole job is run in `test_pipeline.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dfd_ray.analysis.face_map import average_videos, describe_clusters, describe_tsne, map_and_cluster
from dfd_ray.config import load_config
from dfd_ray.errors import ResourceError
from dfd_ray.pipelines.analyze import choose_device, count_threads, describe_leaks
from dfd_ray.sections import Analyze


def make_truth(video: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    return {
        "video": np.array([f"{i}.mp4" for i in video], object),
        "group": np.array([f"{i}.mp4" for i in video // 4], object),
        "fold": video % 2,
        "label": np.where(video % 4 < 2, "REAL", "FAKE"),
    }


def test_the_map_is_measured_and_a_video_in_two_folds_is_named() -> None:
    rng = np.random.default_rng(0)
    video = np.repeat(np.arange(8), 20)
    scores = (rng.normal(size=(8, 1, 6)) * 20 + rng.normal(size=(8, 20, 6))).reshape(-1, 6).astype(np.float32)
    scores[20:40] = scores[:20] + np.float32(0.01)
    result = map_and_cluster(
        scores, make_truth(video), Analyze(iterations=30, min_cluster_size=8, min_samples=5, device="cpu"), jobs=1
    )
    assert result.clusters.count == 7  # the copied video and its copy are one
    assert result.quality["purity_video"] == 140 / 160
    assert result.quality["stability"] == 1.0
    nearest = {"first": "0.mp4", "second": "1.mp4", "faces": 40, "ratio": pytest.approx(0, abs=0.1)}
    assert describe_leaks(result) == {"looked_up": 160, "faces": 40, "share": 0.25, "pairs": 1, "nearest": [nearest]}
    measured = ["trustworthiness", "neighbour_preservation", "silhouette", "stability", "purity_video", "purity_group"]
    assert set(measured) < set(result.quality) and "purity_fold" not in result.quality


def test_videos_without_a_label_are_in_no_fold_and_leak_nothing() -> None:
    rng = np.random.default_rng(0)
    video = np.repeat(np.arange(4), 10)
    scores = (rng.normal(size=(4, 1, 6)) * 20 + rng.normal(size=(4, 10, 6))).reshape(-1, 6).astype(np.float32)
    scores[10:20] = scores[:10] + np.float32(0.01)
    settings = Analyze(iterations=10, min_cluster_size=8, min_samples=5, device="cpu")
    truth = make_truth(video)
    without = video == 1
    truth |= {"label": np.where(without, "none", truth["label"]), "fold": np.where(without, np.nan, truth["fold"])}
    none = {"faces": 0, "pairs": 0, "nearest": []}
    assert describe_leaks(map_and_cluster(scores, truth, settings, jobs=1)) == none | {"looked_up": 30, "share": 0.0}
    truth |= {"label": np.full(40, "none"), "fold": np.full(40, np.nan)}
    assert describe_leaks(map_and_cluster(scores, truth, settings, jobs=1)) == none | {"looked_up": 0, "share": None}


def test_clusters_of_the_map_and_of_videos_are_told_apart() -> None:
    """Three people of four videos each: faces cluster by video, means of videos by person."""
    rng = np.random.default_rng(0)
    video = np.repeat(np.arange(12), 10)
    places = np.repeat(rng.normal(size=(3, 8)) * 30, 4, axis=0) + rng.normal(size=(12, 8)) * 3
    scores = (places[video] + rng.normal(size=(120, 8)) * 0.1).astype(np.float32)
    settings = Analyze(iterations=300, min_cluster_size=8, min_samples=4, min_cluster_videos=3, cluster_on="tsne", device="cpu")
    result = map_and_cluster(scores, make_truth(video), settings, jobs=1)
    assert (result.clusters.count, result.video_clusters.count) == (12, 3)
    by_face = result.video_clusters.labels[result.video]
    assert all(len(set(by_face[start : start + 40])) == 1 for start in (0, 40, 80))
    faces, videos = (describe_clusters(result)[name] for name in ("hdbscan", "hdbscan_videos"))
    assert (faces["on"], faces["dimensions"], faces["neighbours"], faces["library"]) == ("tsne", 3, 4, "hdbscan")
    assert (videos["on"], videos["dimensions"], videos["neighbours"], videos["clusters"]) == ("pca", 8, 3, 3)
    told = {"library", "device", "dimensions", "perplexity", "neighbours", "iterations", "divergence", "seconds"}
    assert set(describe_tsne(result)) == told and describe_tsne(result)["neighbours"] == 119


def test_means_of_videos_follow_the_faces() -> None:
    video, means = average_videos(np.array([[0, 4], [2, 2], [1, 0]], np.float32), np.array(["b", "a", "b"], object))
    np.testing.assert_array_equal(video, [1, 0, 1])
    np.testing.assert_array_equal(means, [[2, 2], [0.5, 2]])


def test_a_gpu_is_taken_only_where_it_is_given() -> None:
    given = "resources.analyze.num_gpus=1"
    assert choose_device(load_config()).device == "cpu"
    assert choose_device(load_config(None, [given])).device == "auto"
    assert choose_device(load_config(None, [given, "analyze.device=cuda"])).device == "cuda"
    with pytest.raises(ResourceError, match=r"--set resources\.analyze\.num_gpus=1"):
        choose_device(load_config(None, ["analyze.device=cuda"]))


def test_the_map_has_the_threads_of_the_machine_and_on_a_cluster_those_of_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(None, ["resources.cpus=3", "resources.analyze.num_cpus=2"])
    assert count_threads(config) == 3
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert count_threads(config) == 2
