"""Which clips the demo corpus has: of whom, of what size, and how each is faked or broken."""

from __future__ import annotations

import string
from dataclasses import dataclass

import numpy as np

PARTS = 2
"""Folders of the corpus."""
SWAPS = 2
"""FAKE clips of each REAL one with another person's face; as many again are self-blended."""
BROKEN = ("no_face", "truncated", "empty")
"""How clips are broken: one clip each."""
REALS = [("astronaut", 0), ("hopper", 0), ("driver", 0), ("driver", 30), ("astronaut", 40), ("hopper", 50), ("driver", 59)]
"""Person and first frame of each REAL clip."""
SIZES = [(640, 360), (360, 640), (854, 480), (640, 480), (480, 854), (540, 960), (640, 360)]
"""Pixels, width and height, of each REAL clip and the FAKE ones made from it."""
CLOSENESS = [0.37, 0.55, 0.44, 0.37, 0.34, 0.52, 0.46]
"""Width of the face in each REAL clip, as a share of the shorter side: large enough that the footage fills the picture."""
FPS = [30, 25, 24, 30, 25, 24, 30]
"""Frames a second of each REAL clip."""
CRF = [23, 28, 18, 26, 34, 21, 31]
"""x264's constant rate factor of each REAL clip: from hardly compressed to coarse."""
FRAMES = 60
"""Frames of every clip: 2 to 2.5 s."""


@dataclass(frozen=True)
class Clip:
    """One clip to make."""

    name: str
    part: int
    label: str
    real: int
    """Index in `REALS` of what it shows."""
    method: str
    """"real", "face_swap", "self_blend", or how it is broken: "no_face", "truncated", "empty"."""
    original: str | None = None
    donor: int = 0
    """For a face swap, how many places further in the circle of people the face comes from."""

    @property
    def path(self) -> str:
        """The clip's path in the corpus."""
        return f"dfdc_train_part_{self.part}/{self.name}"


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
