from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from dfd_ray.verdict.metrics import MAX_CURVE_POINTS, Ranking, compare_areas, measure_reliability, score_videos, trace_roc


def videos(count: int, groups: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    label = (random.random(count) < 0.8).astype(int)
    probability = np.clip(np.round(0.3 * label + random.random(count) * 0.7, 2), 0.01, 0.99)  # rounded: many ties
    return label, probability, random.integers(groups, size=count)


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_equal_scikit_learn_s(weighted):
    label, probability, _ = videos(500, 50)
    weight = np.random.default_rng(1).integers(0, 4, 500).astype(float) if weighted else np.ones(500)
    found = Ranking(label, probability).scores(weight)
    balanced = weight / np.bincount(label, weight)[label]
    called = probability >= 0.5
    expected = {
        "log_loss": reference.log_loss(label, probability, sample_weight=weight),
        "log_loss_balanced": reference.log_loss(label, probability, sample_weight=balanced),
        "roc_auc": reference.roc_auc_score(label, probability, sample_weight=weight),
        "average_precision": reference.average_precision_score(label, probability, sample_weight=weight),
        "balanced_accuracy": reference.balanced_accuracy_score(label, called, sample_weight=weight),
        "brier": reference.brier_score_loss(label, probability, sample_weight=weight),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_other_scores_are_those_of_their_definitions(weighted):
    label, probability, _ = videos(500, 50)
    weight = np.random.default_rng(1).integers(0, 4, 500) if weighted else np.ones(500, int)
    found = Ranking(label, probability).scores(weight.astype(float))
    truth, score = np.repeat(label, weight), np.repeat(probability, weight)  # a weight of two is a video twice
    fpr, tpr, _ = reference.roc_curve(truth, score, drop_intermediate=False)
    even = np.linspace(0, 1, 200_001)
    rate = even[np.argmin(np.abs(1 - np.interp(even, fpr, tpr) - even))]
    assert found["equal_error_rate"] == pytest.approx(rate, abs=1e-5)
    half = np.flatnonzero(tpr >= 0.5)[0]
    hits, alarms = tpr[half] * truth.sum(), fpr[half] * (truth == 0).sum()
    assert found["weighted_precision"] == pytest.approx(hits / (hits + 100 * alarms))
    inside = [np.minimum(score * 10, 9).astype(int) == one for one in range(10)]
    error = sum(abs(truth[bin_].mean() - score[bin_].mean()) * bin_.mean() for bin_ in inside if bin_.any())
    assert found["calibration_error"] == pytest.approx(error)


def test_a_perfect_ranking_has_no_equal_errors_and_one_upside_down_only_errors():
    label = np.array([0, 0, 1, 1])
    for score, expected in [([0.1, 0.2, 0.8, 0.9], 0.0), ([0.9, 0.8, 0.2, 0.1], 1.0), ([0.5] * 4, 0.5)]:
        found = Ranking(label, np.array(score)).scores(np.ones(4))
        assert found["equal_error_rate"] == pytest.approx(expected)


def test_result_is_json_and_consistent():
    label, probability, group = videos(400, 40)
    result = score_videos(label, probability, group - 7, bootstrap=200)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["by_class"] == {"REAL": int((label == 0).sum()), "FAKE": int(label.sum())}
    assert result["confusion_matrix"] == reference.confusion_matrix(label, probability >= 0.5).tolist()
    assert result["bootstrap"] == {"replicates": 200, "usable": 200, "level": 0.95}
    for score in result["scores"].values():
        assert score["low"] < score["value"] < score["high"]
    assert result == score_videos(label, probability, group, bootstrap=200)
    assert result != score_videos(label, probability, group, bootstrap=200, seed=1)


def test_interval_has_the_width_that_theory_gives():
    label, probability, _ = videos(2000, 1)
    low, high = (score_videos(label, probability, np.arange(2000))["scores"]["brier"][end] for end in ("low", "high"))
    error = np.std((probability - label) ** 2) / math.sqrt(2000)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_a_bin_s_interval_has_the_width_that_theory_gives():
    probability = np.repeat([0.25, 0.61], 500)
    label = np.concatenate([np.arange(500) < 100, np.arange(500) < 400]).astype(int)
    low, high = measure_reliability(label, probability, np.arange(1000))
    assert [low["mean"], low["share"], low["n"], high["mean"], high["share"], high["n"]] == [
        *(pytest.approx(0.25), 0.2, 500),
        *(pytest.approx(0.61), 0.8, 500),
    ]
    for row in (low, high):
        assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * math.sqrt(0.2 * 0.8 / 500), rel=0.1)
        assert row["low"] < row["share"] < row["high"]


def test_a_bin_s_interval_takes_linked_videos_as_one():
    label, probability, group = np.arange(100) % 2, np.full(100, 0.5), np.arange(100)
    alone = measure_reliability(label, probability, group, bootstrap=200)
    copies = measure_reliability(np.tile(label, 4), np.tile(probability, 4), np.tile(group, 4), bootstrap=200)
    assert [{**row, "n": 400} for row in alone] == copies


def test_a_bin_of_one_group_has_no_interval():
    rows = measure_reliability([0, 1, 1, 0, 1], [0.1, 0.15, 0.9, 1.0, 0.95], [0, 0, 1, 2, 3], bootstrap=100)
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert [(row["n"], row["low"]) for row in rows] == [(2, None), (3, rows[1]["low"])]
    assert rows[1]["low"] < rows[1]["high"]
    assert {row["low"] for row in measure_reliability([0, 1], [0.1, 0.9], [0, 1], bootstrap=0)} == {None}


def test_groups_are_resampled_whole():
    label, probability, _ = videos(300, 1)
    alone = score_videos(label, probability, np.arange(300))["scores"]["brier"]
    copies = score_videos(np.tile(label, 4), np.tile(probability, 4), np.tile(np.arange(300), 4))["scores"]["brier"]
    assert copies == pytest.approx(alone)


def test_extreme_probabilities_are_clipped_as_kaggle_does():
    scores = score_videos([0, 1], [1.0, 1.0], [0, 1], bootstrap=0)["scores"]
    assert scores["log_loss"]["value"] == pytest.approx(-math.log(1e-15) / 2, rel=1e-3)
    assert scores["log_loss"]["low"] is None


def test_one_class_has_no_auc_but_has_a_log_loss():
    result = score_videos([1] * 6, [0.9, 0.8, 0.7, 0.6, 0.9, 0.4], range(6), bootstrap=50)
    undefined = {name for name, score in result["scores"].items() if score["value"] is None}
    assert undefined == {
        "log_loss_balanced",
        "roc_auc",
        "average_precision",
        "balanced_accuracy",
        "equal_error_rate",
        "weighted_precision",
    }
    assert result["scores"]["roc_auc"] == {"value": None, "low": None, "high": None}
    assert result["scores"]["log_loss"]["low"] < result["scores"]["log_loss"]["high"]
    assert str(result["constants"]["natural"]) == "0.0"  # "-0.000" would be on the page


def test_replicates_that_lose_a_class_are_counted():
    result = score_videos([0, 1, 1], [0.2, 0.7, 0.6], [0, 1, 2], bootstrap=300)
    assert 0 < result["bootstrap"]["usable"] < 300


def test_one_group_has_no_interval():
    result = score_videos([0, 1], [0.2, 0.7], [5, 5])
    assert result["bootstrap"]["usable"] == 0
    assert result["scores"]["log_loss"]["low"] is None


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_who_answers_the_base_rate_is_no_better_and_no_worse_in_any_replicate(rows):
    label, group = np.array([row[0] for row in rows], int), [row[1] for row in rows]
    found = score_videos(label, np.full(len(label), label.mean()), group, bootstrap=20)["versus_constant"]
    ends = [found[end] for end in ("value", "low", "high") if found[end] is not None]
    assert ends == pytest.approx([0.0] * len(ends), abs=1e-12)
    if len(set(label.tolist())) < 2:
        assert found == {"value": None, "low": None, "high": None}


def test_a_model_that_is_a_little_better_in_every_group_is_shown_though_its_interval_holds_the_base_rate():
    """Groups differ in their share of FAKE far more than the model differs from the base rate."""
    label = np.concatenate([np.repeat([0, 1], [4 - fakes, 6 + fakes]) for fakes in np.arange(40) % 5])
    group = np.repeat(np.arange(40), 10)
    share = label.mean()
    found = score_videos(label, share + 0.02 * (label - share), group)
    loss, gap = found["scores"]["log_loss"], found["versus_constant"]
    assert loss["low"] < found["constants"]["natural"] < loss["high"]
    assert gap["low"] < gap["value"] < gap["high"] < 0
    assert gap["value"] == pytest.approx(loss["value"] - found["constants"]["natural"])


def test_groups_are_counted_by_class():
    found = score_videos([0, 1, 1, 0], [0.5] * 4, [7, 7, 8, 7], bootstrap=0)
    assert (found["groups"], found["groups_by_class"]) == (2, {"REAL": 1, "FAKE": 2})


def test_two_rankings_are_compared_on_the_same_groups():
    label, probability, group = videos(300, 30)
    same = compare_areas(label, probability, probability**2, group, bootstrap=50)
    assert same == {"value": 0.0, "low": 0.0, "high": 0.0}
    noise = np.random.default_rng(5).random(300)
    found = compare_areas(label, probability, noise, group, bootstrap=200)
    assert 0 < found["low"] < found["value"] < found["high"]
    assert found["value"] == pytest.approx(reference.roc_auc_score(label, probability) - reference.roc_auc_score(label, noise))
    assert compare_areas([1, 1], [0.5, 0.6], [0.1, 0.2], [0, 1], bootstrap=5) == {"value": None, "low": None, "high": None}


def test_constants_are_the_best_constant_answers():
    label = np.repeat([0, 1], [19_154, 100_000])
    constants = score_videos(label, np.full(len(label), 0.5), label, bootstrap=0)["constants"]
    assert constants["natural"] == pytest.approx(0.4409, abs=5e-5)
    assert constants["natural"] == pytest.approx(reference.log_loss(label, np.full(len(label), label.mean())))
    assert constants["balanced"] == pytest.approx(0.6931, abs=5e-5)


@pytest.mark.parametrize(
    ("label", "probability", "group"),
    [
        ([], [], []),
        ([0, 1], [0.5], [0, 1]),
        ([0, 2], [0.5] * 2, [0, 1]),
        ([0, 1], [0.5, float("nan")], [0, 1]),
        ([1], [1.1], [0]),
    ],
)
def test_bad_input(label, probability, group):
    with pytest.raises(ValueError):
        score_videos(label, probability, group)


def test_roc_points():
    label, probability, _ = videos(5000, 1)
    probability = probability * 0.9 + np.random.default_rng(2).random(5000) * 0.05
    curve = trace_roc(label, probability)
    assert len(curve["fpr"]) == len(curve["tpr"]) == len(curve["threshold"]) <= MAX_CURVE_POINTS
    assert (curve["fpr"][0], curve["tpr"][0], curve["fpr"][-1], curve["tpr"][-1]) == (0, 0, 1, 1)
    json.dumps(curve, allow_nan=False)
    assert np.trapezoid(curve["tpr"], curve["fpr"]) == pytest.approx(reference.roc_auc_score(label, probability), abs=2e-3)
    with pytest.raises(ValueError, match="both classes"):
        trace_roc([1, 1], [0.5, 0.6])
