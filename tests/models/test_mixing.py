from __future__ import annotations

import numpy as np
import pytest

from dfd_ray.models.mixing import fit_similarity, mix_faces

POINTS = np.array([(26, 27), (38, 27), (32, 33), (27, 39), (37, 39)], np.float64)


def turned(points: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    angle = np.deg2rad(degrees)
    matrix = scale * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    return points @ matrix.T + shift


@pytest.mark.parametrize(("degrees", "scale", "shift"), [(0, 1, (0, 0)), (20, 1.5, (5, -3)), (-90, 0.5, (40, 60))])
def test_the_map_is_the_one_that_moved_the_points(degrees: float, scale: float, shift: tuple[float, float]) -> None:
    target = turned(POINTS, degrees, scale, shift)
    matrix = fit_similarity(POINTS, target)
    assert matrix is not None
    np.testing.assert_allclose(POINTS @ matrix[:, :2].T + matrix[:, 2], target, atol=1e-9)


def test_the_real_face_is_laid_on_the_fake_one() -> None:
    fake, real = np.zeros((64, 64, 3), np.uint8), np.zeros((80, 96, 3), np.uint8)
    points = turned(POINTS, 10, 1.2, (8, 4))
    x, y = points[2].round().astype(int)
    real[y - 2 : y + 3, x - 2 : x + 3] = 255  # a white nose
    found = mix_faces(fake, POINTS, real, points, np.random.default_rng(0))
    assert found is not None
    mixed, share = found
    assert mixed.shape == fake.shape
    assert mixed.dtype == np.uint8
    assert mixed[33, 32].tolist() == pytest.approx([255 * (1 - share)] * 3, abs=1)
    assert mixed[10, 10].tolist() == [0, 0, 0]


def test_landmarks_of_no_face_are_not_mixed() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    for bad in (np.full((5, 2), np.nan), np.zeros((5, 2)), POINTS * 0.1):
        assert mix_faces(image, bad, image, POINTS, np.random.default_rng(0)) is None
    with pytest.raises(ValueError, match="landmarks"):
        mix_faces(image, POINTS[:4], image, POINTS, np.random.default_rng(0))
