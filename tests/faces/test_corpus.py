from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.detection import SMALLEST, Agreement
from dfd_ray.faces.detector import FaceDetector, Faces
from dfd_ray.faces.following import find_faces
from dfd_ray.sections import Preprocess
from dfd_ray.video import decode_video

PROJECT = Path(__file__).parent.parent.parent
CLIPS, FRAMES = 6, 2


@pytest.fixture(scope="module")
def clips() -> list[Path]:
    """Find a few real clips, spread over the smaller files of the corpus, which is not part of the project."""
    for place in (os.environ.get("DFD_CORPUS"), PROJECT.parent / "shared" / "corpus"):
        found = sorted(Path(place).glob("dfdc_train_part_*/*.mp4")) if place else []
        if found:
            small = sorted(found, key=lambda path: (path.stat().st_size, path.name))[: max(CLIPS, len(found) // 3)]
            return [small[i * len(small) // CLIPS] for i in range(CLIPS)] if len(small) > CLIPS else small
    pytest.skip("the real corpus is not here: set DFD_CORPUS to a folder of DFDC-shaped parts")


class Measured(Agreement):
    """An agreement with facenet-pytorch's own detector, and the least that it must be."""

    def __init__(self, stock_detect: Any) -> None:
        super().__init__()
        self.stock_detect = stock_detect

    def compare(self, frame: npt.NDArray[np.uint8], found: Faces) -> None:
        boxes, probabilities, landmarks = (values.astype(np.float32) for values in self.stock_detect(frame))
        self.add(frame, Faces(boxes, landmarks, probabilities), found)

    def check(self, at_least: int) -> None:
        assert len(self.best) >= at_least
        assert np.mean(np.array(self.best) >= 0.5) >= 0.99
        assert np.mean(self.best) >= 0.90
        assert np.mean(self.landmark_errors) <= 0.04
        assert self.unseen <= 0.01 * self.reported


def test_real_faces_are_found_where_facenet_pytorch_finds_them(clips: list[Path], stock_detect: Any) -> None:
    detector = FaceDetector("cpu", smallest_face=SMALLEST)
    agreement = Measured(stock_detect)
    for clip in clips:
        frames = [frame.to_rgb() for frame in decode_video(str(clip), FRAMES).frames]
        assert len(frames) == FRAMES
        for frame, found in zip(frames, detector.detect(frames), strict=True):
            agreement.compare(frame, found)
    agreement.check(at_least=len(clips))


def test_faces_that_are_followed_are_where_facenet_pytorch_finds_them(clips: list[Path], stock_detect: Any) -> None:
    settings = Preprocess()
    detector = FaceDetector("cpu", smallest_face=SMALLEST)
    agreement = Measured(stock_detect)
    for clip in clips[:3]:
        frames = [frame.to_rgb() for frame in decode_video(str(clip), settings.frames_fake).frames]
        for _, frame, found in find_faces(detector, [lambda frame=frame: frame for frame in frames], settings.search_every):
            agreement.compare(frame, found)
    agreement.check(at_least=3 * settings.frames_fake)
