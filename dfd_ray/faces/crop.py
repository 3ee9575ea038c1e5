"""Cutting faces out of frames, with their margin, and encoding them as JPEG."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from dfd_ray.arrays import Float32Array, Image


def crop_region(box: Iterable[float], margin: float, width: int, height: int) -> tuple[int, int, int, int]:
    """Apply the margin: return the x1, y1, x2, y2 that a face's `image` shows of a frame of `width` x `height`.

    That is the box widened to (1 + margin) of its size and clipped to the frame, in whole pixels; x2 and y2 are exclusive.
    The geometry is that of facenet-pytorch's `extract_face`: its `image_size=240, margin=90` is our margin 0.6,
    90 / (240 - 90).
    """
    x1, y1, x2, y2 = (float(value) for value in box)
    half_width, half_height = margin * (x2 - x1) / 2, margin * (y2 - y1) / 2
    return (
        int(max(x1 - half_width, 0)),
        int(max(y1 - half_height, 0)),
        int(min(x2 + half_width, width)),
        int(min(y2 + half_height, height)),
    )


def landmarks_on_crop(
    landmarks: npt.ArrayLike, box: npt.NDArray[np.floating], margin: float, width: int, height: int, size: int
) -> Float32Array:
    """Return landmarks (5, 2) of a frame, x and y, in pixels of the crop that `cut_face` makes of the box.

    (5, 2) float32; some may be outside the crop. `width` and `height` are the frame's. The box must overlap the frame.
    """
    x1, y1, x2, y2 = crop_region(box, margin, width, height)
    scale = size / np.array([x2 - x1, y2 - y1])
    return np.asarray((np.asarray(landmarks, np.float64).reshape(5, 2) - (x1, y1)) * scale, np.float32)


def cut_face(frame: Image, box: npt.NDArray[np.floating], margin: float, size: int) -> Image | None:
    """Return the face with its margin as (size, size, 3) uint8, or None where the box is outside the frame.

    `frame` is (h, w, 3) uint8. The region is stretched to a square, as facenet-pytorch does, by area averaging.
    """
    x1, y1, x2, y2 = crop_region(box, margin, frame.shape[1], frame.shape[0])
    if x2 <= x1 or y2 <= y1:
        return None
    resized = cv2.resize(frame[y1:y2, x1:x2], (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)


def encode_jpeg(image: Image, quality: int = 95) -> bytes:
    """Return an RGB image (h, w, 3) uint8 as JPEG. Chroma has full resolution: blending leaves traces in it."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)[1].tobytes()


def decode_jpeg(data: bytes) -> Image:
    """Return a JPEG as (h, w, 3) uint8 RGB. Raises ValueError when it is not an image."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise ValueError(f"not an image ({len(data)} bytes)")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
