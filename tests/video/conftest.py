from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

Pictures = npt.NDArray[np.uint8]
MakeClip = Callable[..., Path]

B_PYRAMID = {"preset": "veryfast", "g": "24", "x264-params": "bframes=3:b-adapt=0:b-pyramid=normal:ref=4:keyint=24"}
"""x264 with B frames that other frames depend on, in every group of pictures."""


def draw(count: int, width: int, height: int) -> list[Pictures]:
    """Return textured content that moves: noise under a sliding gradient, and a square of its own colour."""
    random = np.random.default_rng(7)
    texture = random.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    texture = texture.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]
    slope = np.linspace(0, 255, width, dtype=np.float32)[None, :, None]
    frames = []
    for number in range(count):
        mixed = 0.6 * np.roll(texture, (number, 2 * number), (0, 1)) + 0.4 * np.roll(slope, -3 * number, 1)
        frame = mixed.astype(np.uint8)
        left, top = (5 * number) % (width - 20), (3 * number) % (height - 20)
        frame[top : top + 20, left : left + 20] = ((37 * number) % 256, (91 * number) % 256, 200)
        frames.append(frame)
    return frames


def write_clip(
    path: Path,
    codec: str,
    count: int,
    width: int,
    height: int,
    pixel_format: str,
    options: dict[str, str],
    stamps: list[int] | None,
    colorspace: int | None,
    color_range: int | None,
    movflags: str,
) -> None:
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.thread_count = 1
        if colorspace is not None:
            stream.codec_context.colorspace = colorspace
        if color_range is not None:
            stream.codec_context.color_range = color_range
        if stamps is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(draw(count, width, height)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                format=pixel_format, dst_colorspace=colorspace, dst_color_range=color_range
            )
            frame.pts = number if stamps is None else stamps[number]
            frame.time_base = Fraction(1, 25) if stamps is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(scope="session")
def make_clip(tmp_path_factory: pytest.TempPathFactory) -> MakeClip:
    """Return a function that writes a clip, once for the same arguments; a codec that is not here skips the test."""
    folder = tmp_path_factory.mktemp("clips")
    made: dict[str, Path] = {}

    def make(
        codec: str = "libx264",
        count: int = 72,
        width: int = 160,
        height: int = 120,
        pixel_format: str = "yuv420p",
        options: dict[str, str] | None = None,
        suffix: str = ".mp4",
        stamps: list[int] | None = None,
        colorspace: int | None = None,
        color_range: int | None = None,
        movflags: str = "",
    ) -> Path:
        options = B_PYRAMID if options is None and codec == "libx264" else options or {}
        settings: tuple[Any, ...] = (
            codec,
            count,
            width,
            height,
            pixel_format,
            options,
            stamps,
            colorspace,
            color_range,
            movflags,
        )
        key = repr((*settings, suffix))
        if key not in made:
            try:
                av.codec.Codec(codec, "w")
            except av.codec.codec.UnknownCodecError:
                pytest.skip(f"this build of FFmpeg has no encoder {codec}")
            path = folder / f"clip{len(made)}{suffix}"
            write_clip(path, *settings)
            made[key] = path
        return made[key]

    return make


@pytest.fixture(scope="session")
def decode_all() -> Callable[[Path], list[av.VideoFrame]]:
    """Return a function that decodes every frame of a file, in display order, as FFmpeg does by default."""

    def decode(path: Path) -> list[av.VideoFrame]:
        with av.open(str(path)) as container:
            return list(container.decode(video=0))

    return decode


@pytest.fixture(scope="session")
def sound_only(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that writes a file with sound and no picture."""

    def make(name: str) -> Path:
        path = tmp_path_factory.mktemp("sound") / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=44100, layout="mono")
            for number in range(20):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 44100, 1024 * number, Fraction(1, 44100)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return make
