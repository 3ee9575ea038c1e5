from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dfd_ray.verdict.breakdown import score_files

RANDOM = np.random.default_rng(0)
LABEL = RANDOM.integers(0, 2, 200)
FOLD = np.arange(200) % 4
ALL = np.ones(200, bool)
SIZES = np.stack([1000 + 500 * LABEL + RANDOM.normal(0, 200, 200), RANDOM.random(200)], axis=1)
SIZES[::17] = np.nan


def test_a_leak_in_the_sizes_is_found() -> None:
    assert roc_auc_score(LABEL, score_files(SIZES, ["h264"] * 200, LABEL, FOLD, ALL)) > 0.85


def test_one_judged_fold_is_scored_by_what_the_others_teach() -> None:
    judged = FOLD == 0
    found = score_files(SIZES, ["h264"] * 200, LABEL, FOLD, judged)
    assert found is not None
    assert np.array_equal(np.isfinite(found), judged)
    assert roc_auc_score(LABEL[judged], found[judged]) > 0.85
    assert found[judged].tolist() == score_files(SIZES, ["h264"] * 200, LABEL, FOLD, ALL)[judged].tolist()


def test_a_leak_in_the_codec_is_found() -> None:
    codecs = [None if i % 20 == 0 else ("hevc" if fake else "h264") for i, fake in enumerate(LABEL)]
    assert roc_auc_score(LABEL, score_files(np.ones((200, 1)), codecs, LABEL, FOLD, ALL)) > 0.9


def test_a_fact_that_names_the_video_tells_nothing_about_other_folds() -> None:
    names = FOLD[:, None] * 1000.0 + LABEL[:, None]  # within a fold it is the label itself
    noise = RANDOM.random((200, 2))
    assert roc_auc_score(LABEL, score_files(noise, ["a"] * 200, LABEL, FOLD, ALL)) == pytest.approx(0.5, abs=0.12)
    assert roc_auc_score(LABEL[FOLD == 0], score_files(names, ["a"] * 200, LABEL, FOLD, ALL)[FOLD == 0]) <= 0.5


@pytest.mark.parametrize(
    ("label", "fold", "judged"),
    [
        ([1, 0], [0, 0], [True, True]),
        ([1, 1, 0, 1], [0, 0, 1, 1], [True] * 4),
        ([1, 1, 0, 1], [0, 0, 1, 1], [False, False, True, True]),
    ],
)
def test_other_folds_that_lack_a_class_teach_nothing(label: list[int], fold: list[int], judged: list[bool]) -> None:
    assert score_files(np.ones((len(label), 1)), ["a"] * len(label), label, fold, judged) is None


def test_a_fold_that_is_not_judged_need_not_be_learnable() -> None:
    found = score_files(np.ones((4, 1)), ["a"] * 4, [1, 1, 0, 1], [0, 0, 1, 1], [True, True, False, False])
    assert found is not None


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="one length"):
        score_files(np.ones((2, 1)), ["a"], [0, 1], [0, 1], [True, True])
