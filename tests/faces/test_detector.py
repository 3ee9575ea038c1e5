from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import matplotlib.cbook
import numpy as np
import numpy.typing as npt
import pytest
import torch
from facenet_pytorch.models.utils.detect_face import nms_numpy
from PIL import Image
from skimage import data

from dfd_ray.faces.detector import FaceDetector, _suppress_contained

Picture = npt.NDArray[np.uint8]


def hopper() -> Picture:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return np.asarray(Image.open(file).convert("RGB"))


def scaled(picture: Picture, height: int) -> Picture:
    width = round(picture.shape[1] * height / picture.shape[0])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def composite(height: int, width: int, placed: list[tuple[str, int, int, int]]) -> Picture:
    """Paste photos, `(which, height, top, left)`, on a grey gradient."""
    canvas = np.linspace(60, 180, width, dtype=np.uint8)[None, :, None].repeat(height, axis=0).repeat(3, axis=2).copy()
    for which, size, top, left in placed:
        photo = scaled(data.astronaut() if which == "astronaut" else hopper(), size)
        photo = photo[: height - top, : width - left]
        canvas[top : top + photo.shape[0], left : left + photo.shape[1]] = photo
    return canvas


@cache
def picture(name: str) -> Picture:
    match name:
        case "astronaut":
            return data.astronaut()
        case "hopper":
            return hopper()
        case "landscape, three scales":
            placed = [
                ("astronaut", 500, 20, 10),
                ("hopper", 300, 30, 540),
                ("astronaut", 160, 350, 560),
                ("hopper", 120, 400, 780),
            ]
            return composite(540, 960, placed)
        case "portrait, two scales":
            return composite(800, 450, [("hopper", 420, 10, 40), ("astronaut", 300, 460, 20), ("hopper", 110, 560, 335)])
        case "cut by the edge":
            return np.ascontiguousarray(data.astronaut()[90:, 200:500])
        case "odd size":
            return np.ascontiguousarray(data.astronaut()[:333, :401])
        case "nothing":
            return composite(360, 480, [])
    raise ValueError(name)


PICTURES = ["astronaut", "hopper", "landscape, three scales", "portrait, two scales", "cut by the edge", "odd size"]


@pytest.fixture(scope="module")
def thorough() -> FaceDetector:
    return FaceDetector("cpu", smallest_face=1e-6)


@pytest.fixture(scope="module")
def usual() -> FaceDetector:
    return FaceDetector("cpu")


@pytest.mark.parametrize("name", PICTURES)
def test_the_faces_are_those_of_facenet_pytorch(thorough: FaceDetector, stock_detect: Any, overlaps: Any, name: str) -> None:
    boxes, probabilities, landmarks = stock_detect(picture(name))
    [found] = thorough.detect([picture(name)])
    assert len(boxes) > 0
    assert len(found.boxes) == len(boxes)
    both = overlaps(boxes, found.boxes)
    match = both.argmax(axis=1)
    assert sorted(match) == list(range(len(boxes)))
    assert both.max(axis=1).min() > 0.999
    assert np.abs(found.landmarks[match] - landmarks).max() < 0.1
    assert np.abs(found.probabilities[match] - probabilities).max() < 1e-4


def test_the_pictures_hold_as_many_faces_as_were_pasted(stock_detect: Any) -> None:
    sure = {name: int((stock_detect(picture(name))[1] > 0.99).sum()) for name in PICTURES}
    assert sure["landscape, three scales"] >= 4
    assert sure["portrait, two scales"] >= 3


@pytest.mark.parametrize("name", PICTURES)
def test_no_face_of_the_usual_smallest_size_is_missed(usual: FaceDetector, stock_detect: Any, overlaps: Any, name: str) -> None:
    frame = picture(name)
    boxes, probabilities, _ = stock_detect(frame)
    sides = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
    wanted = boxes[(probabilities >= 0.95) & (sides >= min(frame.shape[:2]) / 24)]
    [found] = usual.detect([frame])
    assert len(wanted) > 0
    assert overlaps(wanted, found.boxes).max(axis=1).min() > 0.9


@pytest.mark.parametrize("share", [0.07, 0.1, 0.15])
def test_no_face_of_any_other_smallest_size_is_missed(stock_detect: Any, overlaps: Any, share: float) -> None:
    frame = picture("landscape, three scales")
    boxes, probabilities, _ = stock_detect(frame)
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    wanted = boxes[(probabilities >= 0.95) & (sides >= min(frame.shape[:2]) * share)]
    [found] = FaceDetector("cpu", smallest_face=share).detect([frame])
    assert len(wanted) > 0
    assert overlaps(wanted, found.boxes).max(axis=1).min() > 0.5


@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (720, 1280), (1920, 1080), (240, 320)])
@pytest.mark.parametrize("share", [1e-6, 1 / 24, 0.2, 1.0])
def test_the_pyramid_is_a_part_of_facenet_pytorchs_from_its_coarse_end(height: int, width: int, share: float) -> None:
    stock = [12 / 20 * 0.709**level for level in range(40) if min(height, width) * 12 / 20 * 0.709**level >= 12]
    scales = FaceDetector("cpu", smallest_face=share).list_scales(height, width)
    assert scales == pytest.approx(stock[len(stock) - len(scales) :])
    assert scales
    if share == 1e-6:
        assert len(scales) == len(stock)


