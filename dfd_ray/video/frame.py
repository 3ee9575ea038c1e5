"""One decoded frame, as the decoder left it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type

from dfd_ray.arrays import Float32Array, Image, UInt8Array
from dfd_ray.video.hdr import is_hdr, tone_map

PLANAR_FORMATS = ("yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p")
"""FFmpeg pixel formats that are kept: three planes of 8 bits. Others (10-bit, packed) become yuv420p."""
LUMA_WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
"""Kr and Kb by AVColorSpace: BT.709, BT.601 (twice), SMPTE 240M, BT.2020 (H.273, table 4)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame as YUV planes: in 4:2:0 half the bytes of RGB, and the decoder's process need not convert them."""

    index: int
    """Position in display order among all frames of the stream, from 0."""
    time: float
    """Presentation time in seconds from the start of the stream."""
    planes: UInt8Array
    """Y, U and V one after the other, rows unpadded: (bytes,) uint8; 4:2:0 has h * w + 2 * ceil(h / 2) * ceil(w / 2)."""
    pixel_format: str
    """One of `PLANAR_FORMATS`."""
    width: int
    height: int
    """Width and height in pixels, as coded (before rotation)."""
    rotation: int
    """Degrees by which a player turns the picture counter-clockwise: 0, 90, 180 or 270."""
    mirrored: bool
    """Whether a player then mirrors it, left to right."""
    colorspace: int
    """FFmpeg's AVColorSpace (1 = BT.709, 2 = unspecified, 5 and 6 = BT.601)."""
    color_range: int
    """FFmpeg's AVColorRange (1 = limited, 2 = full, 0 = unspecified)."""
    comb: int = 0
    """Number of the comb that it was chosen in, from 0: faces are followed only within one."""

    @classmethod
    def from_decoded(cls, frame: av.VideoFrame, index: int, time: float) -> Frame:
        """Copy the planes out of a decoder's frame.

        FFmpeg converts formats other than 8-bit planar YUV. High dynamic range is tone-mapped.
        """
        rotation, mirrored = read_turn(frame)
        if is_hdr(frame):
            frame = tone_map(frame)
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
            rotation=rotation,
            mirrored=mirrored,
            colorspace=int(frame.colorspace),
            color_range=int(frame.color_range),
        )

    def to_rgb(self) -> Image:
        """Return the upright picture, (height, width, 3) uint8 RGB.

        FFmpeg's swscale converts it. 4:4:4 goes through the same matrix in OpenCV, which differs by at most one level and
        takes a tenth of the time.
        """
        rgb = self._full_chroma_to_rgb() if "444" in self.pixel_format else self._swscale_to_rgb()
        turned = np.rot90(rgb, self.rotation // 90)
        return np.ascontiguousarray(turned[:, ::-1] if self.mirrored else turned)

    def _full_chroma_to_rgb(self) -> Image:
        matrix = make_rgb_matrix(self.colorspace, self.color_range == 2 or self.pixel_format.startswith("yuvj"))
        planes = self.planes.reshape(3, self.height, self.width)
        return np.asarray(cv2.transform(cv2.merge(list(planes)), matrix), np.uint8)

    def _swscale_to_rgb(self) -> Image:
        picture = av.VideoFrame(self.width, self.height, self.pixel_format)
        offset = 0
        for plane in picture.planes:
            size = plane.height * plane.width
            rows = np.zeros((plane.height, plane.line_size), np.uint8)
            rows[:, : plane.width] = self.planes[offset : offset + size].reshape(plane.height, plane.width)
            plane.update(rows)
            offset += size
        picture.colorspace, picture.color_range = self.colorspace, self.color_range
        return np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)


def read_turn(frame: av.VideoFrame) -> tuple[int, bool]:
    """Return the degrees counter-clockwise by which a player turns a frame, and whether it then mirrors it.

    The display matrix maps x, y to ax + cy, bx + dy (ISO/IEC 14496-12, 6.2.2). One of a negative determinant mirrors.
    """
    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return 0, False
    a, b, _, c, d, *_ = (int(value) for value in np.frombuffer(data, np.int32))
    mirrored = a * d - b * c < 0
    if mirrored:  # taken back, what is left is a turn
        a, c = -a, -c
    return round(math.degrees(math.atan2(c - b, a + d)) / 90) % 4 * 90, mirrored


def make_rgb_matrix(colorspace: int, full_range: bool) -> Float32Array:
    """Return the (3, 4) matrix from Y, U, V (and 1) in levels of 0 to 255 to R, G, B (ITU-T H.273, 8.3).

    `colorspace` is FFmpeg's AVColorSpace; unspecified and rare ones count as BT.601, as in swscale.
    """
    red, blue = LUMA_WEIGHTS.get(colorspace, LUMA_WEIGHTS[5])
    green = 1 - red - blue
    luma, chroma = (1.0, 1.0) if full_range else (255 / 219, 255 / 224)
    matrix = np.zeros((3, 4))
    matrix[:, 0] = luma
    matrix[0, 2] = 2 * (1 - red) * chroma
    matrix[1, 1:3] = -2 * np.array([(1 - blue) * blue, (1 - red) * red]) / green * chroma
    matrix[2, 1] = 2 * (1 - blue) * chroma
    matrix[:, 3] = -matrix[:, :3] @ [0 if full_range else 16, 128, 128]
    return matrix.astype(np.float32)
