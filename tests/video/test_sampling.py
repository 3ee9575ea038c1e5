from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_ray.video import choose_frames

CANDIDATES = st.lists(st.integers(0, 10**6), unique=True, max_size=200).map(lambda found: np.array(sorted(found), np.int64))


@settings(deadline=None, derandomize=True)
@given(CANDIDATES, st.integers(1, 250))
def test_as_many_as_asked_for_are_chosen_or_all(candidates: np.ndarray, count: int) -> None:
    assert len(choose_frames(candidates, count)) == min(count, len(candidates))


@settings(deadline=None, derandomize=True)
@given(CANDIDATES, st.integers(1, 250))
def test_the_chosen_ascend_without_a_repetition_and_are_candidates(candidates: np.ndarray, count: int) -> None:
    chosen = choose_frames(candidates, count)
    assert chosen.dtype == np.int64
    assert (np.diff(chosen) > 0).all()
    assert set(chosen.tolist()) <= set(candidates.tolist())


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 3000), st.integers(1, 200))
def test_the_chosen_are_spread_evenly(length: int, count: int) -> None:
    chosen = choose_frames(np.arange(length, dtype=np.int64), count)
    steps = np.diff(chosen)
    if len(steps):
        assert steps.max() - steps.min() <= 1
    if length >= count:
        before, after = chosen[0], length - 1 - chosen[-1]
        assert abs(before - after) <= 1
        assert max(before, after) <= length / (2 * count) + 1


@settings(deadline=None, derandomize=True)
@given(CANDIDATES, st.integers(1, 250))
def test_the_choice_is_the_same_every_time(candidates: np.ndarray, count: int) -> None:
    assert choose_frames(candidates, count).tolist() == choose_frames(candidates.copy(), count).tolist()


@pytest.mark.parametrize(
    ("length", "count", "expected"),
    [(300, 1, [150]), (10, 5, [1, 3, 5, 7, 9]), (7, 3, [1, 3, 5]), (3, 3, [0, 1, 2]), (2, 9, [0, 1]), (0, 4, [])],
)
def test_the_middle_of_each_run_is_taken(length: int, count: int, expected: list[int]) -> None:
    assert choose_frames(np.arange(length, dtype=np.int64), count).tolist() == expected


@pytest.mark.parametrize("count", [0, -1])
def test_no_frames_cannot_be_asked_for(count: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, got {count}"):
        choose_frames(np.arange(5, dtype=np.int64), count)