def test_of_equal_candidates_the_one_that_facenet_pytorch_takes_is_kept() -> None:
    # Two boxes of the same whole pixels have the same crop, hence the same probability; numpy's argsort decides.
    boxes = torch.tensor([[10.2, 10.0, 50.0, 60.0, 0.9], [10.4, 10.0, 50.0, 60.0, 0.9], [10.3, 10.0, 50.0, 60.0, 0.8]])
    stock = nms_numpy(boxes[:, :4].numpy(), boxes[:, 4].numpy(), 0.7, "Min")
    assert _suppress_contained(boxes, torch.zeros(3, dtype=torch.int64), 0.7).tolist() == stock.tolist()


def test_a_larger_smallest_face_leaves_out_levels() -> None:
    counts = [len(FaceDetector("cpu", smallest_face=share).list_scales(1080, 1920)) for share in (1e-6, 1 / 24, 0.2)]
    assert counts[0] > counts[1] > counts[2]


@pytest.mark.parametrize("shape", [(360, 480, 3), (12, 12, 3), (20, 20, 3), (40, 300, 3)])
def test_a_frame_without_a_face_gives_none_and_empty_arrays(usual: FaceDetector, shape: tuple[int, ...]) -> None:
    [found] = usual.detect([np.full(shape, 127, np.uint8)])
    assert found.boxes.shape == (0, 4)
    assert found.landmarks.shape == (0, 5, 2)
    assert found.probabilities.shape == (0,)


@pytest.mark.parametrize("shape", [(1, 1, 3), (8, 8, 3), (5, 640, 3)])
def test_a_frame_smaller_than_any_face_gives_none(usual: FaceDetector, shape: tuple[int, ...]) -> None:
    [found] = usual.detect([np.full(shape, 127, np.uint8)])
    assert found.boxes.shape == (0, 4)


def test_no_frames_give_no_results(usual: FaceDetector) -> None:
    assert usual.detect([]) == []


def test_a_batch_gives_each_frame_its_own_faces(usual: FaceDetector) -> None:
    portrait = scaled(picture("astronaut"), 256)
    frames = [np.zeros_like(portrait), portrait, np.full_like(portrait, 200), np.ascontiguousarray(portrait[:, ::-1])]
    together = usual.detect(frames)
    assert [len(found.boxes) > 0 for found in together] == [False, True, False, True]
    for frame, found in zip(frames, together, strict=True):
        [alone] = usual.detect([frame])
        assert found.boxes.shape == alone.boxes.shape
        assert np.abs(found.boxes - alone.boxes).max(initial=0) < 1e-2
        assert np.abs(found.probabilities - alone.probabilities).max(initial=0) < 1e-4
    middle = together[1].boxes[0, [0, 2]].mean() + together[3].boxes[0, [0, 2]].mean()
    assert middle == pytest.approx(portrait.shape[1], abs=5)


def test_frames_of_two_sizes_are_refused_with_both_named(usual: FaceDetector) -> None:
    frames = [np.zeros((120, 160, 3), np.uint8), np.zeros((240, 320, 3), np.uint8)]
    with pytest.raises(ValueError, match="one size") as caught:
        usual.detect(frames)
    assert "(120, 160, 3)" in str(caught.value)
    assert "(240, 320, 3)" in str(caught.value)


def test_faces_come_with_the_most_probable_first_in_single_precision(usual: FaceDetector) -> None:
    [found] = usual.detect([picture("landscape, three scales")])
    assert len(found.boxes) >= 4
    assert (np.diff(found.probabilities) <= 0).all()
    assert {found.boxes.dtype, found.landmarks.dtype, found.probabilities.dtype} == {np.dtype(np.float32)}
    assert found.landmarks.shape == (len(found.boxes), 5, 2)


def test_landmarks_lie_where_a_face_has_them(usual: FaceDetector) -> None:
    [found] = usual.detect([picture("hopper")])
    left_eye, right_eye, nose, left_mouth, right_mouth = found.landmarks[0]
    x1, y1, x2, y2 = found.boxes[0]
    assert x1 < left_eye[0] < nose[0] < right_eye[0] < x2
    assert left_mouth[0] < right_mouth[0]
    assert y1 < max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1]) < y2


def test_the_same_frame_gives_the_same_faces(usual: FaceDetector) -> None:
    one, other = (usual.detect([picture("portrait, two scales")])[0] for _ in range(2))
    assert np.array_equal(one.boxes, other.boxes)
    assert np.array_equal(one.probabilities, other.probabilities)


def test_detecting_leaves_the_frame_as_it_was(usual: FaceDetector) -> None:
    frame = picture("astronaut").copy()
    usual.detect([frame])
    assert np.array_equal(frame, picture("astronaut"))
