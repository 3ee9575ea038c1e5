from __future__ import annotations

import cv2
import numpy as np
import pytest

from dfd_ray.models.blending import draw_mask, self_blend

SIZE = 120
LANDMARKS = np.array([(45, 45), (75, 45), (60, 60), (48, 76), (72, 76)], np.float32)
NOISE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
FACE = np.asarray(cv2.GaussianBlur(NOISE, (0, 0), 2), np.uint8)


@pytest.mark.parametrize("seed", range(30))
def test_only_what_the_mask_covers_changes(seed):
    before = FACE.copy()
    blended = self_blend(FACE, LANDMARKS, np.random.default_rng(seed))
    mask = draw_mask(FACE.shape, LANDMARKS, np.random.default_rng(seed))  # drawn first, so from the same numbers
    assert blended.shape == FACE.shape
    assert blended.dtype == np.uint8
    np.testing.assert_array_equal(FACE, before)
    np.testing.assert_array_equal(blended[mask == 0], FACE[mask == 0])
    assert (blended[mask > 0.9] != FACE[mask > 0.9]).mean() > 0.5


def test_blending_repeats_with_its_seed():
    first, second, other = (self_blend(FACE, LANDMARKS, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_masks_are_soft_and_lie_on_the_face():
    masks = [draw_mask((SIZE, SIZE), LANDMARKS, np.random.default_rng(seed)) for seed in range(60)]
    for mask in masks:
        assert mask.dtype == np.float32
        assert (mask.min(), mask.max()) == (0, 1)
        assert ((mask > 0.1) & (mask < 0.9)).sum() > 20
        assert max(edge.max() for edge in (mask[:6], mask[-6:], mask[:, :6], mask[:, -6:])) < 0.1
    mean = np.mean(masks, axis=0)
    mouth, eyes = mean[70:80, 52:68].mean(), mean[40:50, 45:75].mean()
    assert mouth > 0.7
    assert 0.5 < eyes < mouth  # some masks spare the eyes
    assert len({mask.tobytes() for mask in masks}) == 60


def test_a_mask_follows_the_face():
    turn = cv2.getRotationMatrix2D((60, 60), 90, 0.6)
    turned = LANDMARKS @ turn[:, :2].T + turn[:, 2]
    seeds = range(20)
    upright, lying = (
        np.mean([draw_mask((SIZE, SIZE), points, np.random.default_rng(seed)) for seed in seeds], axis=0)
        for points in (LANDMARKS, turned)
    )
    assert np.corrcoef(cv2.warpAffine(upright, turn, (SIZE, SIZE)).ravel(), lying.ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    "landmarks",
    [np.full((5, 2), 60.0), np.array([(60, y) for y in (40, 40, 60, 75, 75)]), LANDMARKS + np.nan, LANDMARKS + 1000],
    ids=["one point", "one line", "no numbers", "outside"],
)
def test_landmarks_that_span_no_face_give_none(landmarks):
    assert self_blend(FACE, landmarks, np.random.default_rng(0)) is None


@pytest.mark.parametrize(
    ("face", "landmarks"),
    [
        (FACE[:, :, 0], LANDMARKS),
        (FACE.astype(np.float32), LANDMARKS),
        (FACE[:8], LANDMARKS),
        (FACE, LANDMARKS[:4]),
        (FACE, LANDMARKS.ravel()),
    ],
)
def test_bad_input(face, landmarks):
    with pytest.raises(ValueError):
        self_blend(face, landmarks, np.random.default_rng(0))
