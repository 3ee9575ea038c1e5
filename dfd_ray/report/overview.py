"""Rows about the run: its jobs and their time, settings, outcomes, and the quality of the map."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.config import Config
from dfd_ray.errors import reason_of
from dfd_ray.report.data import RunData

BROKEN_ROWS = 200
QUALITIES = {
    "trustworthiness": "Are neighbours on the map also neighbours among the embeddings? 1 means all of them.",
    "neighbour_preservation": "The share of a face's 15 nearest neighbours that the map keeps near. 1 means all.",
}
"""Measures of a map. With `_pca` after its name, a measure is that of the first components alone."""
CLUSTER_QUALITIES = {
    "silhouette": "How far apart the clusters are, from -1 to 1. Near 0 they touch.",
    "stability": "Are the same clusters found in 80 % of the faces? 1 means the same ones, 0 no more alike than by chance.",
    "purity_video": "The share of clustered faces that are of their cluster's commonest video.",
    "purity_group": "The same for groups of linked videos, which are people and scenes.",
    "purity_label": "The same for REAL and FAKE. At the share of the commoner label, clusters say nothing about fakes.",
}


@dataclass(frozen=True)
class Job:
    """A row of the table of jobs."""

    name: str
    rows: int | None
    ok: int | None
    no_face: int
    errors: dict[str, int]
    seconds: float | None
    rate: float | None
    notes: list[str]


@dataclass(frozen=True)
class Quality:
    """A measure of the map or of the clusters."""

    title: str
    meaning: str
    tsne: float | None
    pca: float | None


def list_jobs(data: RunData) -> list[Job]:
    """Return the jobs that ran, in their order."""
    return [read_job(name, summary) for name, summary in data.summaries.items()]


def read_job(name: str, summary: dict[str, Any]) -> Job:
    """Return a job from its summary, whatever keys it has."""
    return Job(
        name=name,
        rows=summary.get("rows"),
        ok=summary.get("ok"),
        no_face=summary.get("no_face") or 0,
        errors=dict(summary.get("errors") or {}),
        seconds=summary.get("seconds"),
        rate=summary.get("rows_per_second"),
        notes=[str(note) for note in summary.get("notes") or []],
    )


def list_changed_settings(config: Config) -> list[tuple[str, str, str]]:
    """Return name, value and default of the settings that differ from the default, without locations and resources."""
    default, own = flatten(Config()), flatten(config)
    skipped = ("corpus", "run", "resources.")
    return [
        (name, show_value(value), show_value(default.get(name)))
        for name, value in own.items()
        if value != default.get(name) and not name.startswith(skipped)
    ]


def flatten(config: Config) -> dict[str, object]:
    """Return every setting as `section.field`."""
    flat: dict[str, object] = {}
    for section, values in config.model_dump(mode="json").items():
        flat |= (
            {f"{section}.{name}": value for name, value in values.items()} if isinstance(values, dict) else {section: values}
        )
    return flat


def show_value(value: object) -> str:
    """Return a setting's value as text."""
    return "null" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def count_statuses(data: RunData) -> dict[str, int]:
    """Return the number of videos by outcome: ok, no_face, `error: reason`, and not processed yet."""
    if data.outcomes is None:
        return {}
    names = (
        f"error: {reason_of(error or 'unknown')}" if status == "error" else status
        for status, error in zip(
            data.outcomes.column("status").to_pylist(), data.outcomes.column("error").to_pylist(), strict=True
        )
    )
    counts = dict(Counter(names).most_common())
    missing = len(data.manifest) - len(data.outcomes) if data.manifest is not None else 0
    return counts | ({"not processed yet": missing} if missing > 0 else {})


def list_broken_videos(data: RunData) -> pa.Table | None:
    """Return the videos that gave no face, those with an error first, or None if all gave one."""
    if data.outcomes is None:
        return None
    failed = data.outcomes.filter(pc.not_equal(data.outcomes.column("status"), "ok"))
    return failed.sort_by([("status", "ascending"), ("error", "ascending")]) if len(failed) else None


def list_map_qualities(quality: dict[str, float | None]) -> list[Quality]:
    """Return the measures of the two maps."""
    return [
        Quality(name.replace("_", " ").capitalize(), meaning, quality.get(name), quality.get(f"{name}_pca"))
        for name, meaning in QUALITIES.items()
        if name in quality
    ]


def list_cluster_qualities(quality: dict[str, float | None]) -> list[Quality]:
    """Return the measures of the clusters."""
    return [
        Quality(name.replace("_", " ").capitalize(), meaning, quality[name], None)
        for name, meaning in CLUSTER_QUALITIES.items()
        if name in quality
    ]
