"""Of one file, a frame gives the same faces, byte for byte, whatever the video's label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dfd_ray.faces.detector import Faces
from dfd_ray.sections import Preprocess
from dfd_ray.stages.detect import Detect
from dfd_ray.stages.extract import frames_wanted
from dfd_ray.video.arrow import frames_from_arrow
from dfd_ray.video.decoder_process import decode_row

LABELS = ("REAL", "FAKE", None)
PEOPLE = np.array([[20, 20, 60, 60], [90, 30, 130, 70]], np.float32)


class Drifting:
    """A detector whose boxes differ where they were followed, the more the further."""

    def __init__(self, people: int) -> None:
        self.people = people

    def detect(self, frames: Sequence[npt.NDArray[np.uint8]]) -> list[Faces]:
        # One person or two by what the frame shows, so that two searches can differ in their number of faces.
        return [found(PEOPLE[: 1 + int(frame.mean() * 97) % self.people]) for frame in frames]

    def follow(self, frames: Sequence[object], near: Sequence[npt.NDArray[np.float32]]) -> list[Faces]:
        return [found(boxes + np.float32(1.25)) for boxes in near]


def found(boxes: npt.NDArray[np.float32]) -> Faces:
    landmarks = np.repeat(boxes[:, None, :2], 5, axis=1) + 7
    return Faces(boxes, landmarks, np.full(len(boxes), 0.99, np.float32))


@pytest.fixture(scope="module")
def detect() -> Detect:
    return Detect(Preprocess(), "cpu")


def faces_by_label(detect: Detect, path: Path, settings: Preprocess, people: int) -> list[dict[int, list[dict[str, Any]]]]:
    """Return the faces of each frame of the file that was looked at, for each label."""
    detect.settings = settings
    detect.detector = Drifting(people)  # type: ignore[assignment]
    every = []
    for label in LABELS:
        row = decode_row(str(path), frames_wanted(label, settings), settings)
        frames = frames_from_arrow(row.column("frames")[0])
        [video] = row.drop_columns("frames").to_pylist()
        faces = detect.detect_row(video | {"video_id": "a.mp4", "seconds_spent": 0.0}, frames)["faces"]
        every.append({frame.index: [face for face in faces if face["frame_index"] == frame.index] for frame in frames})
    return every


@pytest.mark.parametrize("people", [1, 2])
@pytest.mark.parametrize(
    "frames", [(20, 4, 8), (40, 8, 16), (16, 8, 8), (6, 3, 3), (10, 4, 8), (7, 3, 5), (12, 12, 12), (3, 9, 6)]
)
@pytest.mark.parametrize("length", [72, 30, 13, 5, 1])
def test_a_frame_gives_the_same_bytes_for_every_label(
    detect: Detect, make_clip: Any, length: int, frames: tuple[int, int, int], people: int
) -> None:
    names = ("frames_real", "frames_fake", "frames_unlabelled")
    settings = Preprocess(**dict(zip(names, frames, strict=True)), crop_size=32)  # type: ignore[arg-type]
    every = faces_by_label(detect, make_clip(count=length), settings, people)
    fewest = min(every, key=len)
    assert fewest
    assert all(found for one in every for found in one.values())
    for one in every:
        assert len(one) <= length
        assert fewest.keys() <= one.keys(), "a label that takes more frames takes these, too"
        for index in fewest:
            assert one[index] == fewest[index]
