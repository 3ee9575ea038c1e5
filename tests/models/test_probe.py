from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dfd_ray.models.probe import probe_scores

RANDOM = np.random.default_rng(0)
LABEL = RANDOM.integers(0, 2, 200)
FOLD = np.arange(200) % 4


def test_a_leak_in_the_sizes_is_found() -> None:
    sizes = np.stack([1000 + 500 * LABEL + RANDOM.normal(0, 200, 200), RANDOM.random(200)], axis=1)
    sizes[::17] = np.nan
    assert roc_auc_score(LABEL, probe_scores(sizes, ["h264"] * 200, LABEL, FOLD)) > 0.85


def test_a_leak_in_the_codec_is_found() -> None:
    codecs = [None if i % 20 == 0 else ("hevc" if fake else "h264") for i, fake in enumerate(LABEL)]
    assert roc_auc_score(LABEL, probe_scores(np.ones((200, 1)), codecs, LABEL, FOLD)) > 0.9


def test_a_fact_that_names_the_video_tells_nothing_about_other_folds() -> None:
    names = FOLD[:, None] * 1000.0 + LABEL[:, None]  # within a fold it is the label itself
    assert roc_auc_score(LABEL, probe_scores(RANDOM.random((200, 2)), ["a"] * 200, LABEL, FOLD)) == pytest.approx(0.5, abs=0.12)
    assert roc_auc_score(LABEL[FOLD == 0], probe_scores(names, ["a"] * 200, LABEL, FOLD)[FOLD == 0]) <= 0.5


def test_one_class_elsewhere_gives_its_share() -> None:
    assert probe_scores(np.ones((4, 1)), ["a"] * 4, [1, 1, 0, 1], [0, 0, 1, 1]).tolist()[2:] == [1.0, 1.0]
    assert probe_scores(np.ones((2, 1)), ["a"] * 2, [1, 0], [0, 0]).tolist() == [0.5, 0.5]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="one length"):
        probe_scores(np.ones((2, 1)), ["a"], [0, 1], [0, 1])
