"""The counts that a job prints at its end and keeps with the run."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import wraps
from typing import Any, ParamSpec

import pyarrow as pa

from dfd_ray.errors import Status, reason_of
from dfd_ray.store.storage import join, write_json

P = ParamSpec("P")

NOTHING_DONE = "already complete; nothing done"
"""The note of a job that found its table complete."""

ITEMS = 3
"""Things of a list that the printed summary shows."""


@dataclass(slots=True)
class Summary:
    """The counts of a job; printed last, and kept as `<run>/summaries/<job>.json`."""

    job: str
    table: str
    """Where the result is."""
    rows: int = 0
    there_before: int = 0
    """Rows that an earlier start of the job had made."""
    ok: int = 0
    no_face: int = 0
    in_training: int = 0
    """Rows of videos that every model has seen, so that none scored them."""
    errors: dict[str, int] = field(default_factory=dict)
    """Rows by reason."""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    details: dict[str, object] = field(default_factory=dict)
    """What only this job reports, by name."""

    def save(self, run: str) -> None:
        """Write the summary beside the tables."""
        values = asdict(self)
        details = values.pop("details")
        write_json(
            join(run, "summaries", f"{self.job}.json"), {**values, "rows_per_second": round(self.rows_per_second, 3), **details}
        )

    @property
    def rows_per_second(self) -> float:
        """Rows made per second."""
        return (self.rows - self.there_before) / self.seconds if self.seconds else 0.0

    @property
    def did_nothing(self) -> bool:
        """Whether the table was complete before the job began."""
        return NOTHING_DONE in self.notes

    def lines(self) -> list[tuple[str, str]]:
        """Return the summary as rows of name and value, for printing."""
        lines = [("rows", str(self.rows)), ("ok", str(self.ok))]
        lines += [(name, str(count)) for name in ("no_face", "in_training") if (count := getattr(self, name))]
        lines += [(f"error: {reason}", str(count)) for reason, count in sorted(self.errors.items())]
        if not self.did_nothing and self.seconds:
            lines.append(("seconds", f"{self.seconds:.1f} ({self.rows_per_second:.2f} rows/s)"))
        for name, value in self.details.items():
            lines += describe_value(name, value, f"in summaries/{self.job}.json")
        return [*lines, *(("note", note) for note in self.notes), ("result", self.table)]


def describe_value(name: str, value: object, rest: str) -> Iterator[tuple[str, str]]:
    """Yield a value as rows of name and phrase: one for what is flat, one for each thing nested in it, none for nothing.

    Of a list of things the first `ITEMS` are shown; `rest` says where the others are.
    """
    if isinstance(value, dict):
        flat = {key: inner for key, inner in value.items() if not isinstance(inner, dict | list)}
        if phrase := ", ".join(
            f"{spell_out(key)} {describe_scalar(inner)}" for key, inner in flat.items() if inner is not None
        ):
            yield name, phrase
        for key in [key for key in value if key not in flat]:
            yield from describe_value(f"{name}: {spell_out(key)}", value[key], rest)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for item in value[:ITEMS]:
            yield from describe_value(name, item, rest)
        if len(value) > ITEMS:
            yield name, f"{len(value) - ITEMS} more {rest}"
    elif isinstance(value, list):
        if value:
            yield name, ", ".join(map(describe_scalar, value))
    elif value is not None:
        yield name, describe_scalar(value)


def describe_scalar(value: object) -> str:
    """Return a number with four decimals at most, yes or no, or the text as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def spell_out(key: str) -> str:
    """Return the name of a fact as words."""
    return key.replace("_", " ")


def count_statuses(statuses: pa.Table) -> dict[str, Any]:
    """Return the counts of a summary from the columns `status` and `error` of a table."""
    counts = Counter(statuses.column("status").to_pylist())
    return {
        "rows": len(statuses),
        "ok": counts[Status.OK],
        "no_face": counts[Status.NO_FACE],
        "in_training": counts[Status.IN_TRAINING],
        "errors": dict(Counter(reason_of(error) for error in statuses.column("error").to_pylist() if error)),
    }


def describe_cut_short(videos: pa.Table) -> list[str]:
    """Return a note on the videos that gave fewer frames than wanted, with the first of them; none where all are whole.

    In: columns `video_id`, `status`, `frames_wanted` and `frames_decoded`; a run of an older version lacks the last two.
    """
    if "frames_wanted" not in videos.column_names:
        return []
    short = [
        row
        for row in videos.select(["video_id", "status", "frames_wanted", "frames_decoded"]).to_pylist()
        if row["status"] != Status.ERROR and row["frames_wanted"] and row["frames_decoded"] < row["frames_wanted"]
    ]
    if not short:
        return []
    first = min(short, key=lambda row: str(row["video_id"]))
    gave = f"{first['video_id']!r} ({first['frames_decoded']} of {first['frames_wanted']})"
    return [f"cut short: {len(short)} video{'s'[len(short) == 1 :]} gave fewer frames than wanted, such as {gave}"]


def time_job(job: Callable[P, Summary]) -> Callable[P, Summary]:
    """Return the job with a clock: its summary holds the seconds that it took."""

    @wraps(job)
    def run_timed(*arguments: P.args, **options: P.kwargs) -> Summary:
        started = time.monotonic()
        summary = job(*arguments, **options)
        summary.seconds = elapsed(started)
        return summary

    return run_timed


def elapsed(started: float) -> float:
    """Return the seconds since `started`, a reading of `time.monotonic()`."""
    return round(time.monotonic() - started, 3)
