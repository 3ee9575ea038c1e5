"""High dynamic range is shown as on an ordinary screen."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from dfd_ray.video import Frame, decode_video
from dfd_ray.video.hdr import HLG, PQ, TO_BT709, WHITE, make_gains, nits_to_pq, pq_to_nits

SDR_2020 = 14
"""AVColorTransferCharacteristic of BT.2020 in 10 bits: an ordinary curve, and a wide gamut."""


def draw(height: int = 80, width: int = 96) -> npt.NDArray[np.float64]:
    """Draw colours of skin to near white, which change slowly."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([60 + 180 * columns, 50 + 150 * rows, 180 - 120 * columns], axis=-1)


def encode(picture: npt.NDArray[np.float64], transfer: int, brightness: float = 1.0) -> av.VideoFrame:
    """Return a picture of an ordinary screen as a 10-bit frame of a curve, with white at `WHITE` nits (BT.2408)."""
    linear = (picture / 255) ** 2.4 @ np.linalg.inv(TO_BT709.astype(float)).T
    nits = brightness * WHITE * np.clip(linear, 0, None)
    if transfer == PQ:
        codes = nits_to_pq(nits)
    elif transfer == HLG:
        light = nits / 1000
        scene = light * np.maximum(light @ [0.2627, 0.678, 0.0593], 1e-9)[..., None] ** (-0.2 / 1.2)
        bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        codes = np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)
    else:
        codes = np.clip(linear, 0, 1) ** (1 / 2.4)
    deep = np.rint(np.clip(codes, 0, 1) * 65535).astype(np.uint16)
    frame = av.VideoFrame.from_ndarray(deep, format="rgb48le").reformat(
        format="yuv420p10le", dst_colorspace=9, dst_color_range=1
    )
    frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc = 9, 1, 9, transfer
    return frame


@pytest.mark.parametrize("transfer", [PQ, HLG, SDR_2020])
def test_what_an_ordinary_screen_can_show_looks_as_it_does_there(transfer: int) -> None:
    picture = draw()
    frame = encode(picture, transfer)
    shown = Frame.from_decoded(frame, 3, 0.5)
    assert (shown.index, shown.time, shown.pixel_format) == (3, 0.5, "yuv420p")
    assert (shown.colorspace, shown.color_range) == (1, 1)
    assert np.abs(shown.to_rgb() - picture).mean() < 3
    assert np.abs(frame.to_ndarray(format="rgb24") - picture).mean() > 6  # as it is today without a curve


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_highlights_are_bent_and_neither_clipped_nor_put_out_of_order(transfer: int) -> None:
    steps = np.repeat(np.linspace(0, 255, 96)[None, :, None], 80, axis=0).repeat(3, axis=2)
    grey = Frame.from_decoded(encode(steps, transfer, brightness=4.0), 0, 0.0).to_rgb()[40].mean(axis=1)
    assert (np.diff(grey) > -1.5).all()
    assert (grey > 254).sum() < 30
    assert grey[-1] > 240


def test_a_clip_that_is_marked_as_pq_is_mapped(tmp_path: Path) -> None:
    path, picture = tmp_path / "pq.mp4", draw()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace, context.color_range = PQ, 9, 9, 1
        for number in range(5):
            frame = encode(picture, PQ)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for frame in decode_video(str(path), 3).frames:
        assert np.abs(frame.to_rgb() - picture).mean() < 4


def test_the_curve_is_one_to_one_below_its_knee_and_ends_at_white() -> None:
    levels, gains = make_gains(1000.0)
    mapped = levels * gains
    dark = (levels > 0.1) & (levels < 80)
    np.testing.assert_allclose(mapped[dark] * WHITE, levels[dark], rtol=1e-6)
    assert (np.diff(mapped) > -1e-9).all()
    assert mapped.max() == pytest.approx(1, abs=1e-6)
    levels, gains = make_gains(100.0)  # nothing brighter than white: nothing is bent
    np.testing.assert_allclose(levels[levels < WHITE] * gains[levels < WHITE] * WHITE, levels[levels < WHITE], rtol=1e-6)


def test_pq_is_the_standards() -> None:
    np.testing.assert_allclose(pq_to_nits(np.array([0.0, 0.5081, 0.5807, 1.0])), [0, 100, 203, 10_000], rtol=2e-3)
    codes = np.linspace(0, 1, 50)
    np.testing.assert_allclose(nits_to_pq(pq_to_nits(codes)), codes, atol=1e-6)


def test_an_ordinary_frame_is_left_as_it_is() -> None:
    frame = av.VideoFrame.from_ndarray(draw().astype(np.uint8), format="rgb24").reformat(format="yuv420p")
    planes = frame.to_ndarray().ravel()
    for primaries, transfer in ((1, 1), (2, 2), (6, 6), (5, 6)):
        frame.color_primaries, frame.color_trc = primaries, transfer
        assert np.array_equal(Frame.from_decoded(frame, 0, 0.0).planes, planes)
