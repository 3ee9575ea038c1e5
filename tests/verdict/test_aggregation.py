from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit

from dfd_ray.verdict.aggregation import aggregate, sigmoid

log_odds = st.lists(st.floats(-50, 50), min_size=1, max_size=60)


@pytest.mark.parametrize("method", ["mean", "mean_logit", "confident"])
@settings(deadline=None, max_examples=50)
@given(values=log_odds)
def test_a_probability_within_the_faces_own(method, values):
    result = aggregate(values, method)
    assert sigmoid(min(values)) - 1e-12 <= result <= sigmoid(max(values)) + 1e-12
    assert result == pytest.approx(aggregate(values[::-1], method))


@pytest.mark.parametrize("method", ["mean", "mean_logit"])
@settings(deadline=None, max_examples=50)
@given(values=log_odds, rise=st.floats(0, 10), index=st.integers(0, 59))
def test_a_more_suspicious_face_never_lowers_it(method, values, rise, index):
    raised = list(values)
    raised[index % len(values)] += rise
    assert aggregate(raised, method) >= aggregate(values, method) - 1e-12


def winner(pred):
    """`confident_strategy` as the winner published it."""
    t, sz = 0.8, len(pred)
    fakes = np.count_nonzero(pred > t)
    if fakes > sz // 2.5 and fakes > 11:
        return np.mean(pred[pred > t])
    if np.count_nonzero(pred < 0.2) > 0.9 * sz:
        return np.mean(pred[pred < 0.2])
    return np.mean(pred)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from([0.05, 0.15, 0.5, 0.85, 0.95]), min_size=1, max_size=60))
def test_confident_is_the_winner_s(values):
    pred = np.array(values)
    assert aggregate(logit(pred), "confident") == pytest.approx(winner(pred))


def test_confident_by_hand():
    assert aggregate(logit([0.9] * 12 + [0.5] * 12), "confident") == pytest.approx(0.9)
    assert aggregate(logit([0.9] * 11 + [0.5] * 11), "confident") == pytest.approx(0.7)
    assert aggregate(logit([0.1] * 19 + [0.7]), "confident") == pytest.approx(0.1)
    assert aggregate(logit([0.1] * 9 + [0.7]), "confident") == pytest.approx(0.16)


def test_of_fewer_frames_fewer_confident_faces_are_many():
    assert aggregate(logit([0.9] * 4 + [0.5] * 4), "confident", frames=8) == pytest.approx(0.9)
    assert aggregate(logit([0.9] * 2 + [0.5]), "confident", frames=8) == pytest.approx(2.3 / 3)


@pytest.mark.parametrize("values", [[], [float("nan")], [float("inf")], [[0.0]]])
def test_bad_log_odds(values):
    with pytest.raises(ValueError):
        aggregate(values, "mean")


def test_unknown_method():
    with pytest.raises(ValueError, match="median"):
        aggregate([0.0], "median")  # type: ignore[arg-type]
