from __future__ import annotations

import warnings

import cv2
import numpy as np
import pytest

from dfd_ray.models.augment import create_augmentation, recode_h264, show_steps

FACE = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize("recipe", ["none", "report", "best"])
@pytest.mark.parametrize("shape", [(60, 60, 3), (30, 50, 3), (300, 200, 3)])
def test_faces_become_squares_without_a_warning(recipe, shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        augment = create_augmentation(48, recipe, seed=0)
        for value in (0, 255):
            for _ in range(20):
                image = augment(np.full(shape, value, np.uint8))
                assert image.shape == (48, 48, 3) and image.dtype == np.uint8


def test_each_augmentation_is_shown_by_itself_and_those_that_only_resize_are_not():
    shown = dict(show_steps(FACE, "report", 48, draws=3))
    assert list(shown) == [
        *("Image Compression", "Gauss Noise", "Gaussian Blur", "Horizontal Flip", "Random Brightness Contrast"),
        *("Fancy PCA", "Hue Saturation Value", "To Gray", "Affine"),
    ]
    assert {image.shape for pictures in shown.values() for image in pictures} == {(48, 48, 3)}
    assert all(len(pictures) == 3 for pictures in shown.values())
    resized = create_augmentation(48, "none")(FACE)
    np.testing.assert_array_equal(shown["Horizontal Flip"][0], create_augmentation(48, "none")(FACE[:, ::-1].copy()))
    for name in ("Gauss Noise", "To Gray", "Affine"):
        assert (shown[name][0] != resized).any(), name


def test_none_leaves_the_right_size_alone():
    np.testing.assert_array_equal(create_augmentation(60, "none")(FACE), FACE)


@pytest.mark.parametrize("recipe", ["report", "best"])
def test_recipes_vary_and_repeat_with_their_seed(recipe):
    first, second, other = (create_augmentation(48, recipe, seed) for seed in (1, 1, 2))
    images = [first(FACE) for _ in range(10)]
    assert len({image.tobytes() for image in images}) == 10
    assert all(np.array_equal(image, second(FACE)) for image in images)
    assert not all(np.array_equal(image, other(FACE)) for image in images)


def test_h264_costs_more_the_higher_the_rate_factor_and_keeps_an_odd_edge():
    smooth = np.asarray(cv2.GaussianBlur(FACE, (0, 0), 2))[:59, :57]
    low, high = (recode_h264(smooth, rate_factor) for rate_factor in (10, 40))
    error = [np.abs(image[:58, :56].astype(int) - smooth[:58, :56]).mean() for image in (low, high)]
    assert 0 < error[0] < error[1] < 20
    np.testing.assert_array_equal(high[58:], smooth[58:])
    np.testing.assert_array_equal(high[:, 56:], smooth[:, 56:])
    with pytest.raises(ValueError, match="16 pixels"):
        recode_h264(smooth[:8], 20)


def test_unknown_recipe():
    with pytest.raises(ValueError, match="recipe"):
        create_augmentation(48, "more")  # type: ignore[arg-type]
