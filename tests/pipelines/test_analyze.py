"""What is computed once PCA has made the vectors small; the whole job is run in `test_pipeline.py`."""

from __future__ import annotations

import numpy as np

from dfd_ray.pipelines.analyze import map_and_cluster
from dfd_ray.sections import Analyze


def test_the_map_is_measured_and_a_video_in_two_folds_is_named() -> None:
    rng = np.random.default_rng(0)
    video = np.repeat(np.arange(8), 20)
    scores = (rng.normal(size=(8, 1, 6)) * 20 + rng.normal(size=(8, 20, 6))).reshape(-1, 6).astype(np.float32)
    scores[20:40] = scores[:20] + np.float32(0.01)
    truth = {
        "video": np.array([f"{i}.mp4" for i in video], object),
        "group": np.array([f"{i}.mp4" for i in video // 4], object),
        "fold": video % 2,
        "label": np.where(video % 4 < 2, "REAL", "FAKE"),
    }
    result = map_and_cluster(scores, truth, Analyze(iterations=30, min_cluster_size=8, min_samples=5, device="cpu"), jobs=1)
    assert result.clusters.count == 7  # the copied video and its copy are one
    assert result.quality["purity_video"] == 140 / 160
    assert result.quality["stability"] == 1.0
    assert [(leak.first, leak.second, leak.faces) for leak in result.leaks] == [("0.mp4", "1.mp4", 40)]
    measured = ["trustworthiness", "neighbour_preservation", "silhouette", "stability", "purity_video", "purity_group"]
    assert set(measured) < set(result.quality) and "purity_fold" not in result.quality
