from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from dfd_ray.video import Frame, decode_video
from dfd_ray.video.arrow import frames_from_arrow, frames_to_arrow
from dfd_ray.video.frame import read_turn

FORMATS = {
    "4:2:0": {},
    "4:2:2": {"pixel_format": "yuv422p"},
    "BT.709, limited range": {"colorspace": 1, "color_range": 1},
    "BT.709, full range": {"colorspace": 1, "color_range": 2},
    "BT.601, full range": {"colorspace": 5, "color_range": 2},
}
TURNS = {
    0: (1, 0, 0, 1),
    90: (0, -1, 1, 0),
    180: (-1, 0, 0, -1),
    270: (0, 1, -1, 0),
}
"""Degrees counter-clockwise, and the matrix (a, b, c, d) of a track header that turns by them: x' = ax + cy, y' = bx + dy."""


MIRRORS: dict[str, tuple[tuple[int, int, int, int], Callable[[np.ndarray], np.ndarray]]] = {
    "left to right": ((-1, 0, 0, 1), lambda picture: picture[:, ::-1]),
    "top to bottom": ((1, 0, 0, -1), lambda picture: picture[::-1]),
    "at the falling diagonal": ((0, 1, 1, 0), lambda picture: picture.transpose(1, 0, 2)),
    "at the rising diagonal": ((0, -1, -1, 0), lambda picture: picture[::-1, ::-1].transpose(1, 0, 2)),
}
"""The matrix of a track header that mirrors, and what it makes of a picture."""


