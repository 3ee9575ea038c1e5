from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_ray.errors import VideoError
from dfd_ray.sections import Preprocess
from dfd_ray.video import choose_frames, decode_video
from dfd_ray.video.sampling import choose_combs

NUMBERS = st.tuples(st.integers(1, 400), st.integers(1, 12), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
"""Candidates, frames of a comb, and the combs that videos of three labels take."""


@settings(deadline=None, derandomize=True, max_examples=300)
@given(NUMBERS)
def test_fewer_frames_are_the_first_combs_of_more(numbers: tuple[int, int, int, int, int]) -> None:
    length, comb, *taken = numbers
    candidates = 3 * np.arange(length, dtype=np.int64)
    every, *others = (
        [one.tolist() for one in choose_combs(candidates, combs * comb, comb, max(taken) * comb)]
        for combs in (max(taken), *taken)
    )
    for one, combs in zip(others, taken, strict=True):
        assert one == every[:combs]
    frames = [frame for one in every for frame in one]
    assert sorted(frames) == choose_frames(candidates, max(taken) * comb).tolist(), "no frame twice, and none left out"
    assert all(before < after for one in every for before, after in pairwise(one))
    sizes = {len(one) for one in every}
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= comb
    assert length < max(taken) * comb or sizes == {comb}


@settings(deadline=None, derandomize=True, max_examples=300)
@given(NUMBERS)
def test_combs_are_interleaved_so_that_their_gaps_are_alike(numbers: tuple[int, int, int, int, int]) -> None:
    length, comb, *taken = numbers
    grid = max(taken) * comb
    combs = choose_combs(np.arange(length, dtype=np.int64), grid, comb, grid)
    places = np.searchsorted(np.sort(np.concatenate(combs)), combs[0])
    assert set(np.diff(places).tolist()) <= {len(combs)}
    gaps = np.concatenate([np.diff(one) for one in combs])
    if length >= grid and len(gaps):
        assert gaps.max() - gaps.min() <= 1


def test_a_fake_video_s_frames_are_spread_over_it_as_before() -> None:
    frames = np.arange(300, dtype=np.int64)
    [comb] = choose_combs(frames, 8, 8, 40)
    assert comb.tolist() == choose_frames(frames, 8).tolist()


@pytest.mark.parametrize("count", [1, 3, 6, 9, 13])
def test_a_count_that_is_no_multiple_is_kept_all_the_same(count: int) -> None:
    combs = choose_combs(np.arange(100, dtype=np.int64), count, 4, 40)
    assert sum(map(len, combs)) == count


@pytest.mark.parametrize(("count", "comb"), [(0, 8), (8, 0)])
def test_nothing_cannot_be_asked_for(count: int, comb: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        choose_combs(np.arange(5, dtype=np.int64), count, comb, 40)


@pytest.mark.parametrize(
    ("frames", "comb"),
    [((40, 8, 16), 8), ((6, 3, 3), 3), ((32, 32, 32), 32), ((10, 4, 8), 2), ((7, 3, 3), 1), ((16, 8, 16), 8)],
)
def test_each_label_takes_whole_combs(frames: tuple[int, int, int], comb: int) -> None:
    real, fake, unlabelled = frames
    assert Preprocess(frames_real=real, frames_fake=fake, frames_unlabelled=unlabelled).comb == comb


@pytest.mark.parametrize("most", [40, 20])
def test_a_frame_is_of_the_same_comb_whatever_is_asked_for(make_clip: Any, most: int) -> None:
    path = str(make_clip())
    few, many = (decode_video(path, count, comb=4, most=most) for count in (4, most))
    of_many = {frame.index: frame for frame in many.frames}
    assert len(few.frames) == 4
    assert [frame.index for frame in many.frames] == sorted(of_many)
    for frame in few.frames:
        assert frame.comb == of_many[frame.index].comb == 0
        assert frame.planes.tobytes() == of_many[frame.index].planes.tobytes()


@pytest.mark.parametrize("place", [0.2, 0.45, 0.7, 0.9])
@pytest.mark.parametrize("length", [40, 400, 4000])
def test_damage_leaves_a_frame_the_same_whatever_is_asked_for(
    make_clip: Any, tmp_path: Path, place: float, length: int
) -> None:
    data = bytearray(make_clip().read_bytes())
    media = data.index(b"mdat") + 4
    start = media + int(place * 0.8 * (len(data) - media))
    data[start : start + length] = np.random.default_rng(length).bytes(length)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    few, many = (frames_of(path, count) for count in (4, 20))
    assert few == {place: planes for place, planes in many.items() if place[1] == 0}


def frames_of(path: Path, count: int) -> dict[tuple[int, int], bytes]:
    """Return the planes of a damaged video's frames by index and comb; none where none can be decoded."""
    try:
        frames = decode_video(str(path), count, comb=4, most=20).frames
    except VideoError:
        return {}
    return {(frame.index, frame.comb): frame.planes.tobytes() for frame in frames}
