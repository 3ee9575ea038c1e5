"""The scores of subgroups of videos, and what the files alone give away."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dfd_ray.faces.tone import TONES
from dfd_ray.report.data import Metrics
from dfd_ray.report.scores import MEANINGS, Score
from dfd_ray.verdict.metrics import IntervalScore, SubgroupScores, are_few

KINDS = {
    "part": ("Part of the corpus", ""),
    "method": ("Method", "All REAL videos, and the FAKE ones that were made by this method."),
    "resolution": ("Resolution", "The frame's shorter side, in pixels."),
    "face_size": ("Size of the face", "The median width of a video's faces, in pixels."),
    "skin_tone": (
        "Skin tone",
        "By the angle of the cheeks' colour (ITA). Light changes it, so it is not the person's own tone.",
    ),
}
"""How videos are split: the title, and how it is measured."""
ROWS_AT_MOST = 60
"""Most rows of a kind. DFDC has 50 parts."""


@dataclass(frozen=True)
class Subgroup:
    """Some of the videos, and their scores."""

    name: str
    real: int
    fake: int
    log_loss: Score | None
    roc_auc: Score | None
    """None if there is only one class."""
    rough: bool
    """Whether a class is in fewer than FEW_GROUPS groups, so that the intervals are rough."""


def list_subgroups(metrics: Metrics) -> list[tuple[str, str, list[Subgroup]]]:
    """Return title, meaning and rows of each split of the videos in `evaluation/metrics.json`."""
    stored = metrics.get("subgroups") or {}
    found = []
    for kind in [*KINDS, *(kind for kind in stored if kind not in KINDS)]:
        rows = [read_subgroup(name, stored[kind][name]) for name in sorted(stored.get(kind) or {}, key=order_naturally)]
        if rows:
            title, meaning = KINDS.get(kind, (kind.replace("_", " "), ""))
            found.append((title, meaning, rows[:ROWS_AT_MOST]))
    return found


def read_subgroup(name: str, stored: SubgroupScores) -> Subgroup:
    """Return a subgroup as it is stored."""
    scores, by_class = stored.get("scores") or {}, stored.get("by_class") or {}
    losses = scores.get("log_loss")
    constant = (stored.get("constants") or {}).get("natural")
    bounds = (losses.get("value"), losses.get("high")) if losses else ()
    top = 1.15 * max(value for value in (*bounds, 1.0) if value is not None)
    return Subgroup(
        name=name,
        real=by_class.get("REAL", 0),
        fake=by_class.get("FAKE", 0),
        log_loss=read_score("log_loss", losses, constant, top, stored.get("versus_constant")),
        roc_auc=read_score("roc_auc", scores.get("roc_auc"), 0.5, 1.0),
        rough=are_few(stored.get("groups_by_class") or {}),
    )


def read_score(
    name: str, stored: IntervalScore | None, baseline: float | None, top: float, difference: IntervalScore | None = None
) -> Score | None:
    """Return a score with its interval, or None if it has no value."""
    if not stored or (value := stored.get("value")) is None:
        return None
    title, meaning = MEANINGS[name]
    return Score(name, title, meaning, value, stored.get("low"), stored.get("high"), baseline, top, difference)


def read_metadata_probe(metrics: Metrics) -> Score | None:
    """Return the AUC of the model that sees only the files' facts, or None if it was not measured.

    Its `difference` is the network's AUC minus this one.
    """
    probe = metrics.get("metadata_probe") or {}
    return read_score("roc_auc", probe.get("roc_auc"), 0.5, 1.0, metrics.get("beyond_probe"))


def read_geometry_probe(metrics: Metrics) -> Score | None:
    """Return the AUC of the model that sees only the faces' geometry and encoding, or None if it was not measured."""
    probe = metrics.get("geometry_probe") or {}
    return read_score("roc_auc", probe.get("roc_auc"), 0.5, 1.0)


def order_naturally(name: str) -> tuple[int, int, list[tuple[int, str]]]:
    """Return a sort key: small before large, light before dark, numbered names by number, unknown last."""
    if name == "unknown":
        return (2, 0, [])
    if name in TONES:
        return (0, TONES.index(name), [])
    parts = [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,18})", name) if part]
    return (1, -1 if name.startswith("under ") else 0, parts)