def turned(clip: Path, turn: tuple[int, int, int, int], path: Path) -> Path:
    """Write a copy of an mp4 whose track header asks the player to turn or mirror the picture."""
    content = bytearray(clip.read_bytes())
    matrix = content.find(b"tkhd") + 44  # ISO/IEC 14496-12, 8.3.2, version 0
    a, b, c, d = (value * 2**16 for value in turn)
    values = (a, b, 0, c, d, 0, 0, 0, 2**30)
    content[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    path.write_bytes(content)
    return path


def slope(height: int, width: int) -> np.ndarray:
    """Draw colours that change slowly, so that it does not matter how chroma is interpolated."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([240 * columns, 250 * rows, 200 - 160 * columns], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("name", FORMATS)
def test_rgb_is_exactly_what_ffmpeg_itself_gives(make_clip: Any, decode_all: Any, name: str) -> None:
    path = make_clip(**FORMATS[name])
    reference = decode_all(path)
    for frame in decode_video(str(path), 5).frames:
        rgb = frame.to_rgb()
        assert rgb.dtype == np.uint8
        assert rgb.shape == (frame.height, frame.width, 3)
        assert np.array_equal(rgb, reference[frame.index].to_ndarray(format="rgb24"))


@pytest.mark.parametrize("pixel_format", ["yuv444p", "yuvj444p"])
@pytest.mark.parametrize("color_range", [0, 1, 2])
@pytest.mark.parametrize("colorspace", [1, 2, 5, 6, 7, 9])
def test_rgb_of_4_4_4_is_ffmpegs_within_a_level(pixel_format: str, color_range: int, colorspace: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (31, 47, 3), dtype=np.uint8)
    decoded = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)
    decoded.colorspace, decoded.color_range = colorspace, color_range
    rgb = Frame.from_decoded(decoded, 0, 0.0).to_rgb()
    difference = np.abs(rgb.astype(int) - decoded.to_ndarray(format="rgb24"))
    assert difference.mean() < 0.2
    assert difference.max() <= 2


@pytest.mark.parametrize("color_range", [0, 1, 2])
@pytest.mark.parametrize("colorspace", [1, 2, 5, 6])
def test_rgb_follows_the_range_and_matrix_that_the_decoder_reports(colorspace: int, color_range: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    decoded = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    decoded.colorspace, decoded.color_range = colorspace, color_range
    expected = decoded.to_ndarray(format="rgb24")
    frame = Frame.from_decoded(decoded, 0, 0.0)
    assert (frame.colorspace, frame.color_range) == (colorspace, color_range)
    assert np.array_equal(frame.to_rgb(), expected)


def test_rgb_of_an_odd_size_in_4_2_0_differs_by_no_more_than_where_chroma_lies(make_clip: Any, decode_all: Any) -> None:
    # FFmpeg's slow path for odd sizes looks at the frame's chroma location, which PyAV cannot hand on.
    path = make_clip(codec="mpeg4", width=161, height=121)
    reference = decode_all(path)
    for frame in decode_video(str(path), 5).frames:
        difference = frame.to_rgb().astype(int) - reference[frame.index].to_ndarray(format="rgb24")
        assert np.abs(difference).mean() < 4
        assert np.abs(difference.mean(axis=(0, 1))).max() < 0.5


def test_ten_bits_become_eight_by_ffmpegs_own_conversion(make_clip: Any, decode_all: Any) -> None:
    path = make_clip(pixel_format="yuv420p10le")
    reference = decode_all(path)
    for frame in decode_video(str(path), 5).frames:
        assert frame.pixel_format == "yuv420p"
        eight = reference[frame.index].reformat(format="yuv420p")
        assert np.array_equal(frame.planes, eight.to_ndarray().ravel())
        assert np.array_equal(frame.to_rgb(), eight.to_ndarray(format="rgb24"))


def test_the_colours_are_those_that_were_drawn() -> None:
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:] = (200, 60, 30)
    frame = Frame.from_decoded(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv444p"), 0, 0.0)
    assert np.abs(frame.to_rgb().astype(int) - picture).max() <= 3


@pytest.mark.parametrize(
    ("pixel_format", "width", "height", "size"),
    [
        ("yuv420p", 160, 120, 160 * 120 * 3 // 2),
        ("yuv420p", 161, 121, 161 * 121 + 2 * 81 * 61),
        ("yuv422p", 161, 121, 161 * 121 + 2 * 81 * 121),
        ("yuv444p", 161, 121, 3 * 161 * 121),
        ("yuvj420p", 17, 1, 17 + 2 * 9),
    ],
)
def test_the_planes_have_no_padding(pixel_format: str, width: int, height: int, size: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    decoded = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)
    frame = Frame.from_decoded(decoded, 3, 0.5)
    assert (frame.index, frame.time, frame.pixel_format) == (3, 0.5, pixel_format)
    assert frame.planes.dtype == np.uint8
    assert frame.planes.shape == (size,)


@pytest.mark.parametrize(
    "pixel_format", ["rgb24", "gray", "nv12", "yuv420p10le", "yuv422p10le", "yuv444p10le", "yuva420p", "gbrp"]
)
def test_another_pixel_format_is_converted(pixel_format: str) -> None:
    decoded = av.VideoFrame.from_ndarray(slope(32, 48), format="rgb24").reformat(format=pixel_format)
    frame = Frame.from_decoded(decoded, 0, 0.0)
    assert frame.pixel_format == "yuv420p"
    assert frame.planes.shape == (32 * 48 * 3 // 2,)
    difference = np.abs(frame.to_rgb().astype(int) - decoded.to_ndarray(format="rgb24"))
    assert difference.mean() < 3
    grey = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 128, np.uint8), format="rgb24").reformat(format=pixel_format)
    assert np.abs(Frame.from_decoded(grey, 0, 0.0).to_rgb().astype(int) - 128).max() <= 3


@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("colorspace", [1, 5, 9])
@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv422p10le", "yuv444p10le"])
def test_rgb_of_ten_bits_differs_by_no_more_than_the_rounding_to_eight(
    pixel_format: str, colorspace: int, color_range: int
) -> None:
    drawn = av.VideoFrame.from_ndarray(slope(120, 160), format="rgb24")
    decoded = drawn.reformat(format=pixel_format, dst_colorspace=colorspace, dst_color_range=color_range)
    decoded.colorspace, decoded.color_range = colorspace, color_range
    difference = Frame.from_decoded(decoded, 0, 0.0).to_rgb().astype(int) - decoded.to_ndarray(format="rgb24")
    assert np.abs(difference).mean() < 2  # of another matrix or range it is above 3


def test_a_frame_owns_its_planes(make_clip: Any) -> None:
    frame = decode_video(str(make_clip()), 1).frames[0]
    assert frame.planes.base is None or frame.planes.base.flags.owndata
    assert frame.planes.flags.c_contiguous


@pytest.mark.parametrize("degrees", sorted(TURNS))
def test_a_picture_is_turned_as_a_player_turns_it(make_clip: Any, tmp_path: Path, degrees: int) -> None:
    clip = make_clip()
    upright = decode_video(str(clip), 3).frames
    frames = decode_video(str(turned(clip, TURNS[degrees], tmp_path / "turned.mp4")), 3).frames
    for before, after in zip(upright, frames, strict=True):
        assert (after.rotation, after.mirrored) == (degrees, False)
        assert (after.width, after.height) == (160, 120)
        assert np.array_equal(after.planes, before.planes)
        assert np.array_equal(after.to_rgb(), np.rot90(before.to_rgb(), degrees // 90))
        assert after.to_rgb().flags.c_contiguous


def test_a_quarter_turn_clockwise_brings_the_left_edge_to_the_top(make_clip: Any, tmp_path: Path) -> None:
    clip = make_clip()
    before = decode_video(str(clip), 1).frames[0].to_rgb()
    after = decode_video(str(turned(clip, TURNS[270], tmp_path / "turned.mp4")), 1).frames[0].to_rgb()
    assert after.shape == (160, 120, 3)
    assert np.array_equal(after[0], before[::-1, 0])


@pytest.mark.parametrize("how", MIRRORS)
def test_a_picture_is_mirrored_as_a_player_mirrors_it(make_clip: Any, tmp_path: Path, how: str) -> None:
    clip, (matrix, mirror) = make_clip(), MIRRORS[how]
    upright = decode_video(str(clip), 3).frames
    frames = decode_video(str(turned(clip, matrix, tmp_path / "mirrored.mp4")), 3).frames
    for before, after in zip(upright, frames, strict=True):
        assert np.array_equal(after.planes, before.planes)
        assert np.array_equal(after.to_rgb(), mirror(before.to_rgb()))
        assert after.to_rgb().flags.c_contiguous
        [arrived] = frames_from_arrow(frames_to_arrow([after])[0])
        assert np.array_equal(arrived.to_rgb(), after.to_rgb())
        assert after.to_rgb().shape[1] == (after.height if after.rotation % 180 else after.width)


def test_a_frame_without_a_display_matrix_is_as_it_was_drawn() -> None:
    assert read_turn(av.VideoFrame(16, 16, "yuv420p")) == (0, False)
