"""Making the demo's clips: footage, faked if the clip is FAKE, filmed by a moving camera in changing light, and encoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from dfd_ray.arrays import Float32Array, Float64Array, Image
from dfd_ray.demo.clip_plan import CLOSENESS, CRF, FPS, FRAMES, REALS, SIZES, Clip
from dfd_ray.demo.fakes import self_blend, swap_face
from dfd_ray.demo.footage import Person, draw_landscape

FACE_IN_EYES = 2.0
"""Width of a face of the demo in MTCNN's box, in distances between its eyes; measured, about."""
MARGIN = 0.5
"""Share of a picture's longer side that its surroundings add on each side."""
BLUR = 0.07
"""Standard deviation of the surroundings' blur, as a share of the longer side: enough to erase the mirrored face."""
FADE = 0.1
"""Share of a picture's shorter side over which it fades into its surroundings."""


class Surroundings:
    """What the camera sees beyond a picture's edges: the picture mirrored and blurred, as if out of focus."""

    def __init__(self, picture: Image) -> None:
        height, width = picture.shape[:2]
        self.margin = margin = round(MARGIN * max(height, width))
        """Pixels on each side."""
        canvas = cv2.copyMakeBorder(picture, margin, margin, margin, margin, cv2.BORDER_REFLECT_101)
        # Blurred at an eighth of the size: it looks the same and takes a fraction of the time.
        small = cv2.resize(canvas, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), BLUR * max(height, width) / 8)
        self._canvas = cv2.resize(small, (canvas.shape[1], canvas.shape[0]), interpolation=cv2.INTER_LINEAR)
        across = np.minimum(np.arange(width), np.arange(width)[::-1])
        down = np.minimum(np.arange(height), np.arange(height)[::-1])
        fade = np.minimum(across[None], down[:, None]) / (FADE * min(height, width))
        self._weight = np.clip(fade, 0, 1).astype(np.float32)

    def surround(self, picture: Image) -> Image:
        """Return the picture with its surroundings, `margin` pixels larger on each side."""
        canvas = self._canvas.copy()
        inside = (slice(self.margin, -self.margin), slice(self.margin, -self.margin))
        canvas[inside] = cv2.blendLinear(picture, canvas[inside].copy(), self._weight, 1 - self._weight)
        return np.asarray(canvas, np.uint8)


@dataclass(frozen=True)
class Shot:
    """A way of filming, shared by a REAL clip and the FAKE ones made from it."""

    width: int
    height: int
    """Width and height in pixels."""
    fps: int
    frames: int
    face_width: float
    """Width of the face at zoom 1, in pixels, about."""
    crf: int
    """x264's constant rate factor: 18 is fine, 34 is coarse."""
    seed: int

    def film(self, picture: Image, aim: Float32Array, surroundings: Surroundings, frame: int) -> Image:
        """Return what the camera sees of a picture, (height, width, 3) uint8 RGB.

        It points at landmarks `aim` (5, 2), the same for all frames of a clip, so the person moves within the picture. It
        slowly pans, zooms and rolls, and shakes like a hand.
        """
        random = np.random.default_rng((self.seed, frame))
        phase = np.random.default_rng(self.seed).uniform(0, 2 * np.pi, 6)
        time = frame / self.fps
        zoom = 1 + 0.06 * np.sin(0.9 * time + phase[0])
        scale = float(zoom * self.face_width / (FACE_IN_EYES * np.linalg.norm(aim[1] - aim[0])))
        centre = aim.mean(axis=0) + surroundings.margin
        roll = float(2.5 * np.sin(0.7 * time + phase[1]))
        move = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), roll, scale)
        size = np.array([self.width, self.height])
        drift = 0.06 * size * np.sin([0.8 * time + phase[2], 0.6 * time + phase[3]])
        move[:, 2] += size * [0.5, 0.47] + drift + random.normal(0, 0.4, 2) - centre
        canvas = surroundings.surround(picture)
        seen = cv2.warpAffine(canvas, move, (self.width, self.height), borderMode=cv2.BORDER_REPLICATE)
        return self._change_light(np.asarray(seen, np.uint8), time, phase, frame)

    def _change_light(self, picture: Image, time: float, phase: Float64Array, frame: int) -> Image:
        brightness = 1 + 0.12 * np.sin(1.1 * time + phase[4])
        warmth = 0.05 * np.sin(0.5 * time + phase[5])
        levels = np.arange(256)[:, None] * brightness * np.array([1 + warmth, 1, 1 - warmth])
        lit = cv2.LUT(picture, np.clip(levels, 0, 255).astype(np.uint8)[None])
        # One field of noise for a shot, rolled differently in every frame: new noise each time would take half of all the time.
        grain = np.roll(draw_grain(self.seed, picture.shape), (37 * frame, 61 * frame), axis=(0, 1))
        return np.asarray(cv2.add(lit, grain, dtype=cv2.CV_8U), np.uint8)


