"""The demo corpus: clips in parts with `metadata.json`, laid out as DFDC is, a few of them broken."""

from __future__ import annotations

import json
import shutil
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from dfd_ray.demo.camera import Shot
    from dfd_ray.demo.footage import Image, Person

VERSION = 1
MARKER = ".demo.json"
PARTS = 2
SWAPS = 2
"""FAKE clips of each REAL one with another person's face; as many again are blended with themselves."""
REALS = [
    ("astronaut", 0),
    ("hopper", 0),
    ("driver", 0),
    ("driver", 30),
    ("astronaut", 40),
    ("hopper", 50),
    ("driver", 59),
]
"""Person and first frame of each REAL clip."""
SIZES = [(640, 360), (360, 640), (854, 480), (640, 480), (480, 854), (640, 360), (720, 1280)]
"""Pixels, width and height, of each REAL clip and the FAKE ones made from it."""


@dataclass(frozen=True)
class Clip:
    """One clip to make."""

    name: str
    part: int
    label: str
    real: int
    """Which of `REALS` it shows."""
    method: str
    """"real", "face_swap", "self_blend", or how it is broken: "no_face", "truncated", "empty"."""
    original: str | None = None
    donor: int = 0
    """For a face swap, how many people further round the circle the face is from."""


def make_demo_corpus(root: Path, *, seed: int = 0, progress: Callable[[int, int], None] | None = None) -> Path:
    """Make the corpus in `root`, unless it is there already, and return `root`.

    35 H.264 clips of 2 to 3 s of three people: 7 REAL ones, and from each four FAKE ones, two by face swap and two by
    self-blending; and three broken ones: a clip without a face, one cut off, and an empty file. Takes about a minute on
    two cores and 15 MB. The folder appears only when all is in it. `progress` is called with clips done and clips in all.
    """
    marker = {"version": VERSION, "seed": seed}
    if (root / MARKER).is_file():
        found = json.loads((root / MARKER).read_text())
        if {name: found.get(name) for name in marker} == marker:
            return root
        shutil.rmtree(root)
    from dfd_ray.demo.footage import load_people

    clips = plan_clips(seed)
    partial = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    people = load_people()
    for done, clip in enumerate(clips):
        folder = partial / f"dfdc_train_part_{clip.part}"
        folder.mkdir(parents=True, exist_ok=True)
        make_clip(folder / clip.name, clip, people, seed)
        if progress:
            progress(done + 1, len(clips))
    write_metadata(partial, clips, marker)
    partial.rename(root)
    return root


def plan_clips(seed: int) -> list[Clip]:
    """Return the clips of the corpus, the same for the same seed."""
    random = np.random.default_rng(seed)
    letters = np.array(list(string.ascii_lowercase))
    names = iter(f"{''.join(random.choice(letters, 10))}.mp4" for _ in range(1000))
    clips: list[Clip] = []
    for real in range(len(REALS)):
        part, original = real * PARTS // len(REALS), next(names)
        clips.append(Clip(original, part, "REAL", real, "real"))
        clips += [Clip(next(names), part, "FAKE", real, "face_swap", original, 1 + i) for i in range(SWAPS)]
        clips += [Clip(next(names), part, "FAKE", real, "self_blend", original) for _ in range(SWAPS)]
    clips.append(Clip(next(names), 0, "REAL", 0, "no_face"))
    clips.append(Clip(next(names), 0, "FAKE", 0, "truncated", clips[0].name, 1))
    clips.append(Clip(next(names), 1, "FAKE", len(REALS) - 1, "empty", clips[-5].name))
    return clips


def make_clip(path: Path, clip: Clip, people: list[Person], seed: int) -> None:
    """Make one clip's file."""
    from dfd_ray.demo.camera import write_clip

    if clip.method == "empty":
        path.touch()
        return
    shot = shot_of(clip.real, seed)
    write_clip(path, pictures_of(clip, shot, people, seed), shot)
    if clip.method == "truncated":
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 5])  # its index, at the end of the file, is lost


def shot_of(real: int, seed: int) -> Shot:
    """Return how a REAL clip, and the FAKE ones made from it, are filmed."""
    from dfd_ray.demo.camera import Shot

    random = np.random.default_rng((seed, real))
    width, height = SIZES[real]
    return Shot(
        width=width,
        height=height,
        fps=int(random.choice([24, 25, 30])),
        frames=60,
        face_width=float(min(width, height) * random.uniform(0.26, 0.36)),
        crf=int(random.integers(20, 31)),
        seed=seed * 1000 + real,
    )


def pictures_of(clip: Clip, shot: Shot, people: list[Person], seed: int) -> Iterator[Image]:
    """Yield a clip's frames: the person's, manipulated if FAKE, then filmed exactly as the REAL one is."""
    from dfd_ray.demo.footage import landscape
    from dfd_ray.demo.manipulate import self_blend, swap_face

    name, start = REALS[clip.real]
    place = [person.name for person in people].index(name)
    person, donor = people[place], people[(place + clip.donor) % len(people)]
    scene = landscape(shot.width, shot.height, seed)
    # One way of blending a clip, and a slightly different one every frame: the flicker that gives fakes away.
    manner = int(np.frombuffer(clip.name.encode()[:8], np.uint64)[0])
    backdrop = shot.backdrop(person.moment(start)[0])
    for frame in range(shot.frames):
        if clip.method == "no_face":
            yield shot.film(scene, landmarks_of_nobody(shot), scene, frame)
            continue
        picture, landmarks = person.moment(start + frame)
        if clip.method == "self_blend":
            picture = self_blend(picture, landmarks, np.random.default_rng((manner, frame // 8)))
        elif clip.method in ("face_swap", "truncated"):
            jitter = np.random.default_rng((manner, frame)).normal(0, 0.4, landmarks.shape).astype(np.float32)
            picture = swap_face(picture, landmarks + jitter, *donor.moment(start + frame))
        yield shot.film(picture, landmarks, backdrop, frame)


def landmarks_of_nobody(shot: Shot) -> npt.NDArray[np.float32]:
    """Return landmarks (5, 2) in the middle of a picture, as far apart as makes the camera show it at its own size."""
    cross = np.array([[-1, -1], [1, -1], [0, 0], [-1, 1], [1, 1]], np.float32)
    return np.array([shot.width / 2, shot.height / 2], np.float32) + cross * np.float32(shot.face_width / 5.2)


def write_metadata(root: Path, clips: list[Clip], marker: dict[str, Any]) -> None:
    """Write each part's `metadata.json`, as DFDC has it, and the marker that says what the clips are."""
    for part in range(PARTS):
        facts = {
            clip.name: {"label": clip.label, "split": "train", "original": clip.original} for clip in clips if clip.part == part
        }
        (root / f"dfdc_train_part_{part}" / "metadata.json").write_text(json.dumps(facts, indent=1))
    methods = {f"dfdc_train_part_{clip.part}/{clip.name}": clip.method for clip in clips}
    (root / MARKER).write_text(json.dumps({**marker, "methods": methods}, indent=1))
