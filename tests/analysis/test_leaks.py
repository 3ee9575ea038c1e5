from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from dfd_ray.analysis import find_leaks


def make_videos(videos: int, faces: int) -> tuple[npt.NDArray[np.float64], list[str], npt.NDArray[np.int64]]:
    """Return faces of videos that are far apart, every other video in another fold."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(videos, 1, 6)) * 20
    points = (centres + rng.normal(size=(videos, faces, 6))).reshape(-1, 6)
    return points, [f"v{i}" for i in range(videos) for _ in range(faces)], np.repeat(np.arange(videos) % 2, faces)


def test_nothing_is_found_in_videos_that_are_apart() -> None:
    assert find_leaks(*make_videos(6, 8)) == ([], 48)


def test_a_copy_in_another_fold_is_found_once_and_one_in_its_own_fold_is_not() -> None:
    points, videos, folds = make_videos(6, 8)
    points[8:16] = points[:8] + 0.01  # v1 copies v0, in the other fold
    points[32:40] = points[16:24] + 0.01  # v4 copies v2, in the same
    [leak], looked_up = find_leaks(points, videos, folds)
    assert (leak.first, leak.second, leak.faces, looked_up) == ("v0", "v1", 16, 48)
    assert 0 < leak.ratio < 0.05


def test_the_worst_pair_comes_first() -> None:
    points, videos, folds = make_videos(6, 8)
    points[8:16] = points[:8] + 0.01
    points[24:26] = points[16:18]
    (first, second), _ = find_leaks(points, videos, folds)
    assert (first.first, second.first, second.second, second.faces) == ("v0", "v2", "v3", 4)
    assert second.ratio < 1e-6 < first.ratio


def test_faces_alone_in_their_video_and_one_fold_have_nothing_to_compare() -> None:
    points, videos, folds = make_videos(6, 1)
    assert find_leaks(points * 0, videos, folds) == ([], 0)
    points, videos, folds = make_videos(4, 5)
    assert find_leaks(points * 0, videos, folds * 0) == ([], 0)
    assert find_leaks(np.empty((0, 3)), [], []) == ([], 0)


def test_a_face_alone_in_its_video_is_found_by_others_and_not_looked_up() -> None:
    points, videos, folds = make_videos(4, 5)
    points, videos, folds = np.vstack([points, points[:1]]), [*videos, "alone"], np.append(folds, 1)
    [leak], looked_up = find_leaks(points, videos, folds)
    assert (leak.first, leak.second, leak.faces, leak.ratio, looked_up) == ("alone", "v0", 1, 0, 20)


def test_a_sample_bounds_the_work() -> None:
    points, videos, folds = make_videos(6, 200)
    points[200:400] = points[:200]
    [leak], looked_up = find_leaks(points, videos, folds, sample=300)
    assert 50 < leak.faces < 150
    assert looked_up == 300


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        find_leaks(np.zeros((3, 2)), ["a", "b"], [0, 1])
    with pytest.raises(ValueError, match="sample"):
        find_leaks(np.zeros((1, 2)), ["a"], [0], sample=0)
    with pytest.raises(ValueError, match="NaN"):
        find_leaks(np.full((1, 2), np.nan), ["a"], [0])
