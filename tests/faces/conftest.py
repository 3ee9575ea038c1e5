from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from facenet_pytorch import MTCNN

Found = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]


@pytest.fixture(scope="session")
def stock_detect() -> Callable[[npt.NDArray[np.uint8]], Found]:
    """Return facenet-pytorch's own detector: from a frame to boxes, probabilities and landmarks, the most probable first."""
    detector = MTCNN(keep_all=True, device="cpu")
    known: dict[tuple[tuple[int, ...], bytes], Found] = {}

    def detect(frame: npt.NDArray[np.uint8]) -> Found:
        key = frame.shape, hashlib.sha256(frame.tobytes()).digest()
        if key not in known:
            known[key] = detect_anew(frame)
        return known[key]

    def detect_anew(frame: npt.NDArray[np.uint8]) -> Found:
        with torch.inference_mode():
            boxes, probabilities, landmarks = detector.detect(frame, landmarks=True)
        if boxes is None:
            return np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2))
        order = np.argsort(-probabilities.astype(float), kind="stable")
        return boxes[order].astype(float), probabilities[order].astype(float), landmarks[order].astype(float)

    return detect


@pytest.fixture(scope="session")
def overlaps() -> Callable[[npt.NDArray[np.floating], npt.NDArray[np.floating]], npt.NDArray[np.float64]]:
    """Return a function from n and m boxes to their (n, m) intersections over unions."""

    def compare(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        start = np.maximum(one[:, None, :2], other[None, :, :2])
        end = np.minimum(one[:, None, 2:], other[None, :, 2:])
        shared = (end - start).clip(0).prod(axis=2)
        areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, other)]
        return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared), np.float64)

    return compare
