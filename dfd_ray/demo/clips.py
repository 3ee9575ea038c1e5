"""The demo corpus: clips in parts with `metadata.json`, laid out as DFDC is, a few of them broken."""

from __future__ import annotations

import json
import os
import shutil
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dfd_ray.arrays import Float32Array, Image
    from dfd_ray.demo.camera import Shot
    from dfd_ray.demo.footage import Person

VERSION = 3
"""Raised whenever the clips or their metadata change: a corpus of an older version is made anew."""
MARKER = ".demo.json"
PARTS = 2
SWAPS = 2
"""FAKE clips of each REAL one with another person's face; as many again are blended with themselves."""
BROKEN = ("no_face", "truncated", "empty")
"""The ways in which clips are broken, one each."""
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
SIZES = [(640, 360), (360, 640), (854, 480), (640, 480), (480, 854), (540, 960), (640, 360)]
"""Pixels, width and height, of each REAL clip and the FAKE ones made from it."""
CLOSENESS = [0.37, 0.55, 0.44, 0.37, 0.34, 0.52, 0.46]
"""Width of the face in each REAL clip, as a share of the shorter side: so close that little but the footage is seen."""
FPS = [30, 25, 24, 30, 25, 24, 30]
"""Frames a second of each REAL clip."""
CRF = [23, 28, 18, 26, 34, 21, 31]
"""x264's constant rate factor of each REAL clip: from hardly compressed to coarse."""
FRAMES = 60
"""Of every clip: 2 to 2.5 s."""


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

    @property
    def path(self) -> str:
        """Where it is in the corpus."""
        return f"dfdc_train_part_{self.part}/{self.name}"


