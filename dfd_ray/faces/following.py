"""Finding the faces of all frames of one video: some frames are searched whole, and in those between faces are followed.

A whole search spends most of its time on places without a face. Followed faces are judged by the same R-Net and O-Net.
A face that comes and goes between two searches can be missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from dfd_ray.arrays import Float32Array, Image
from dfd_ray.faces.detector import FaceDetector, Faces

SURE = 0.9
"""Probability from which a face is followed, and below which it counts as lost."""

Look = tuple[int, Image, Faces]
"""Position, picture and faces of a frame."""


def find_faces(detector: FaceDetector, pictures: Sequence[Callable[[], Image]], search_every: int) -> Iterator[Look]:
    """Yield position, picture and faces of every frame of a video, in the order in which they are looked at.

    `pictures` make the frames, (h, w, 3) uint8 RGB, in the order of time; each is made once, when it is needed. The first,
    the last, and one in `search_every` are searched whole. Where two neighbours among these differ in their number of faces,
    the frame in the middle is searched too, and so on. Between two that agree, faces are followed from both sides. A frame
    where one of them is lost, or with no face to follow, is searched whole.
    """
    if not pictures:
        return
    last = len(pictures) - 1
    before = _search(detector, pictures, 0)
    yield before
    for _, end in pairwise([*range(0, last, search_every), last]):
        after = _search(detector, pictures, end)
        yield after
        yield from _look_between(detector, pictures, before, after)
        before = after


def _look_between(detector: FaceDetector, pictures: Sequence[Callable[[], Image]], before: Look, after: Look) -> Iterator[Look]:
    """Yield the frames between two searched ones."""
    start, end = before[0], after[0]
    if end - start < 2:
        return
    middle = (start + end) // 2
    if np.sum(before[2].probabilities >= SURE) != np.sum(after[2].probabilities >= SURE):
        between = _search(detector, pictures, middle)
        yield between
        yield from _look_between(detector, pictures, before, between)
        yield from _look_between(detector, pictures, between, after)
        return
    for known, positions in ((before[2], range(start + 1, middle + 1)), (after[2], range(end - 1, middle, -1))):
        for position in positions:
            picture = pictures[position]()
            known = follow_or_search(detector, picture, known)
            yield position, picture, known


def _search(detector: FaceDetector, pictures: Sequence[Callable[[], Image]], position: int) -> Look:
    picture = pictures[position]()
    [found] = detector.detect([picture])
    return position, picture, found


def follow_or_search(detector: FaceDetector, picture: Image, known: Faces) -> Faces:
    """Return the faces of a picture, given those of its neighbour in time."""
    expected = known.boxes[known.probabilities >= SURE]
    if len(expected):
        [found] = detector.follow([picture], [expected])
        if all(_is_found(box, found) for box in expected):
            return found
    [found] = detector.detect([picture])
    return found


def _is_found(box: Float32Array, found: Faces) -> bool:
    """Return whether a sure face has its centre within a side's length of the box's centre."""
    boxes = found.boxes[found.probabilities >= SURE]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    distance = np.abs(centres - (box[:2] + box[2:]) / 2).max(axis=1, initial=0.0)
    return bool((distance < (box[2:] - box[:2]).max()).any())
