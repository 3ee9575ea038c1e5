from __future__ import annotations

import math

import pytest

from dfd_ray.models.balancing import compute_balancing_rates, count_repeats


@pytest.mark.parametrize("rate", [1.0, 2.0, 5.0])
def test_a_whole_rate_shows_every_face_as_often(rate):
    assert count_repeats("a.mp4", 7, rate).tolist() == [rate] * 7


def test_another_rate_is_met_on_average_and_never_leaves_a_face_out():
    videos = [count_repeats(f"{i}.mp4", 1 + i % 9, 1.3) for i in range(2000)]
    shown, faces = sum(int(video.sum()) for video in videos), sum(len(video) for video in videos)
    assert shown / faces == pytest.approx(1.3, abs=0.01)
    assert {int(times) for video in videos for times in video} == {1, 2}
    for video in videos:
        assert abs(video.sum() - 1.3 * len(video)) < 1
    assert count_repeats("a.mp4", 9, 1.3).tolist() == count_repeats("a.mp4", 9, 1.3).tolist()


def test_a_video_without_faces_shows_none():
    assert count_repeats("a.mp4", 0, 1.5).tolist() == []


@pytest.mark.parametrize("rate", [0.5, math.inf, math.nan])
def test_a_rate_that_would_lose_faces_is_refused(rate):
    with pytest.raises(ValueError, match="once or more"):
        count_repeats("a.mp4", 3, rate)


def test_rates_balance_the_classes():
    assert compute_balancing_rates(100, 250) == {"REAL": 2.5, "FAKE": 1.0}
    assert compute_balancing_rates(30, 20) == {"REAL": 1.0, "FAKE": 1.5}
    assert compute_balancing_rates(0, 5) == {"REAL": 1.0, "FAKE": 1.0}
