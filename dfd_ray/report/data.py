"""What a run folder holds, read without its pictures. What is not there is None."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.arrays import Int64Array
from dfd_ray.config import Config, parse_config
from dfd_ray.errors import ConfigurationError, RunError
from dfd_ray.store.run import Run
from dfd_ray.store.sources import SOURCES, describe_change, find_changed_source
from dfd_ray.store.storage import join, open_location, read_bytes, read_json
from dfd_ray.store.tables import concat_rows, iterate_batches, read_footer, read_metadata, read_promises, table_files
from dfd_ray.verdict.metrics import IntervalScore, ReliabilityBin, RocCurve, SubgroupScores

JOBS = ("index", "preprocess", "embed", "analyze", "train", "evaluate", "predict")
TABLES = ("manifest", "faces", "scores", "projection", "predictions")
OUTCOME_COLUMNS = ["video_id", "label", "status", "error_stage", "error"]
ROWS_AT_ONCE = 4096


class Metrics(TypedDict, total=False):
    """What the page shows of `evaluation/metrics.json`. An older run lacks some of it."""

    videos: int
    groups: int
    by_class: dict[str, int]
    groups_by_class: dict[str, int]
    constants: dict[str, float]
    scores: dict[str, IntervalScore]
    reliability: list[ReliabilityBin]
    roc: RocCurve | None
    subgroups: dict[str, dict[str, SubgroupScores]]
    metadata_probe: dict[str, IntervalScore]
    versus_constant: IntervalScore
    beyond_probe: IntervalScore
    remarks: list[str]
    geometry_probe: dict[str, IntervalScore]


@dataclass(frozen=True)
class RunData:
    """What is small of a run: tables with at most one row per video, and no images."""

    run: str
    config: Config
    """The run's own configuration; the one of this report if that cannot be read."""
    config_yaml: str
    corpus: str
    demo: bool
    margin: float
    """The margin of the stored crops, as a share of the box."""
    summaries: dict[str, dict[str, Any]]
    """By job, for the jobs that ran."""
    manifest: pa.Table | None
    """`video_id`, `label`."""
    outcomes: pa.Table | None
    """`OUTCOME_COLUMNS`, `face_count`, and `file`, the index into `face_files`."""
    predictions: pa.Table | None
    face_files: list[str]
    score_files: list[str]
    projection_files: list[str]
    history: list[Any] | None
    """One `figures.Fold` per fold."""
    metrics: Metrics | None
    examples: list[dict[str, Any]]
    """What training does to faces: `kind`, `name`, `pictures` as JPEGs in base64."""
    explanations: list[dict[str, Any]]
    """Where the classifiers look: `video_id`, `frames`, `pictures` as pairs of JPEGs in base64, a face and its heat."""
    remarks: list[str]
    """One sentence for each damaged file."""


def read_run(run: str, config: Config) -> RunData:
    """Read a run folder. What is absent is None or empty. What is damaged counts as absent and is named in `remarks`.

    Raises RunError when the folder has neither a manifest nor a summary.
    """
    remarks: list[str] = []
    summaries = {job: found for job in JOBS if (found := read_object(run, f"summaries/{job}.json", remarks)) is not None}
    files = {table: list_readable_files(run, table, remarks) for table in TABLES}
    if not files["manifest"] and not summaries:
        raise RunError(f"{run} holds no run; run `dfd-ray index` first")
    own_config, config_yaml = read_config(run, config, remarks)
    history = read_object(run, "models/history.json", remarks)
    remarks += describe_stale(Run(run, own_config))
    manifest_facts = read_metadata(run, "manifest")
    made_with = read_metadata(run, "faces").get("configuration", {})
    return RunData(
        run=run,
        config=own_config,
        config_yaml=config_yaml,
        corpus=str(manifest_facts.get("corpus") or own_config.corpus or ""),
        demo=bool(summaries.get("index", {}).get("demo")),
        margin=float(made_with.get("preprocess.margin", own_config.preprocess.margin)),
        summaries=summaries,
        manifest=read_columns(run, "manifest", files["manifest"], ["video_id", "label"]),
        outcomes=read_outcomes(run, files["faces"]),
        predictions=read_columns(run, "predictions", files["predictions"], None),
        face_files=files["faces"],
        score_files=files["scores"],
        projection_files=files["projection"],
        history=(history or {}).get("folds") or None,
        metrics=cast("Metrics | None", read_object(run, "evaluation/metrics.json", remarks)),
        examples=list((read_object(run, "models/examples.json", remarks) or {}).get("examples") or []),
        explanations=list((read_object(run, "explanations.json", remarks) or {}).get("explanations") or []),
        remarks=remarks,
    )


