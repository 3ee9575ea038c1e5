"""Where a face's box and landmarks are on its crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dfd_ray.faces.crop import crop_region


@dataclass(frozen=True)
class Overlay:
    """A box and points in percent of the crop's width and height, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    landmarks: list[tuple[float, float]]


def place_on_crop(box: Sequence[float], landmarks: Sequence[float], margin: float, width: int, height: int) -> Overlay | None:
    """Return the overlay of a crop, or None if the box is outside the frame.

    `box` is x1, y1, x2, y2 and `landmarks` are x, y pairs, in pixels of a frame of `width` x `height`. The crop is
    that region stretched to a square, so each direction has its own scale.
    """
    left, top, right, bottom = crop_region(box, margin, width, height)
    if right <= left or bottom <= top:
        return None

    def percent_x(x: float) -> float:
        return round(100 * (x - left) / (right - left), 2)

    def percent_y(y: float) -> float:
        return round(100 * (y - top) / (bottom - top), 2)

    x, y = percent_x(box[0]), percent_y(box[1])
    return Overlay(
        x=x,
        y=y,
        width=round(percent_x(box[2]) - x, 2),
        height=round(percent_y(box[3]) - y, 2),
        landmarks=[(percent_x(a), percent_y(b)) for a, b in zip(landmarks[::2], landmarks[1::2], strict=True)],
    )
