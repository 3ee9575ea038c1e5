"""Folds that leak would score what a model remembers: with labels that mean nothing, the score must be chance.

The model here knows faces by heart, as a network does that was trained too long: a video gets the label of the nearest one.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from dfd_ray.config import load_config
from dfd_ray.corpus.folds import assign_folds
from dfd_ray.verdict.metrics import score_videos
from dfd_ray.verdict.video_probability import calibrate_videos

GROUPS, VIDEOS = 200, 6
"""People, and videos of each."""


def out_of_fold_auc(label: np.ndarray, group: np.ndarray, fold: np.ndarray, faces: np.ndarray) -> dict[str, float]:
    """Return the AUC of the nearest video of other folds, calibrated as `evaluate` does, with its interval."""
    distance = ((faces[:, None] - faces[None]) ** 2).sum(axis=2)
    distance[fold[:, None] == fold[None]] = np.inf
    nearest = np.argsort(distance, axis=1)[:, :5]
    raw = label[nearest].mean(axis=1) * 0.98 + 0.01
    videos = pa.table({"group": [str(one) for one in group]})
    probability = calibrate_videos({"mean": raw}, label, fold, videos, load_config().evaluate).probability
    return score_videos(label, probability, group, bootstrap=200)["scores"]["roc_auc"]


@pytest.fixture
def corpus() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the label, the group, the fold by our own assignment, and the face of each video: one person's are alike."""
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(GROUPS), VIDEOS)
    label = random.integers(0, 2, GROUPS)[group]
    people = random.normal(size=(GROUPS, 16))
    faces = people[group] + 0.1 * random.normal(size=(len(group), 16))
    names = [("REAL", "FAKE")[one] for one in label]
    fold = np.array(assign_folds(names, [str(one) for one in group], 5, 0)[0])
    return label, group, fold, faces


def test_labels_that_mean_nothing_score_as_chance(corpus: tuple[np.ndarray, ...]) -> None:
    label, group, fold, faces = corpus
    random, shuffled = np.random.default_rng(1), label.copy()
    for one in np.unique(fold):  # over the groups of a fold, so that its share of FAKE stays
        people = np.unique(group[fold == one])
        first = np.searchsorted(group, people)
        of_person = dict(zip(people, label[random.permutation(first)], strict=True))
        shuffled[fold == one] = [of_person[person] for person in group[fold == one]]
    assert shuffled.mean() == label.mean()
    assert (shuffled != label).mean() > 0.3
    found = out_of_fold_auc(shuffled, group, fold, faces)
    assert found["low"] < 0.5 < found["high"]
    assert abs(found["value"] - 0.5) < 0.1


def test_folds_that_split_a_person_would_be_found_out(corpus: tuple[np.ndarray, ...]) -> None:
    label, group, _, faces = corpus
    split = np.arange(len(label)) % 5
    assert out_of_fold_auc(label, group, split, faces)["value"] > 0.95


def test_what_is_there_to_be_learnt_is_found(corpus: tuple[np.ndarray, ...]) -> None:
    label, group, fold, faces = corpus
    telling = faces + 4 * label[:, None]
    assert out_of_fold_auc(label, group, fold, telling)["value"] > 0.95
