"""Making the demo's clips: a person's footage, faked if the clip is FAKE, filmed, and encoded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dfd_ray.arrays import Float32Array, Image
from dfd_ray.demo.camera import FACE_IN_EYES, Shot, Surroundings, write_clip
from dfd_ray.demo.clip_plan import CLOSENESS, CRF, FPS, FRAMES, REALS, SIZES, Clip
from dfd_ray.demo.fakes import self_blend, swap_face
from dfd_ray.demo.footage import Person, draw_landscape


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
    random = np.random.default_rng((seed, real))
    width, height = SIZES[real]
    return Shot(
        width=width,
        height=height,
        fps=FPS[real],
        frames=FRAMES,
        face_width=float(min(width, height) * CLOSENESS[real] * random.uniform(0.95, 1.05)),
        crf=CRF[real],
        seed=seed * 1000 + real,
    )


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
