"""Where the probabilities are good and where not, and what the files alone give away."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from dfd_ray.faces.tone import TONES
from dfd_ray.report.scores import MEANINGS, Score

KINDS = {
    "part": ("Part of the corpus", ""),
    "method": ("Method", "All REAL videos, and the FAKE ones that were made by this method."),
    "resolution": ("Resolution", "The frame's shorter side, in pixels."),
    "face_size": ("Size of the face", "The median width of a video's faces, in pixels."),
    "skin_tone": ("Skin tone", "Measured by the angle of the cheeks' colour (ITA). The light of the scene changes it, so it is not the person's own tone."),
}
"""What parts the videos: title, and how it is measured."""
ROWS_AT_MOST = 60
"""Rows of a kind; DFDC has 50 parts."""


@dataclass(frozen=True)
class Subgroup:
    """Some of the videos, and how well they are told apart."""

    name: str
    real: int
    fake: int
    log_loss: Score | None
    roc_auc: Score | None
    """None where one class only is there."""


def list_subgroups(metrics: dict[str, Any]) -> list[tuple[str, str, list[Subgroup]]]:
    """Return title, meaning and rows of each way to part the videos that `evaluation/metrics.json` has."""
    stored = metrics.get("subgroups") or {}
    found = []
    for kind in [*KINDS, *(kind for kind in stored if kind not in KINDS)]:
        rows = [read_subgroup(name, stored[kind][name]) for name in sorted(stored.get(kind) or {}, key=order_naturally)]
        if rows:
            title, meaning = KINDS.get(kind, (kind.replace("_", " "), ""))
            found.append((title, meaning, rows[:ROWS_AT_MOST]))
    return found


def read_subgroup(name: str, stored: dict[str, Any]) -> Subgroup:
    """Return a subgroup as it is stored."""
    scores, by_class = stored.get("scores") or {}, stored.get("by_class") or {}
    losses, areas = scores.get("log_loss") or {}, scores.get("roc_auc") or {}
    constant = (stored.get("constants") or {}).get("natural")
    top = 1.15 * max(value for value in (losses.get("value"), losses.get("high"), 1.0) if value is not None)
    return Subgroup(
        name=name,
        real=by_class.get("REAL", 0),
        fake=by_class.get("FAKE", 0),
        log_loss=read_score("log_loss", losses, constant, top),
        roc_auc=read_score("roc_auc", areas, 0.5, 1.0),
    )


def read_score(name: str, stored: dict[str, Any], baseline: float | None, top: float) -> Score | None:
    """Return a score with its interval, or None if it has no value."""
    if stored.get("value") is None:
        return None
    title, meaning = MEANINGS[name]
    return Score(name, title, meaning, stored["value"], stored.get("low"), stored.get("high"), baseline, top)


def read_metadata_probe(metrics: dict[str, Any]) -> Score | None:
    """Return the AUC of what sees the files' facts only, or None where it was not measured."""
    probe = metrics.get("metadata_probe") or {}
    return read_score("roc_auc", probe.get("roc_auc") or {}, 0.5, 1.0)


def order_naturally(name: str) -> tuple[Any, ...]:
    """Return a key that puts small before large, light before dark, numbered names by their numbers and the unknown last."""
    if name == "unknown":
        return (2, 0, [])
    if name in TONES:
        return (0, TONES.index(name), [])
    parts = [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,18})", name) if part]
    return (1, -1 if name.startswith("under ") else 0, parts)