def make_demo_corpus(root: Path, *, seed: int = 0, progress: Callable[[int, int], None] | None = None) -> Path:
    """Make the corpus in `root`, unless it is there already, and return `root`.

    35 H.264 clips of 2 to 2.5 s of three people: 7 REAL ones, and from each four FAKE ones, two by face swap and two
    by self-blending; and three broken ones: a clip without a face, one cut off, and an empty file. Takes about a minute
    and 5 MB. The folder appears only when all is in it; a demo corpus of another version or seed is replaced, anything
    else in its place is not touched (FileExistsError). `progress` is called with clips done and clips in all.
    """
    if is_finished(root, seed):
        return root
    if root.exists() and not (root / MARKER).is_file() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root} is there already, and is no demo corpus: it is left as it is")
    partial = root.with_name(f".{root.name}.{os.getpid()}.partial")
    try:
        write_corpus(partial, seed, progress)
        if is_finished(root, seed):  # another process has made it meanwhile
            return root
        if root.exists():
            shutil.rmtree(root)
        partial.rename(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root


def is_finished(root: Path, seed: int) -> bool:
    """Return whether a folder holds this version's demo corpus of a seed, complete."""
    try:
        found = json.loads((root / MARKER).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and (found.get("version"), found.get("seed")) == (VERSION, seed)


def write_corpus(root: Path, seed: int, progress: Callable[[int, int], None] | None) -> None:
    """Write the clips, then what says what they are."""
    from dfd_ray.demo.footage import load_people

    people, clips = load_people(), plan_clips(seed)
    for done, clip in enumerate(clips, start=1):
        path = root / clip.path
        path.parent.mkdir(parents=True, exist_ok=True)
        make_clip(path, clip, people, seed)
        if progress:
            progress(done, len(clips))
    write_metadata(root, clips, seed)


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
    originals = [clip.name for clip in clips if clip.method == "real"]
    clips.append(Clip(next(names), 0, "REAL", 0, "no_face"))
    clips.append(Clip(next(names), 0, "FAKE", 0, "truncated", originals[0], 1))
    clips.append(Clip(next(names), PARTS - 1, "FAKE", len(REALS) - 1, "empty", originals[-1]))
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
        fps=FPS[real],
        frames=FRAMES,
        face_width=float(min(width, height) * CLOSENESS[real] * random.uniform(0.95, 1.05)),
        crf=CRF[real],
        seed=seed * 1000 + real,
    )


def pictures_of(clip: Clip, shot: Shot, people: list[Person], seed: int) -> Iterator[Image]:
    """Yield a clip's frames: the person's, manipulated if FAKE, then filmed exactly as the REAL one is."""
    from dfd_ray.demo.camera import Surroundings
    from dfd_ray.demo.footage import landscape

    if clip.method == "no_face":
        scene = landscape(shot.width, shot.height, seed)
        surroundings, aim = Surroundings(scene), landmarks_of_nobody(shot)
        for frame in range(shot.frames):
            yield shot.film(scene, aim, surroundings, frame)
        return
    name, start = REALS[clip.real]
    place = [person.name for person in people].index(name)
    person, donor = people[place], people[(place + clip.donor) % len(people)]
    surroundings = Surroundings(person.moment(start)[0])
    aim = np.mean([person.landmarks_at(start + frame) for frame in range(shot.frames)], axis=0, dtype=np.float32)
    for frame in range(shot.frames):
        picture, landmarks = person.moment(start + frame)
        picture = manipulate(clip, picture, landmarks, donor.moment(start + frame), frame)
        yield shot.film(picture, aim, surroundings, frame)


def manipulate(clip: Clip, picture: Image, landmarks: Float32Array, donor: tuple[Image, Float32Array], frame: int) -> Image:
    """Return a frame's picture (h, w, 3) with the face at the landmarks (5, 2) faked as the clip says, if it does."""
    from dfd_ray.demo.manipulate import self_blend, swap_face

    # A clip is blended in one manner; the landmarks jitter from frame to frame: the flicker that gives fakes away.
    manner = list(clip.name.encode())
    apart = float(np.linalg.norm(landmarks[1] - landmarks[0]))
    jitter = np.random.default_rng([*manner, frame]).normal(0, 0.008 * apart, landmarks.shape).astype(np.float32)
    if clip.method == "self_blend":
        return self_blend(picture, landmarks + jitter, np.random.default_rng(manner))
    if clip.method in ("face_swap", "truncated"):
        return swap_face(picture, landmarks + jitter, *donor)
    return picture


def landmarks_of_nobody(shot: Shot) -> Float32Array:
    """Return landmarks (5, 2) in the middle of a picture, as far apart as makes the camera show it at its own size."""
    from dfd_ray.demo.camera import FACE_IN_EYES

    cross = np.array([[-1, -1], [1, -1], [0, 0], [-1, 1], [1, 1]], np.float32)
    half_apart = np.float32(shot.face_width / FACE_IN_EYES / 2)
    return np.array([shot.width / 2, shot.height / 2], np.float32) + cross * half_apart


def facts_of(clip: Clip) -> dict[str, str | None]:
    """Return what `metadata.json` says of a clip: as in DFDC, and how a FAKE one was made, unless it is broken."""
    method = clip.method if clip.method in ("face_swap", "self_blend") else None
    return {"label": clip.label, "split": "train", "original": clip.original, "method": method}


def write_metadata(root: Path, clips: list[Clip], seed: int) -> None:
    """Write each part's `metadata.json`, and the marker that says how each clip, also a REAL or a broken one, was made."""
    for part in range(PARTS):
        here = [clip for clip in clips if clip.part == part]
        facts = {clip.name: facts_of(clip) for clip in here}
        (root / f"dfdc_train_part_{part}" / "metadata.json").write_text(json.dumps(facts, indent=1))
    broken = {clip.method: clip.path for clip in clips if clip.method in BROKEN}
    marker = {"version": VERSION, "seed": seed, **broken, "methods": {clip.path: clip.method for clip in clips}}
    (root / MARKER).write_text(json.dumps(marker, indent=1))
