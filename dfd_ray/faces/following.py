"""Finding the faces of all frames of one video: some are searched whole, and in those between faces are followed.

A whole search costs most of its time on places where there never was a face. What is followed is found by the same three
nets on the same pyramid, so it is the same box; what can be missed is a face that comes and goes between two searches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from dfd_ray.faces.detector import FaceDetector, Faces

SURE = 0.9
"""Probability from which a face is followed, and below which it counts as lost."""

Picture = npt.NDArray[np.uint8]


def find_faces(
    detector: FaceDetector, pictures: Sequence[Callable[[], Picture]], search_every: int
) -> Iterator[tuple[int, Picture, Faces]]:
    """Yield position, picture and faces of every frame of a video, in the order in which they are looked at.

    `pictures` make the frames, (h, w, 3) uint8 RGB, in the order of time; each is made once, when it is needed. One frame in
    `search_every` is searched whole; from it faces are followed to both sides, frame by frame. A frame where one of
    them is lost, or where there is none to follow, is searched whole.
    """
    for start in range(0, len(pictures), search_every):
        run = range(start, min(start + search_every, len(pictures)))
        middle = run[len(run) // 2]
        picture = pictures[middle]()
        [first] = detector.detect([picture])
        yield middle, picture, first
        for side in (range(middle - 1, start - 1, -1), range(middle + 1, run.stop)):
            known = first
            for position in side:
                picture = pictures[position]()
                known = follow_or_search(detector, picture, known)
                yield position, picture, known


def follow_or_search(detector: FaceDetector, picture: Picture, known: Faces) -> Faces:
    """Return the faces of a picture, given those of the one beside it in time."""
    expected = known.boxes[known.probabilities >= SURE]
    if len(expected):
        [found] = detector.follow([picture], [expected])
        if all(_is_there(box, found) for box in expected):
            return found
    [found] = detector.detect([picture])
    return found


def _is_there(box: npt.NDArray[np.float32], found: Faces) -> bool:
    """Return whether one of the sure faces has its centre within a side's length of a box's centre."""
    boxes = found.boxes[found.probabilities >= SURE]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    distance = np.abs(centres - (box[:2] + box[2:]) / 2).max(axis=1, initial=0.0)
    return bool((distance < (box[2:] - box[:2]).max()).any())
