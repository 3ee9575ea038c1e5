"""The demo corpus's folder: clips in parts with `metadata.json`, laid out as DFDC is, a few of them broken."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from dfd_ray.demo.clip_plan import BROKEN, PARTS, Clip, plan_clips

VERSION = 4
"""Raised whenever the clips or their metadata change: a corpus of an older version is replaced."""
MARKER = ".demo.json"
"""File that marks a whole demo corpus, written last."""


def make_demo_corpus(root: Path, *, seed: int = 0, progress: Callable[[int, int], None] | None = None) -> Path:
    """Make the corpus in `root`, unless it is there already, and return `root`.

    It has 35 H.264 clips of 2 to 2.5 s of three people: 7 REAL ones, and from each four FAKE ones, two by face swap and two
    by self-blending. Three more are broken: a clip without a face, a clip cut off, and an empty file. It takes about a minute
    and 5 MB. The folder appears only when everything is in it. A demo corpus of another version or seed is replaced; any
    other folder is left alone, and FileExistsError raised. `progress` is called with the clips done and the clips in all.
    """
    if is_finished(root, seed):
        return root
    if root.exists() and not (root / MARKER).is_file() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root} exists and is no demo corpus; it was left as it is")
    partial = root.with_name(f".{root.name}.{os.getpid()}.partial")
    try:
        write_corpus(partial, seed, progress)
        if is_finished(root, seed):  # another process has made it in the meantime
            return root
        if root.exists():
            shutil.rmtree(root)
        partial.rename(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root


def is_finished(root: Path, seed: int) -> bool:
    """Return whether a folder holds the whole demo corpus of this version and a seed."""
    try:
        found = json.loads((root / MARKER).read_text())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and (found.get("version"), found.get("seed")) == (VERSION, seed)


def write_corpus(root: Path, seed: int, progress: Callable[[int, int], None] | None) -> None:
    """Write the clips, then their metadata."""
    from dfd_ray.demo.clips import make_clip  # here, because it loads torch, OpenCV and PyAV
    from dfd_ray.demo.footage import load_people

    people, clips = load_people(), plan_clips(seed)
    for done, clip in enumerate(clips, start=1):
        path = root / clip.path
        path.parent.mkdir(parents=True, exist_ok=True)
        make_clip(path, clip, people, seed)
        if progress:
            progress(done, len(clips))
    write_metadata(root, clips, seed)


def write_metadata(root: Path, clips: list[Clip], seed: int) -> None:
    """Write each part's `metadata.json`, with DFDC's fields and the method of an unbroken FAKE clip, and the marker."""
    for part in range(PARTS):
        facts = {}
        for clip in (clip for clip in clips if clip.part == part):
            method = clip.method if clip.method in ("face_swap", "self_blend") else None
            facts[clip.name] = {"label": clip.label, "split": "train", "original": clip.original, "method": method}
        (root / f"dfdc_train_part_{part}" / "metadata.json").write_text(json.dumps(facts, indent=1))
    broken = {clip.method: clip.path for clip in clips if clip.method in BROKEN}
    marker = {"version": VERSION, "seed": seed, **broken, "methods": {clip.path: clip.method for clip in clips}}
    (root / MARKER).write_text(json.dumps(marker, indent=1))
