"""Cutting faces out of frames, and their JPEG form."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dfd_ray.store.schemas import crop_region


def landmarks_on_crop(
    landmarks: npt.ArrayLike, box: npt.NDArray[np.floating], margin: float, width: int, height: int, size: int
) -> npt.NDArray[np.float32]:
    """Return where landmarks (5, 2), x and y in pixels of the frame, lie on the crop that `cut_face` makes of it.

    (5, 2) float32 in pixels of the crop; some may lie outside. `width` and `height` are the frame's; the box must hold
    some of it.
    """
    x1, y1, x2, y2 = crop_region(box, margin, width, height)
    scale = size / np.array([x2 - x1, y2 - y1])
    return np.asarray((np.asarray(landmarks, np.float64).reshape(5, 2) - (x1, y1)) * scale, np.float32)


def cut_face(
    frame: npt.NDArray[np.uint8], box: npt.NDArray[np.floating], margin: float, size: int
) -> npt.NDArray[np.uint8] | None:
    """Return the face with its margin as (size, size, 3) uint8, or None where the box holds nothing of the frame.

    `frame` is (h, w, 3) uint8. The region is stretched to a square, as facenet-pytorch does, by area averaging.
    """
    x1, y1, x2, y2 = crop_region(box, margin, frame.shape[1], frame.shape[0])
    if x2 <= x1 or y2 <= y1:
        return None
    resized = cv2.resize(frame[y1:y2, x1:x2], (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)


def encode_jpeg(image: npt.NDArray[np.uint8], quality: int = 95) -> bytes:
    """Return an RGB image (h, w, 3) uint8 as JPEG with full-resolution chroma, where blending leaves its traces."""
    parameters = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)[1].tobytes()


def decode_jpeg(data: bytes) -> npt.NDArray[np.uint8]:
    """Return a JPEG as (h, w, 3) uint8 RGB; ValueError when it is none."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise ValueError(f"not an image ({len(data)} bytes)")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
