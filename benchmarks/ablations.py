"""What each choice of `configs/best.yaml` is worth: one setting changed at a time, on the same folds.

    python -m benchmarks.ablations CORPUS --out FOLDER [--seeds 2] [--rows "no augmentation" ...]

Each row is a run of the project's own jobs in FOLDER: `index`, `preprocess`, `train`, `evaluate`; tables that it has in common
with an earlier row are linked, not made again. Started again, it goes on where it was stopped. The budget is about the same
for every row: three folds, and as many epochs as show some 2,500 faces (of 69 clips) to each model. Sigmoid against
softmax is no row: two logits under softmax are the sigmoid of their difference, the same model.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import report
from dfd_ray.config import LINEAGE

CONFIG = Path(__file__).parent.parent / "configs" / "best.yaml"
COMMON = ("index.folds=3", "train.epochs=4", "embed.batch_size=8")
JOBS = {"index": "manifest", "preprocess": "faces", "train": "models", "evaluate": "predictions"}
"""Each job and the table it writes."""
SCORES = ("log_loss", "log_loss_balanced", "roc_auc")


class Row(NamedTuple):
    """A row of the table: its name, and the settings in which it differs from the first."""

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


def run_row(corpus: str, out: Path, row: Row, seed: int) -> dict[str, Any]:
    """Run what is missing of a row, and return its metrics."""
    run = out / f"{row.name.replace(' ', '-')}-{seed}"
    settings = (*COMMON, f"train.seed={seed}", *row.settings)
    changed = {setting.split(".")[0] for setting in row.settings}
    for job, table in JOBS.items():
        others = [out / "best-0", out / f"best-{seed}"]
        shared = [other for other in others if other != run and not changed & set(LINEAGE[table]) and (other / table).exists()]
        if table == "models":
            shared = [other for other in shared if other.name == f"best-{seed}"]  # of the same seed
        if table != "predictions" and shared and not (run / table).exists():
            link_table(shared[0], run, table)
        command = [sys.executable, "-m", "dfd_ray.cli", job, "--run", str(run), "--config", str(CONFIG), "--corpus", corpus]
        assignments = [part for setting in settings for part in ("--set", setting)]
        subprocess.run([*command, *assignments], check=True)
    metrics: dict[str, Any] = json.loads((run / "evaluation" / "metrics.json").read_text())
    return metrics


def link_table(source: Path, run: Path, table: str) -> None:
    """Give a run a table of another one, without a copy of its bytes; it appears whole or not at all."""
    half = run / f".{table}"
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(source / table, half, copy_function=os.link)
    half.rename(run / table)


def line(name: str, seeds: list[dict[str, Any]]) -> str:
    """Return a row as Markdown: of each score the mean over the seeds, and the mean of the ends of its 95 % intervals."""
    cells = []
    for score in SCORES:
        value, low, high = (np.mean([metrics["scores"][score][end] for metrics in seeds]) for end in ("value", "low", "high"))
        cells.append(f"{value:.3f} ({low:.3f} to {high:.3f})")
    return f"| {name} | {len(seeds)} | {' | '.join(cells)} |"


def main() -> None:
    """Run the rows, print the table as it grows, and keep it."""
    parser = argparse.ArgumentParser(description="One setting of configs/best.yaml changed at a time")
    parser.add_argument("corpus")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", nargs="*", choices=[row.name for row in ROWS], default=[row.name for row in ROWS])
    options = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {}
    for row in (row for row in ROWS if row.name in options.rows):
        seeds = range(options.seeds)
        results[row.name] = [run_row(options.corpus, options.out, row, seed) for seed in seeds]
        print(line(row.name, results[row.name]), flush=True)
    table = [f"| | seeds | {' | '.join(SCORES)} |", "|" + "---|" * (2 + len(SCORES))]
    table += [line(name, seeds) for name, seeds in results.items()]
    scores = {name: [{score: one["scores"][score] for score in SCORES} for one in seeds] for name, seeds in results.items()}
    report("ablations", {"rows": scores, "table": table})
    print("\n".join(table))


if __name__ == "__main__":
    main()
