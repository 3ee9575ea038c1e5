"""How the demo's clips are filmed: a moving camera, changing light, noise, and H.264."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from dfd_ray.demo.footage import Image, Points


@dataclass(frozen=True)
class Shot:
    """One way of filming, shared by a REAL clip and the FAKE ones made from it."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    fps: int
    frames: int
    face_width: float
    """Pixels that the face measures, about, at zoom 1."""
    crf: int
    """x264's constant rate factor: 18 is fine, 34 is coarse."""
    seed: int

    def backdrop(self, picture: Image) -> Image:
        """Return what stands behind a picture that is smaller than the view: itself, blurred until no face is left."""
        filled = cv2.resize(picture, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(filled, (0, 0), 0.06 * max(self.width, self.height)), np.uint8)

    def film(self, picture: Image, landmarks: Points, backdrop: Image, frame: int) -> Image:
        """Return what the camera sees of a picture whose face has the landmarks (5, 2): (height, width, 3) uint8 RGB."""
        random = np.random.default_rng((self.seed, frame))
        phase = np.random.default_rng(self.seed).uniform(0, 2 * np.pi, 6)
        time = frame / self.fps
        zoom = 1 + 0.08 * np.sin(0.9 * time + phase[0])
        # MTCNN's box is about 2.6 times as wide as the eyes are apart.
        scale = float(zoom * self.face_width / (2.6 * np.linalg.norm(landmarks[1] - landmarks[0])))
        centre = landmarks.mean(axis=0)
        move = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), 2.5 * np.sin(0.7 * time + phase[1]), scale)
        aim = np.array([self.width / 2, self.height * 0.45])
        drift = 0.08 * np.array([self.width, self.height]) * np.sin([0.8 * time + phase[2], 0.6 * time + phase[3]])
        move[:, 2] += aim + drift + random.normal(0, 0.4, 2) - centre
        size = (self.width, self.height)
        seen = cv2.warpAffine(
            picture, move, size, dst=backdrop.copy(), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT
        )
        return self._light(np.asarray(seen, np.uint8), time, phase, frame)

    def _light(self, picture: Image, time: float, phase: npt.NDArray[np.float64], frame: int) -> Image:
        brightness = 1 + 0.12 * np.sin(1.1 * time + phase[4])
        warmth = 0.05 * np.sin(0.5 * time + phase[5])
        levels = np.arange(256)[:, None] * brightness * np.array([1 + warmth, 1, 1 - warmth])
        lit = cv2.LUT(picture, np.clip(levels, 0, 255).astype(np.uint8)[None])
        # One field of noise a shot, rolled differently every frame: new noise for every pixel would take half the time.
        grain = np.roll(grain_of(self.seed, picture.shape), (37 * frame, 61 * frame), axis=(0, 1))
        return np.asarray(cv2.add(lit, grain, dtype=cv2.CV_8U), np.uint8)


@lru_cache(maxsize=1)
def grain_of(seed: int, shape: tuple[int, ...]) -> npt.NDArray[np.int16]:
    """Return a sensor's noise, of the shape of a picture, int16 levels with a standard deviation of 2."""
    return np.rint(np.random.default_rng(seed).normal(0, 2, shape)).astype(np.int16)


def write_clip(path: Path, pictures: Iterable[Image], shot: Shot) -> None:
    """Encode pictures as H.264 in MP4, with x264's usual B frames; one thread, so that the bytes repeat."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=shot.fps)
        stream.width, stream.height, stream.pix_fmt = shot.width, shot.height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": str(shot.crf), "preset": "veryfast", "threads": "1"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
