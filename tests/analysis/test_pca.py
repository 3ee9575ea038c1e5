"""PCA from merged moments against scikit-learn's full decomposition of the same rows."""

from __future__ import annotations

from functools import reduce

import numpy as np
import numpy.typing as npt
import pytest
import sklearn.decomposition
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_ray.analysis import PCA, Moments

FloatArray = npt.NDArray[np.float64]


def make_rows(count: int = 300, dimensions: int = 12, offset: float = 0.0, seed: int = 0) -> FloatArray:
    """Correlated rows whose components have well separated variances, so that each is determined to its sign."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]
    deviations = 2.0 ** -np.arange(dimensions)
    rows: FloatArray = (rng.normal(size=(count, dimensions)) * deviations) @ rotation + offset
    return rows


def moments_of(blocks: list[FloatArray]) -> Moments:
    return reduce(Moments.merge, (Moments.of(block) for block in blocks))


def assert_same_as_sklearn(rows: FloatArray, fitted: PCA) -> None:
    expected = sklearn.decomposition.PCA(len(fitted.components), svd_solver="full").fit(rows)
    np.testing.assert_allclose(fitted.mean, expected.mean_, rtol=1e-10)
    np.testing.assert_allclose(fitted.explained_variance, expected.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(fitted.explained_variance_ratio, expected.explained_variance_ratio_, rtol=1e-4)
    cosines = np.sum(fitted.components * expected.components_, axis=1)
    np.testing.assert_allclose(np.abs(cosines), 1.0, atol=1e-6)


def test_equals_sklearn() -> None:
    rows = make_rows()
    fitted = PCA.fit(moments_of(np.array_split(rows, 7)), 5)
    assert_same_as_sklearn(rows, fitted)
    expected = sklearn.decomposition.PCA(5, svd_solver="full").fit(rows)
    signs = np.sign(np.sum(fitted.components * expected.components_, axis=1))
    scores = fitted.transform(rows)
    assert scores.shape == (300, 5) and scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected.transform(rows) * signs, atol=1e-5)


def test_all_components_of_few_rows() -> None:
    rows = make_rows(count=6, dimensions=12)
    fitted = PCA.fit(Moments.of(rows), 5)
    assert_same_as_sklearn(rows, fitted)
    assert fitted.explained_variance_ratio.sum() == pytest.approx(1.0)


def test_mean_of_a_hundred_deviations_costs_no_accuracy() -> None:
    rows = make_rows(dimensions=6, offset=100.0)
    assert_same_as_sklearn(rows, PCA.fit(moments_of(np.array_split(rows, 9)), 6))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_blocks_are_centred_before_they_are_multiplied_in_float32(dtype: type[np.floating]) -> None:
    """A raw product in float32 would be wrong in the second digit here."""
    narrow = make_rows(count=3000, dimensions=6, offset=100.0).astype(dtype)
    wide = narrow.astype(np.float64)
    moments = moments_of(np.array_split(narrow, 9))
    assert moments.mean.dtype == moments.scatter.dtype == np.float64
    np.testing.assert_allclose(moments.mean, wide.mean(axis=0), rtol=1e-12)
    covariance = np.cov(wide.T)
    np.testing.assert_allclose(moments.scatter / (len(wide) - 1), covariance, rtol=1e-6, atol=1e-6 * covariance.max())
    assert_same_as_sklearn(wide, PCA.fit(moments, 6))


def test_duplicated_rows_weigh_twice() -> None:
    rows = make_rows()
    once, twice = (PCA.fit(moments_of(blocks), 4) for blocks in ([rows], [rows, rows]))
    np.testing.assert_allclose(np.abs(np.sum(once.components * twice.components, axis=1)), 1.0, atol=1e-9)
    assert_same_as_sklearn(np.vstack([rows, rows]), twice)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 60), max_size=12),
    offset=st.sampled_from([0.0, 100.0]),
    order=st.randoms(use_true_random=False),
)
def test_blocks_of_any_size_in_any_order(seed: int, cuts: list[int], offset: float, order: object) -> None:
    rows = make_rows(count=60, dimensions=4, offset=offset, seed=seed)
    blocks = np.split(rows, sorted(cuts))  # cuts may coincide: empty blocks belong to the test
    order.shuffle(blocks)  # type: ignore[attr-defined]
    whole, merged = Moments.of(rows), moments_of(blocks)
    assert merged.count == 60
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(merged.scatter, whole.scatter, rtol=1e-8, atol=1e-8)


def test_moments_of_a_hand_computed_case() -> None:
    moments = Moments.of([[0.0, 0.0], [2.0, 0.0]]).merge(Moments.of([[4.0, 3.0]]))
    assert moments.count == 3
    np.testing.assert_allclose(moments.mean, [2.0, 1.0])
    np.testing.assert_allclose(moments.scatter, [[8.0, 6.0], [6.0, 6.0]])


def test_empty_is_neutral() -> None:
    rows = make_rows()
    for merged in (Moments.empty(12).merge(Moments.of(rows)), Moments.of(rows).merge(Moments.of(rows[:0]))):
        assert merged.count == 300
        np.testing.assert_array_equal(merged.scatter, Moments.of(rows).scatter)
    assert Moments.empty(3).merge(Moments.empty(3)).count == 0


def test_sign_is_that_of_the_largest_loading() -> None:
    rows = make_rows()
    fitted = PCA.fit(Moments.of(rows), 12)
    assert (fitted.components.max(axis=1) == np.abs(fitted.components).max(axis=1)).all()
    np.testing.assert_allclose(PCA.fit(Moments.of(-rows), 12).components, fitted.components, atol=1e-9)


def test_whitened_scores_have_unit_variance() -> None:
    rows = make_rows(offset=10.0)
    scores = PCA.fit(Moments.of(rows), 8).transform(rows, whiten=True)
    np.testing.assert_allclose(np.cov(scores.T.astype(np.float64)), np.eye(8), atol=1e-4)


def test_whitening_does_not_blow_up_rounding_error() -> None:
    rows = np.column_stack([make_rows(dimensions=2), np.full(300, 7.0)])
    fitted = PCA.fit(Moments.of(rows), 3)
    assert (fitted.explained_variance >= 0).all()
    scores = fitted.transform(rows, whiten=True)
    np.testing.assert_allclose(scores[:, :2].std(axis=0, ddof=1), 1.0, rtol=1e-4)
    assert not scores[:, 2].any()


def test_rows_that_are_all_equal() -> None:
    rows = np.full((10, 3), 5.0)
    fitted = PCA.fit(Moments.of(rows), 2)
    assert not fitted.explained_variance.any() and not fitted.explained_variance_ratio.any()
    assert not fitted.transform(rows, whiten=True).any()


@pytest.mark.parametrize(("count", "components", "most"), [(5, 5, 4), (100, 13, 12), (100, 0, 12), (0, 1, -1)])
def test_impossible_number_of_components(count: int, components: int, most: int) -> None:
    with pytest.raises(ValueError, match=rf"components = {components} .*= {most} "):
        PCA.fit(Moments.of(make_rows(count=count)), components)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    rows = make_rows()
    fitted = PCA.fit(Moments.of(rows), 2)
    rows[17, 3] = bad
    with pytest.raises(ValueError, match="first in row 17"):
        Moments.of(rows)
    with pytest.raises(ValueError, match="first in row 17"):
        fitted.transform(rows)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        Moments.of(np.zeros(4))
    with pytest.raises(ValueError, match="4 and of 5"):
        Moments.empty(4).merge(Moments.empty(5))
    with pytest.raises(ValueError, match="11 columns"):
        PCA.fit(Moments.of(make_rows()), 2).transform(np.zeros((3, 11)))
