"""One decoded frame, as the decoder left it."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt

PLANAR_FORMATS = ("yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p")
"""FFmpeg pixel formats kept as they are: three planes of 8 bits. Others (10-bit, packed) become yuv420p."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame in its own YUV planes: for 4:2:0 half the bytes of RGB, and no conversion before detection."""

    index: int
    """Position in display order among all frames of the stream, from 0."""
    time: float
    """Presentation time in seconds from the start of the stream."""
    planes: npt.NDArray[np.uint8]
    """Y, U and V one after the other, rows unpadded: (bytes,) uint8; 4:2:0 has h * w + 2 * ceil(h / 2) * ceil(w / 2)."""
    pixel_format: str
    """One of `PLANAR_FORMATS`."""
    width: int
    """Pixels, as coded (before rotation)."""
    height: int
    """Pixels, as coded (before rotation)."""
    rotation: int
    """Degrees, counter-clockwise, by which a player turns the picture: 0, 90, 180 or 270."""
    colorspace: int
    """FFmpeg's AVColorSpace (1 = BT.709, 2 = unspecified, 5 and 6 = BT.601)."""
    color_range: int
    """FFmpeg's AVColorRange (1 = limited, 2 = full, 0 = unspecified)."""

    @classmethod
    def from_decoded(cls, frame: av.VideoFrame, index: int, time: float) -> Frame:
        """Copy the planes out of a decoder's frame; formats other than 8-bit planar YUV are converted by FFmpeg."""
        if frame.format.name not in PLANAR_FORMATS:
            frame = frame.reformat(format="yuv420p")
        planes = [
            np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].ravel()
            for plane in frame.planes
        ]
        return cls(
            index=index,
            time=time,
            planes=np.concatenate(planes),
            pixel_format=frame.format.name,
            width=frame.width,
            height=frame.height,
            rotation=round(frame.rotation) % 360 // 90 * 90,
            colorspace=int(frame.colorspace),
            color_range=int(frame.color_range),
        )

    def to_rgb(self) -> npt.NDArray[np.uint8]:
        """Return the upright picture, (height, width, 3) uint8 RGB, converted by FFmpeg's own swscale."""
        picture = av.VideoFrame(self.width, self.height, self.pixel_format)
        offset = 0
        for plane in picture.planes:
            size = plane.height * plane.width
            rows = np.zeros((plane.height, plane.line_size), np.uint8)
            rows[:, : plane.width] = self.planes[offset : offset + size].reshape(plane.height, plane.width)
            plane.update(rows)
            offset += size
        picture.colorspace = self.colorspace
        picture.color_range = self.color_range
        rgb = picture.to_ndarray(format="rgb24")
        return np.ascontiguousarray(np.rot90(rgb, self.rotation // 90)) if self.rotation else rgb
