from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from skimage import data
from torchvision.ops import box_iou

from dfd_ray.faces.detector import FaceDetector
from dfd_ray.faces.following import find_faces

Picture = npt.NDArray[np.uint8]


class Counting(FaceDetector):
    """Counts how often it searches a whole frame."""

    searches = 0

    def detect(self, frames: Any) -> Any:
        self.searches += len(frames)
        return super().detect(frames)


@pytest.fixture
def detector() -> Counting:
    return Counting()


def walk(steps: list[int | None], side: int = 360) -> list[Picture]:
    """Return frames in which a photo lies at each x in turn, or not at all."""
    photo = np.ascontiguousarray(data.astronaut()[::2, ::2])[:200]
    frames = []
    for x in steps:
        frame = np.full((side, 640, 3), 90, np.uint8)
        if x is not None:
            frame[100 : 100 + photo.shape[0], x : x + photo.shape[1]] = photo
        frames.append(frame)
    return frames


def found_in(detector: FaceDetector, frames: list[Picture], every: int) -> list[npt.NDArray[np.float32]]:
    seen: dict[int, npt.NDArray[np.float32]] = {}
    for position, picture, faces in find_faces(detector, [lambda frame=frame: frame for frame in frames], every):
        assert picture is frames[position]
        assert position not in seen
        seen[position] = faces.boxes
    assert sorted(seen) == list(range(len(frames)))
    return [seen[i] for i in range(len(frames))]


def test_a_face_that_moves_a_little_is_followed_to_where_a_search_finds_it(detector: Counting) -> None:
    frames = walk([20, 30, 44, 58, 66, 70, 90, 96])
    followed = found_in(detector, frames, 8)
    assert detector.searches == 2
    for frame, boxes in zip(frames, followed, strict=True):
        [whole] = detector.detect([frame])
        assert len(boxes) == len(whole.boxes) == 1
        assert box_iou(torch.from_numpy(boxes), torch.from_numpy(whole.boxes)).item() > 0.85


def test_a_face_that_jumps_is_lost_and_searched_for(detector: Counting) -> None:
    followed = found_in(detector, walk([0, 380, 0, 380]), 3)
    assert [len(boxes) for boxes in followed] == [1] * 4
    assert detector.searches == 4


def test_a_frame_beside_one_without_a_face_is_searched_whole(detector: Counting) -> None:
    followed = found_in(detector, walk([40, None, None, 60]), 4)
    assert [len(boxes) for boxes in followed] == [1, 0, 0, 1]


def test_a_face_that_comes_between_two_searches_is_found_where_their_numbers_of_faces_differ(detector: Counting) -> None:
    followed = found_in(detector, walk([None, None, None, 40, 44, 48, 50, 52, 54]), 8)
    assert [len(boxes) for boxes in followed] == [0] * 3 + [1] * 6


def test_where_searches_agree_no_frame_between_them_is_searched(detector: Counting) -> None:
    found_in(detector, walk([40] * 20), 8)
    assert detector.searches == 4


def test_every_frame_is_searched_when_asked(detector: Counting) -> None:
    found_in(detector, walk([20, 22, 24]), 1)
    assert detector.searches == 3


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 9])
def test_every_frame_is_looked_at_once(detector: Counting, count: int) -> None:
    assert len(found_in(detector, walk([20] * count), 4)) == count


def test_following_nothing_finds_nothing(detector: Counting) -> None:
    [frame] = walk([20])
    [found] = detector.follow([frame], [np.empty((0, 4), np.float32)])
    assert found.boxes.shape == (0, 4)
    assert detector.follow([], []) == []
