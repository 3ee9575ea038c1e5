"""What each choice of `configs/best.yaml` is worth: one setting changed at a time, on the same folds.

    python -m benchmarks.ablations CORPUS --out FOLDER [--seeds 2] [--rows "no augmentation" ...]

Each row is a run of the project's own jobs in FOLDER: `index`, `preprocess`, `train`, `evaluate`. Tables that a row shares with
the first one are linked, not made again. When started again, the benchmark resumes. The table covers all of FOLDER. The first
row always runs, because each row is compared with it, seed by seed. Every row has about the same budget: three folds, and
as many epochs as show each model some 2,500 faces (of 69 clips). A row is scored on eight frames per video, whatever number
it learns from, or on one if it has only one. There is no row for sigmoid against softmax: two logits under softmax are the
sigmoid of their difference, so both are the same model.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import pyarrow.compute as pc

from benchmarks.machine import keep_result
from dfd_ray.arrays import Float64Array, Int64Array
from dfd_ray.config import LINEAGE
from dfd_ray.store.tables import read_table
from dfd_ray.verdict.metrics import Ranking, entropy, percentile_interval, resample

CONFIG = Path(__file__).parent.parent / "configs" / "best.yaml"
COMMON = ("index.folds=3", "train.epochs=4", "embed.batch_size=8")
JOBS = {"index": "manifest", "preprocess": "faces", "train": "models", "evaluate": "scores"}
"""Each job, and its table, which rows may share."""
SEEDED = ("models", "scores")
"""Tables that differ from seed to seed."""
SCORES = ("log_loss", "log_loss_balanced", "roc_auc")
MOST_SEEDS = 10
REPLICATES = 2000
"""Replicates of the bootstrap over groups of linked videos."""


class Row(NamedTuple):
    """A row of the table: its name, and the settings that differ from the first row."""

    name: str
    settings: tuple[str, ...] = ()


ROWS = [
    Row("best"),
    Row(
        "the report's recipe",
        (
            *("preprocess.margin=0.6", "preprocess.crop_size=240", "train.image_size=224", "train.learning_rate=3e-4"),
            *("train.augmentation=report", "train.self_blending=0", "train.balance=false", "train.average=0"),
            *("train.frozen_layers=0", "train.clip_gradient=null", "evaluate.aggregation=mean"),
        ),
    ),
    Row("margin 0", ("preprocess.margin=0", "preprocess.crop_size=150")),
    Row("margin 0.6", ("preprocess.margin=0.6", "preprocess.crop_size=240")),
    Row("no augmentation", ("train.augmentation=none",)),
    Row("the report's augmentation", ("train.augmentation=report",)),
    Row("no self-blending", ("train.self_blending=0",)),
    Row("self-blending 0.5", ("train.self_blending=0.5",)),
    Row("1 frame a video", ("preprocess.frames_real=1", "preprocess.frames_fake=1", "train.epochs=32")),
    Row("8 frames a video", ("preprocess.frames_real=8", "preprocess.frames_fake=8")),
    Row("32 frames a video", ("preprocess.frames_real=32", "preprocess.frames_fake=32", "train.epochs=1")),
    Row("mean of probabilities", ("evaluate.aggregation=mean",)),
    Row("confident frames", ("evaluate.aggregation=confident",)),
    Row("not calibrated", ("evaluate.calibrate=false",)),
]


class Outcome(NamedTuple):
    """The scores of a row's out-of-fold probabilities."""

    seeds: int
    values: dict[str, float]
    """Each score, the mean over the seeds."""
    replicates: dict[str, Float64Array]
    """Each score of every replicate. The n-th replicate has the same videos in every row."""


def locate_run(out: Path, row: Row, seed: int) -> Path:
    """Return the folder of a row's run with a seed."""
    return out / f"{row.name.replace(' ', '-')}-{seed}"


def run_row(corpus: str, out: Path, row: Row, seed: int) -> None:
    """Run the jobs of a row that have not finished."""
    run = locate_run(out, row, seed)
    settings = (*COMMON, f"train.seed={seed}", *row.settings)
    changed = {setting.split(".")[0] for setting in row.settings}
    for job, table in JOBS.items():
        best = [locate_run(out, ROWS[0], one) for one in ((seed,) if table in SEEDED else (0, seed))]
        shared = [other for other in best if other != run and not changed & set(LINEAGE[table]) and (other / table).exists()]
        if shared and not (run / table).exists():
            link_table(shared[0], run, table)
        run_job(job, run, corpus, settings)


def run_job(job: str, run: Path, corpus: str, settings: tuple[str, ...]) -> None:
    """Run a job of the project with CONFIG and some settings."""
    command = [sys.executable, "-m", "dfd_ray.cli", job, "--run", str(run), "--config", str(CONFIG), "--corpus", corpus]
    assignments = [part for setting in settings for part in ("--set", setting)]
    subprocess.run([*command, *assignments], check=True)