def read_object(run: str, name: str, remarks: list[str]) -> dict[str, Any] | None:
    """Return a JSON file's object. Return None when the file is absent, and add a remark when it holds something else."""
    try:
        value = read_json(join(run, name))
    except RunError:
        return None
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    remarks.append(f"{name} cannot be read. The page leaves it out.")
    return None


def list_readable_files(run: str, table: str, remarks: list[str]) -> list[str]:
    """Return the files of a table whose footers can be read, without empty ones. Add a remark for each of the others."""
    filesystem, _ = open_location(run)
    files = table_files(run, table)
    readable = []
    for path in files:
        try:
            if read_footer(path, filesystem).num_rows:
                readable.append(path)
        except (pa.ArrowInvalid, OSError):
            remarks.append(f"{table}/{path.rsplit('/', 1)[-1]} is cut off. The page leaves it out.")
    return readable


def read_config(run: str, given: Config, remarks: list[str]) -> tuple[Config, str]:
    """Return the run's stored configuration and its YAML, or the given one if none can be read."""
    try:
        text = read_bytes(join(run, "config.yaml")).decode()
        return parse_config(text, "config.yaml"), text
    except FileNotFoundError:
        pass
    except (ConfigurationError, UnicodeDecodeError) as error:
        remarks.append(
            f"The run's own configuration cannot be read ({error}). The page shows the configuration of this report."
        )
    return given, given.to_yaml()


def describe_stale(run: Run) -> list[str]:
    """Return a remark on each table that was made from something else than what is there now."""
    remarks = []
    for table in SOURCES:
        try:
            name = find_changed_source(run, table, read_promises(run.location, table))
            remarks += [f"{table}/ {describe_change(run, table, name)}."] if name else []
        except (pa.ArrowInvalid, OSError):  # a file that is cut off, of which another remark says so
            continue
    return remarks


def read_columns(run: str, table: str, files: Sequence[str], columns: list[str] | None) -> pa.Table | None:
    """Return columns of some files of a table, or None when there are no rows."""
    if not files:
        return None
    return concat_rows(iterate_batches(run, table, columns, ROWS_AT_ONCE, files)).combine_chunks()


def read_outcomes(run: str, files: Sequence[str]) -> pa.Table | None:
    """Return how each video ended and how many faces it gave, without reading a face."""
    parts = []
    for number, file in enumerate(files):
        columns = [*OUTCOME_COLUMNS, "faces.list.element.face_index"]
        for batch in iterate_batches(run, "faces", columns, ROWS_AT_ONCE, [file]):
            count = pc.fill_null(pc.list_value_length(batch.column("faces")), 0)
            part = batch.select(OUTCOME_COLUMNS).append_column("face_count", count)
            parts.append(part.append_column("file", pa.array(np.full(len(part), number, np.int32))))
    return pa.concat_tables(parts).combine_chunks() if parts else None


def count_labels(table: pa.Table, weight: str | None = None) -> dict[str, int]:
    """Return the rows, or the sum of a column, by label: keys REAL, FAKE and unlabelled."""
    counts = {"REAL": 0, "FAKE": 0, "unlabelled": 0}
    weights = table.column(weight).to_pylist() if weight else [1] * len(table)
    for label, value in zip(table.column("label").to_pylist(), weights, strict=True):
        counts[label if label in counts else "unlabelled"] += value
    return counts


def space_evenly(count: int, limit: int) -> Int64Array:
    """Return at most `limit` positions of `count`, evenly spaced from the first to the last, ascending int64."""
    if count <= limit:
        return np.arange(count)
    return np.linspace(0, count - 1, limit).round().astype(np.int64) if limit > 1 else np.zeros(limit, np.int64)
