"""Pictures small enough to be part of a page: re-encoded crops, sheets of faces, and sprites."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from dfd_ray.arrays import Image

SPRITE_STEPS = ((48, 75), (40, 65), (32, 55), (24, 40))
"""Pixels and JPEG quality of a sprite. They are tried in turn until the sheets fit their budget."""
SPRITE_COLUMNS = 32
"""Sprites in a row and rows in a sheet: 1536 x 1536 pixels at most, which any phone decodes."""
GREY = 128


@dataclass(frozen=True)
class Sprites:
    """Many small pictures in few images. Number n is in sheet n // columns², row by row."""

    sheets: list[str]
    """data: URIs."""
    cell: int
    """pixels; width and height of a picture."""
    columns: int


def decode_square(data: bytes | None, size: int) -> Image:
    """Return a picture as (size, size, 3) uint8 in OpenCV's channel order. What is not a picture is grey."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        return np.full((size, size, 3), GREY, np.uint8)
    shrinks = image.shape[0] >= size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (size, size), interpolation=method), np.uint8)


def to_uri(image: Image, quality: int) -> str:
    """Return a picture as a data: URI of a JPEG."""
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def tile_pictures(images: Sequence[Image], columns: int) -> Image:
    """Return pictures of one size side by side, row by row. The rest of the last row is grey."""
    size = images[0].shape[0]
    rows = -(-len(images) // columns)
    sheet = np.full((rows * size, min(columns, len(images)) * size, 3), GREY, np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        sheet[row * size : (row + 1) * size, column * size : (column + 1) * size] = image
    return sheet


def make_sprites(pictures: Sequence[bytes | None], budget: int) -> Sprites:
    """Return pictures as sprites. Their URIs have at most `budget` characters, unless the smallest step needs more."""
    per_sheet = SPRITE_COLUMNS**2
    for size, quality in SPRITE_STEPS:
        parts = [pictures[start : start + per_sheet] for start in range(0, len(pictures), per_sheet)]
        sheets = [
            to_uri(tile_pictures([decode_square(data, size) for data in part], SPRITE_COLUMNS), quality) for part in parts
        ]
        if sum(map(len, sheets)) <= budget:
            break
    return Sprites(sheets, size, SPRITE_COLUMNS)


def reencode_base64(text: object, size: int) -> str:
    """Return a stored picture, re-encoded at (size, size) pixels, as a data: URI. What is not a picture is grey."""
    try:
        data = base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except ValueError:
        data = None
    return to_uri(decode_square(data, size), 80)
