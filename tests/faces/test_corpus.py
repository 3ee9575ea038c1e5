from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfd_ray.faces.detector import FaceDetector
from dfd_ray.video import decode_video

PROJECT = Path(__file__).parent.parent.parent
CLIPS, FRAMES = 6, 2
PROBABLE = 0.95
SMALLEST = 1 / 24


@pytest.fixture(scope="module")
def clips() -> list[Path]:
    """Find a few real clips, spread over the smaller files of the corpus, which is not part of the project."""
    for place in (os.environ.get("DFD_CORPUS"), PROJECT.parent / "shared" / "corpus"):
        found = sorted(Path(place).glob("dfdc_train_part_*/*.mp4")) if place else []
        if found:
            small = sorted(found, key=lambda path: (path.stat().st_size, path.name))[: max(CLIPS, len(found) // 3)]
            return [small[i * len(small) // CLIPS] for i in range(CLIPS)] if len(small) > CLIPS else small
    pytest.skip("the real corpus is not here: set DFD_CORPUS to a folder of DFDC-shaped parts")


def test_real_faces_are_found_where_facenet_pytorch_finds_them(clips: list[Path], stock_detect: Any, overlaps: Any) -> None:
    detector = FaceDetector("cpu", smallest_face=SMALLEST)
    best: list[float] = []
    landmark_errors: list[float] = []
    for clip in clips:
        frames = [frame.to_rgb() for frame in decode_video(str(clip), FRAMES).frames]
        assert len(frames) == FRAMES
        for frame, found in zip(frames, detector.detect(frames), strict=True):
            boxes, probabilities, landmarks = stock_detect(frame)
            sides = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
            wanted = (probabilities >= PROBABLE) & (sides >= min(frame.shape[:2]) * SMALLEST)
            for box, points in zip(boxes[wanted], landmarks[wanted], strict=True):
                if not len(found.boxes):
                    best.append(0.0)
                    continue
                shared = overlaps(box[None], found.boxes)[0]
                best.append(float(shared.max()))
                if shared.max() >= 0.5:
                    distance = np.linalg.norm(found.landmarks[shared.argmax()] - points, axis=1).mean()
                    landmark_errors.append(float(distance / (box[2] - box[0])))
    assert len(best) >= len(clips)
    assert np.mean(np.array(best) >= 0.5) >= 0.99
    assert np.mean(best) >= 0.90
    assert np.mean(landmark_errors) <= 0.04
