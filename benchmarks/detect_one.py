"""Run one face detector on frames, in the Python that has it. `benchmarks.detectors` calls this file by its path.

    python benchmarks/detect_one.py DETECTOR FRAMES.npy SECONDS

Prints JSON: the number of `frames` done, the `seconds` they took, and the `boxes` of each frame as x0, y0, x1, y1 and
probability (1 if the detector gives none). One frame is searched before the clock starts, so imports and what is compiled at
first use are not timed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

BATCH = 15
"""Frames at once for detectors that take several. The report's 60 of 1080 x 1920 do not fit into 24 GiB."""

Boxes = list[list[float]]
Detect = Callable[[Any], list[Boxes]]
"""Takes frames (n, h, w, 3) uint8 RGB; returns the boxes of each."""


def load_dfd_ray() -> Detect:
    """Return our cascade: facenet-pytorch's weights, with the smallest face that `preprocess` looks for."""
    from dfd_ray.faces.detector import FaceDetector

    detector = FaceDetector()
    return lambda frames: [
        np.column_stack([faces.boxes, faces.probabilities]).tolist() for faces in detector.detect(list(frames))
    ]


def load_facenet_pytorch(batched: bool) -> Detect:
    """Return facenet-pytorch's MTCNN as it comes, with a batch of frames or one after the other."""
    from facenet_pytorch import MTCNN

    stock = MTCNN(keep_all=True)

    def join(boxes: Any, probabilities: Any) -> Boxes:
        return [] if boxes is None else np.column_stack([boxes, probabilities]).astype(float).tolist()

    def detect(frames: Any) -> list[Boxes]:
        if batched:
            return [join(*found) for found in zip(*stock.detect(list(frames)), strict=True)]
        return [join(*stock.detect(frame)) for frame in frames]

    return detect


def load_dlib_hog() -> Detect:
    """Return dlib's detector on histograms of gradients, without enlarging."""
    import dlib

    detector = dlib.get_frontal_face_detector()
    return lambda frames: [[corners(box) for box in detector(frame, 0)] for frame in frames]


def load_dlib_cnn() -> Detect:
    """Return dlib's convolutional detector, without enlarging."""
    import dlib
    import face_recognition_models

    detector = dlib.cnn_face_detection_model_v1(face_recognition_models.cnn_face_detector_model_location())
    return lambda frames: [[corners(found.rect) for found in detector(frame, 0)] for frame in frames]


def corners(box: Any) -> list[float]:
    """Return a rectangle of dlib's as numbers."""
    return [box.left(), box.top(), box.right(), box.bottom(), 1.0]


def load_mtcnn() -> Detect:
    """Return the package `mtcnn`, as it comes."""
    from mtcnn import MTCNN

    detector = MTCNN()

    def box(found: Any) -> list[float]:
        x, y, width, height = found["box"]
        return [float(x), float(y), float(x + width), float(y + height), float(found["confidence"])]

    return lambda frames: [[box(found) for found in detector.detect_faces(frame)] for frame in frames]


def load_opencv_haar() -> Detect:
    """Return OpenCV's cascade on Haar features, with OpenCV's own defaults."""
    import cv2

    opencv: Any = cv2  # version 5, which our own environment has, lacks the classifier
    cascade = opencv.CascadeClassifier(opencv.data.haarcascades + "haarcascade_frontalface_default.xml")

    def detect(frame: Any) -> Boxes:
        found = cascade.detectMultiScale(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
        return [[float(x), float(y), float(x + width), float(y + height), 1.0] for x, y, width, height in found]

    return lambda frames: [detect(frame) for frame in frames]


DETECTORS: dict[str, Callable[[], Detect]] = {
    "dfd_ray": load_dfd_ray,
    "facenet-pytorch, batched": lambda: load_facenet_pytorch(True),
    "facenet-pytorch": lambda: load_facenet_pytorch(False),
    "dlib, HOG": load_dlib_hog,
    "dlib, CNN": load_dlib_cnn,
    "mtcnn on TensorFlow": load_mtcnn,
    "OpenCV, Haar": load_opencv_haar,
}
ONE_AT_A_TIME = set(DETECTORS) - {"dfd_ray", "facenet-pytorch, batched"}


def main(name: str, path: str, limit: float) -> None:
    """Search as many frames as the seconds allow, and print the result."""
    frames = np.load(path, mmap_mode="r")
    detect = DETECTORS[name]()
    count = 1 if name in ONE_AT_A_TIME else BATCH
    detect(np.array(frames[:1]))
    boxes: list[Boxes] = []
    seconds = 0.0
    while len(boxes) < len(frames) and seconds < limit:
        some = np.array(frames[len(boxes) : len(boxes) + count])
        started = time.perf_counter()
        boxes += detect(some)
        seconds += time.perf_counter() - started
    print(json.dumps({"frames": len(boxes), "seconds": seconds, "boxes": boxes}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