def link_table(source: Path, run: Path, table: str) -> None:
    """Link a table of another run into this one. The table appears whole or not at all."""
    half = run / f".{table}"
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(source / table, half, copy_function=os.link)
    half.rename(run / table)


def score_runs(runs: list[Path]) -> Outcome:
    """Return the scores of the predictions of some runs, one per seed."""
    values, replicates = [], []
    for run in runs:
        label, probability, member = read_judged(run, "probability")
        ranking = Ranking(label, probability)
        values.append(take_known(ranking.scores(np.ones(len(label)))))
        replicates.append([take_known(row) for row in resample(ranking, member, REPLICATES, seed=0)])
    return Outcome(
        len(runs),
        {score: float(np.mean([one[score] for one in values])) for score in SCORES},
        {score: np.mean([[row[score] for row in rows] for rows in replicates], axis=0) for score in SCORES},
    )


def take_known(scores: Mapping[str, float | None]) -> dict[str, float]:
    """Return the scores that have a value; where there are videos of both classes, all do."""
    return {name: value for name, value in scores.items() if value is not None}


def read_judged(run: Path, column: str) -> tuple[Int64Array, Float64Array, Int64Array]:
    """Return label (1 for FAKE), value and group (from 0) of each video with a value in a column of `predictions/`."""
    predictions, videos = read_table(str(run), "predictions"), read_table(str(run), "manifest", ["video_id", "group"])
    predictions = predictions.filter(predictions.column(column).is_valid())
    group = videos.column("group").take(pc.index_in(predictions.column("video_id"), videos.column("video_id")))
    label = pc.equal(predictions.column("label"), "FAKE").to_numpy().astype(int)
    return label, predictions.column(column).to_numpy(), np.unique(group.to_numpy(), return_inverse=True)[1]


def format_row(name: str, row: Outcome, best: Outcome | None) -> str:
    """Return a row as Markdown: log loss and AUC, and by how much each is above that of `best` of the same seeds, with
    95 % intervals.
    """
    cells = []
    for score in ("log_loss", "roc_auc"):
        cells.append(with_interval(row.values[score], row.replicates[score], ".3f"))
        if best is None:
            cells.append("")
            continue
        above = row.replicates[score] - best.replicates[score]
        cells.append(with_interval(row.values[score] - best.values[score], above, "+.3f"))
    return f"| {name} | {row.seeds} | {' | '.join(cells)} |"


def with_interval(value: float, replicates: Float64Array, style: str) -> str:
    """Return a score and its interval as text."""
    ends = percentile_interval(replicates.tolist())
    return f"{value:{style}} ({ends['low']:{style}} to {ends['high']:{style}})"


class Table(TypedDict):
    """The result of the benchmark: a table as Markdown lines, and its values by row."""

    table: list[str]
    rows: dict[str, dict[str, float]]


def tabulate(out: Path) -> Table:
    """Return the table of each row and seed that has a finished run, where the first row's run of that seed is finished too."""
    table = ["| | seeds | log loss | above that of `best` | AUC | above that of `best` |", "|---" * 6 + "|"]
    found = {}
    for row in ROWS:
        both = [[locate_run(out, one, seed) for one in (row, ROWS[0])] for seed in range(MOST_SEEDS)]
        if whole := [runs for runs in both if all((run / "predictions").exists() for run in runs)]:
            found[row.name], best = (score_runs(list(runs)) for runs in zip(*whole, strict=True))
            table.append(format_row(row.name, found[row.name], None if row is ROWS[0] else best))
    labels = read_table(str(locate_run(out, ROWS[0], 0)), "manifest", ["label"]).column("label")
    share = pc.mean(pc.equal(labels, "FAKE")).as_py()
    table.append(f"| always the share of FAKE | | {entropy(share):.3f} | | 0.500 | |")
    return {"table": table, "rows": {name: {"seeds": row.seeds, **row.values} for name, row in found.items()}}


def main() -> None:
    """Run the rows, print the table, and keep it."""
    parser = argparse.ArgumentParser(description="One setting of configs/best.yaml changed at a time")
    parser.add_argument("corpus")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2, choices=range(1, MOST_SEEDS + 1), metavar=f"1..{MOST_SEEDS}")
    parser.add_argument("--rows", nargs="*", choices=[row.name for row in ROWS], default=[row.name for row in ROWS])
    options = parser.parse_args()
    for row in (row for row in ROWS if row is ROWS[0] or row.name in options.rows):
        for seed in range(options.seeds):
            print(f"== {row.name}, seed {seed}", flush=True)
            run_row(options.corpus, options.out, row, seed)
    result = tabulate(options.out)
    keep_result("ablations", result)
    print(*result["table"], sep="\n")


if __name__ == "__main__":
    main()
