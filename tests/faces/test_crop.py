from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from facenet_pytorch.models.utils.detect_face import extract_face
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from dfd_ray.faces.crop import crop_region, cut_face, decode_jpeg, encode_jpeg, landmarks_on_crop


def sampling_factors(jpeg: bytes) -> list[tuple[int, int]]:
    """Return the horizontal and vertical sampling factor of each component, from the start-of-frame marker."""
    position = 2
    while jpeg[position + 1] not in (0xC0, 0xC1, 0xC2):
        position += 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
    count = jpeg[position + 9]
    return [(jpeg[position + 11 + 3 * i] >> 4, jpeg[position + 11 + 3 * i] & 15) for i in range(count)]


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        ((100, 200, 150, 300), 0.6, (85, 170, 165, 330)),
        ((100, 200, 150, 300), 0.0, (100, 200, 150, 300)),
        ((100, 200, 150, 300), 1.0, (75, 150, 175, 350)),
        ((10.9, 20.2, 30.5, 40.7), 0.0, (10, 20, 30, 40)),
        ((5, 10, 105, 110), 0.6, (0, 0, 135, 140)),
        ((560, 400, 660, 500), 0.6, (530, 370, 640, 480)),
        ((-50, -20, 30, 60), 0.0, (0, 0, 30, 60)),
        ((-10, -10, 700, 500), 4.0, (0, 0, 640, 480)),
    ],
)
def test_a_region_is_the_box_widened_and_kept_inside_the_frame(
    box: tuple[float, ...], margin: float, expected: tuple[int, ...]
) -> None:
    assert crop_region(np.array(box, np.float32), margin, width=640, height=480) == expected


@settings(deadline=None, derandomize=True)
@given(
    st.tuples(st.floats(-100, 700), st.floats(-100, 500), st.floats(1, 600), st.floats(1, 600)),
    st.sampled_from([0.0, 0.5, 0.6, 0.7, 1.0, 4.0]),
)
def test_a_region_never_leaves_the_frame(box: tuple[float, ...], margin: float) -> None:
    x, y, width, height = box
    x1, y1, x2, y2 = crop_region(np.array([x, y, x + width, y + height]), margin, 640, 480)
    assert x1 >= 0
    assert y1 >= 0
    assert x2 <= 640
    assert y2 <= 480
    assert all(isinstance(value, int) for value in (x1, y1, x2, y2))


BOXES = [
    (177.0, 65.5, 264.25, 182.0),
    (5.0, 3.0, 60.0, 90.0),
    (440.0, 430.0, 530.0, 520.0),
    (-15.0, 200.0, 80.0, 330.0),
    (100.0, 100.0, 400.0, 420.0),
    (200.0, 200.0, 221.0, 230.0),
]


@pytest.mark.parametrize("box", BOXES)
def test_a_face_is_cut_as_facenet_pytorch_cuts_it(box: tuple[float, ...], tmp_path: Path) -> None:
    photo = data.astronaut()
    extract_face(photo, np.array(box), image_size=240, margin=90, save_path=str(tmp_path / "face.png"))
    stock = np.asarray(Image.open(tmp_path / "face.png"))
    assert np.array_equal(cut_face(photo, np.array(box), margin=0.6, size=240), stock)


@pytest.mark.parametrize("box", [(600, 10, 700, 90), (-90, 10, -60, 40), (10, -80, 40, -50), (10, 700, 40, 900)])
def test_a_box_beside_the_frame_holds_no_face(box: tuple[float, ...]) -> None:
    assert cut_face(np.zeros((512, 512, 3), np.uint8), np.array(box, np.float32), 0.6, 240) is None


@pytest.mark.parametrize("box", [(100, 50, 150, 130), (-20, 30, 90, 120), (220, 90, 310, 210)])
def test_landmarks_lie_on_the_crop_where_they_lay_on_the_face(box: tuple[float, ...]) -> None:
    """A dot drawn on the frame at each landmark is found on the crop at the place that is said, edges of the frame or not."""
    x1, y1, x2, y2 = (max(box[0], 0), max(box[1], 0), min(box[2], 300), min(box[3], 200))
    points = np.array(
        [(x1 + a * (x2 - x1), y1 + b * (y2 - y1)) for a, b in [(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.3, 0.8), (0.7, 0.8)]]
    )
    found = landmarks_on_crop(points.ravel(), np.array(box), 0.6, 300, 200, 240)
    assert found.shape == (5, 2)
    assert found.dtype == np.float32
    for point, place in zip(points, found, strict=True):
        frame = np.zeros((200, 300, 3), np.uint8)
        column, row = point.astype(int)
        frame[row, column] = 255
        face = cut_face(frame, np.array(box), 0.6, 240)
        assert face is not None
        rows, columns = np.nonzero(face[:, :, 0])
        assert np.abs(np.array([columns.mean(), rows.mean()]) + 0.5 - place).max() < 4  # a pixel of the frame is up to 4 here


@pytest.mark.parametrize("size", [32, 240])
def test_a_face_has_the_size_asked_for_and_the_content_of_its_box(size: int) -> None:
    frame = np.zeros((200, 300, 3), np.uint8)
    frame[50:100, 100:150] = (250, 100, 20)
    face = cut_face(frame, np.array([100, 50, 150, 100], np.float32), 0.0, size)
    assert face is not None
    assert face.shape == (size, size, 3)
    assert face.dtype == np.uint8
    assert (face == (250, 100, 20)).all()


def test_a_jpeg_keeps_red_red() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:] = (220, 30, 60)
    assert np.abs(decode_jpeg(encode_jpeg(image)).astype(int) - image).max() <= 2
    assert np.abs(np.asarray(Image.open(io.BytesIO(encode_jpeg(image)))).astype(int) - image).max() <= 2


def test_chroma_is_not_subsampled() -> None:
    assert sampling_factors(encode_jpeg(data.astronaut())) == [(1, 1), (1, 1), (1, 1)]


def test_alternating_columns_of_colour_survive_a_jpeg() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, ::2], image[:, 1::2] = (200, 60, 60), (60, 60, 200)
    again = decode_jpeg(encode_jpeg(image, 95)).astype(int)
    assert np.abs(again - image).mean() < 12


def test_a_better_quality_is_closer_and_larger() -> None:
    photo = data.astronaut()
    worse, better = encode_jpeg(photo, 50), encode_jpeg(photo, 95)
    errors = [np.abs(decode_jpeg(jpeg).astype(int) - photo).mean() for jpeg in (worse, better)]
    assert errors[1] < errors[0]
    assert errors[1] < 2
    assert len(better) > len(worse)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"not a picture at all", b"\x00" * 1000])
def test_what_is_no_jpeg_is_refused_with_its_length(content: bytes) -> None:
    with pytest.raises(ValueError, match=f"not an image \\({len(content)} bytes\\)"):
        decode_jpeg(content)
