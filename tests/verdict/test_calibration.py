from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from dfd_ray.verdict.calibration import Calibration, average_models, draw_calibration, fit_calibration, log_odds

probabilities = st.lists(st.floats(0, 1), min_size=2, max_size=40)


@settings(deadline=None, max_examples=50)
@given(probabilities, st.lists(st.booleans(), min_size=40, max_size=40))
def test_any_fit_is_finite_and_keeps_the_order(values, flags):
    score, label = np.array(values), np.array(flags[: len(values)], int)
    fitted = fit_calibration(score, label)
    assert fitted.slope >= 0
    calibrated = fitted.apply(np.sort(score))
    assert ((calibrated > 0) & (calibrated < 1)).all()
    assert (np.diff(calibrated) >= 0).all()


def test_equals_scikit_learn_on_platt_s_targets():
    random = np.random.default_rng(0)
    z = random.normal(size=300) * 3
    label = (random.random(300) < expit(0.5 * z - 1)).astype(int)
    fakes, reals = label.sum(), (1 - label).sum()
    target = np.where(label == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))
    x = np.concatenate([z, z])[:, None]
    weight = np.concatenate([target, 1 - target])
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(x, np.repeat([1, 0], 300), sample_weight=weight)
    fitted = fit_calibration(expit(z), label)
    assert fitted.slope == pytest.approx(reference.coef_[0, 0], rel=1e-4)
    assert fitted.intercept == pytest.approx(reference.intercept_[0], rel=1e-4)


def test_recovers_overconfidence_and_lowers_the_loss():
    random = np.random.default_rng(1)
    z = random.normal(size=5000) * 2
    label = (random.random(5000) < expit(z)).astype(int)
    fitted = fit_calibration(expit(3 * z + 1), label)
    assert fitted.slope == pytest.approx(1 / 3, abs=0.03)
    assert fitted.intercept == pytest.approx(-1 / 3, abs=0.1)
    assert log_loss(label, fitted.apply(expit(3 * z + 1))) < log_loss(label, expit(3 * z + 1))


def test_separable_scores_stay_finite():
    fitted = fit_calibration([0.0, 0.0, 1.0, 1.0], [0, 0, 1, 1])
    assert 0 < fitted.slope < 1
    np.testing.assert_allclose(fitted.apply([0.0, 1.0]), [0.25, 0.75], atol=0.05)


def test_scores_that_point_the_wrong_way_are_ignored():
    fitted = fit_calibration([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0])
    assert fitted.slope == 0
    assert fitted.apply(0.3) == pytest.approx(0.5)


@pytest.mark.parametrize(("label", "expected"), [(1, 4 / 5), (0, 1 / 5)])
def test_one_class_gives_its_smoothed_share(label, expected):
    fitted = fit_calibration([0.2, 0.5, 0.9], [label] * 3)
    np.testing.assert_allclose(fitted.apply([0.0, 0.4, 1.0]), expected)


def test_another_prior_is_that_of_videos_drawn_anew():
    random = np.random.default_rng(2)
    label = (random.random(40_000) < 0.8).astype(int)
    score = expit(2 * random.normal(size=40_000) + 3 * label)
    fitted = fit_calibration(score, label)
    assert fitted.base_rate == pytest.approx(0.8, abs=0.01)
    kept = (label == 0) | (random.random(40_000) < 0.25)  # as many of each class
    here = fit_calibration(score[kept], label[kept])
    moved = fitted.with_prior(0.5)
    assert (moved.slope, moved.intercept) == pytest.approx((here.slope, here.intercept), abs=0.1)
    assert fitted.with_prior(fitted.base_rate) == fitted
    assert fit_calibration([0.2, 0.9], [1, 1]).with_prior(0.5).apply(0.3) == pytest.approx(0.5)


def test_apply_clips_and_keeps_nan_and_roundtrips():
    line = Calibration(1.0, 0.0)
    np.testing.assert_allclose(line.apply([0.0, 0.3, 1.0, np.nan]), [1e-7, 0.3, 1 - 1e-7, np.nan], rtol=1e-9)
    assert np.isfinite(log_odds([0.0, 1.0])).all()
    assert Calibration.from_dict(Calibration(0.5, -1.0, 0.8).to_dict()) == Calibration(0.5, -1.0, 0.8)


def draw(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of a model whose true line has slope 1/2, and labels, a share of them FAKE."""
    random = np.random.default_rng(seed)
    label = (random.random(count) < share).astype(int)
    return expit(2 * (random.normal(size=count) + 2 * label - 1)), label


def test_a_model_s_own_videos_draw_the_line_of_the_others_the_more_of_them_there_are():
    others = Calibration(1.5, 2.0, 0.5)
    alone = fit_calibration(*draw(3000, 0.5, 0))
    many = draw_calibration(others, *draw(3000, 0.5, 0))
    assert (many.slope, many.intercept) == pytest.approx((alone.slope, alone.intercept), abs=0.03)
    few = draw_calibration(others, *(part[:2] for part in draw(3000, 0.5, 0)))
    assert abs(few.slope - 1.5) < 0.5
    assert abs(few.intercept - 2.0) < 1.0


@pytest.mark.parametrize("label", [0, 1])
def test_videos_of_one_class_hardly_move_the_line_of_the_others(label):
    moved = draw_calibration(Calibration(1.0, 0.0, 0.8), [0.3, 0.6, 0.7], [label] * 3)
    assert abs(moved.slope - 1) < 0.5
    assert abs(moved.intercept) < 1
    assert moved.base_rate == 0.8


def test_a_model_s_own_share_of_fakes_does_not_move_its_line():
    """Its fold has nine tenths FAKE, the others half: the same model has the same line for a half."""
    even, uneven = (draw_calibration(Calibration(1.0, 0.0, 0.5), *draw(20_000, share, 3)) for share in (0.5, 0.9))
    assert (even.slope, even.intercept) == pytest.approx((uneven.slope, uneven.intercept), abs=0.1)


unit = st.floats(0.01, 0.99)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(unit, unit, unit, st.booleans()), min_size=1, max_size=20), st.lists(unit, min_size=6, max_size=6))
def test_the_mean_of_models_is_that_of_their_calibrated_log_odds_and_loses_no_more_than_they_do(rows, numbers):
    probability, label = np.array([row[:3] for row in rows]), np.array([row[3] for row in rows], int)
    lines = [Calibration(*numbers[2 * one : 2 * one + 2]) for one in range(3)]
    calibrated = np.stack([line.apply(probability[:, one]) for one, line in enumerate(lines)], axis=1)
    found = average_models(probability, lines)
    np.testing.assert_allclose(log_odds(found), log_odds(calibrated).mean(axis=1), atol=1e-9)
    loss = [log_loss(label, one, labels=[0, 1]) for one in (found, *calibrated.T)]
    assert loss[0] <= np.mean(loss[1:]) + 1e-12
    np.testing.assert_array_equal(average_models(probability[:, :1]), probability[:, 0])


@pytest.mark.parametrize(("score", "label"), [([], []), ([0.5], [0, 1]), ([0.5], [2]), ([float("nan")], [1]), ([[0.5]], [[1]])])
def test_bad_input(score, label):
    with pytest.raises(ValueError):
        fit_calibration(score, label)


@pytest.mark.parametrize("values", [(-1.0, 0.0), (float("nan"), 0.0), (1.0, float("inf")), (1.0, 0.0, 1.0)])
def test_no_calibration(values):
    with pytest.raises(ValueError):
        Calibration(*values)