@lru_cache(maxsize=1)
def draw_grain(seed: int, shape: tuple[int, ...]) -> npt.NDArray[np.int16]:
    """Draw a sensor's noise in the shape of a picture: int16 levels with a standard deviation of 2."""
    return np.rint(np.random.default_rng(seed).normal(0, 2, shape)).astype(np.int16)


def write_clip(path: Path, pictures: Iterable[Image], shot: Shot) -> None:
    """Encode pictures as H.264 in MP4, with x264's usual B frames.

    One thread, so that the bytes repeat; and no macroblock tree, which reads memory that was never written at some widths.
    """
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=shot.fps)
        stream.width, stream.height, stream.pix_fmt = shot.width, shot.height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"crf": str(shot.crf), "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def make_clip(path: Path, clip: Clip, people: list[Person], seed: int) -> None:
    """Make one clip's file."""
    if clip.method == "empty":
        path.touch()
        return
    shot = choose_shot(clip.real, seed)
    write_clip(path, draw_pictures(clip, shot, people, seed), shot)
    if clip.method == "truncated":
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 5])  # this loses the index at the end of the file


def choose_shot(real: int, seed: int) -> Shot:
    """Return how a REAL clip and the FAKE ones made from it are filmed."""
    face_width = float(min(SIZES[real]) * CLOSENESS[real] * np.random.default_rng((seed, real)).uniform(0.95, 1.05))
    return Shot(*SIZES[real], FPS[real], FRAMES, face_width, CRF[real], seed=seed * 1000 + real)


def draw_pictures(clip: Clip, shot: Shot, people: list[Person], seed: int) -> Iterator[Image]:
    """Yield a clip's frames: the person's, faked if the clip is FAKE, and filmed exactly like the REAL one."""
    if clip.method == "no_face":
        scene = draw_landscape(shot.width, shot.height, seed)
        surroundings, aim = Surroundings(scene), place_landmarks(shot)
        for frame in range(shot.frames):
            yield shot.film(scene, aim, surroundings, frame)
        return
    name, start = REALS[clip.real]
    place = [person.name for person in people].index(name)
    person, donor = people[place], people[(place + clip.donor) % len(people)]
    surroundings = Surroundings(person.take_frame(start)[0])
    aim = np.mean([person.take_landmarks(start + frame) for frame in range(shot.frames)], axis=0, dtype=np.float32)
    for frame in range(shot.frames):
        picture, landmarks = person.take_frame(start + frame)
        picture = fake_face(clip, picture, landmarks, donor.take_frame(start + frame), frame)
        yield shot.film(picture, aim, surroundings, frame)


def fake_face(clip: Clip, picture: Image, landmarks: Float32Array, donor: tuple[Image, Float32Array], frame: int) -> Image:
    """Return a frame's picture (h, w, 3) with the face at the landmarks (5, 2) faked as the clip says, or untouched."""
    # The blend is the same throughout a clip. The landmarks jitter from frame to frame: fakes flicker.
    manner = list(clip.name.encode())
    apart = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    jitter = np.random.default_rng([*manner, frame]).normal(0, 0.008 * apart, landmarks.shape).astype(np.float32)
    if clip.method == "self_blend":
        return self_blend(picture, landmarks + jitter, np.random.default_rng(manner))
    if clip.method in ("face_swap", "truncated"):
        return swap_face(picture, landmarks + jitter, *donor)
    return picture


def place_landmarks(shot: Shot) -> Float32Array:
    """Return landmarks (5, 2) in the middle of a picture without a face, at which the camera shows it at its own size."""
    cross = np.array([[-1, -1], [1, -1], [0, 0], [-1, 1], [1, 1]], np.float32)
    half_apart = np.float32(shot.face_width / FACE_IN_EYES / 2)
    return np.array([shot.width / 2, shot.height / 2], np.float32) + cross * half_apart
