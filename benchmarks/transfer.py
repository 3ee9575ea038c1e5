"""How well a model works on fakes and real people of sources it did not learn from.

    python -m benchmarks.transfer PEOPLE CORPUS --out FOLDER [--seeds 2] [--rows "no augmentation" ...]

PEOPLE is a folder of videos of real people. A model learns from these alone; its FAKE faces are blended from them. The test
is all of CORPUS, which comes from other sources and is never learned from. The jobs are the project's own, and finished ones
do not run again. The AUC has an interval over groups of linked videos. The log loss weighs both classes equally. Its
probabilities are calibrated on half of the groups and scored on the other half, over twenty random halves.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.metrics import log_loss

from benchmarks.ablations import MOST_SEEDS, REPLICATES, Row, locate_run, read_judged, run_job, take_known, with_interval
from benchmarks.machine import keep_result
from dfd_ray.arrays import Float64Array, Int64Array
from dfd_ray.labels import TRAIN_ONLY
from dfd_ray.verdict.calibration import fit_calibration
from dfd_ray.verdict.metrics import Ranking, resample

COMMON = ("preprocess.frames_unlabelled=8", "train.folds=[0]", "train.epochs=2", "embed.batch_size=8")
HALVINGS = 20
CLIP = 0.01
ROWS = [
    Row("best"),
    Row("no augmentation", ("train.augmentation=none",)),
    Row("the report's augmentation", ("train.augmentation=report",)),
    Row("margin 0", ("preprocess.margin=0", "preprocess.crop_size=150")),
    Row("margin 0.6", ("preprocess.margin=0.6", "preprocess.crop_size=240")),
]


def run_row(people: str, corpus: str, out: Path, row: Row, seed: int) -> Path:
    """Run the jobs of a row that have not finished, and return its run."""
    own = tuple(setting for setting in row.settings if setting.startswith("preprocess"))
    settings = (*COMMON, f"index.extra_real={people}", f"train.seed={seed}", *row.settings)
    found, run = out / "-".join(["faces", *own]), locate_run(out, row, seed)
    for job in ("index", "preprocess"):
        run_job(job, found, corpus, settings)
    for table in ("manifest", "faces"):
        if not (run / table).exists():
            write_parted(found / table, run / table)
    for job in ("train", "evaluate"):
        run_job(job, run, corpus, settings)
    return run


def write_parted(source: Path, target: Path) -> None:
    """Copy a table with the corpus as one held-out fold, and with each video of the people also as FAKE, to be blended."""
    half = target.parent / f".{target.name}"
    half.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.glob("*.parquet")):
        videos = pq.read_table(file)
        people = videos.filter(pc.equal(videos.column("fold"), TRAIN_ONLY))
        names = pc.binary_join_element_wise("fake", people.column("video_id"), "/")
        people = replace_column(replace_column(people, "video_id", names), "label", pa.array(["FAKE"] * len(people)))
        both = pa.concat_tables([videos, people])
        fold = pc.if_else(pc.equal(both.column("fold"), TRAIN_ONLY), 1, 0)  # no training has one fold alone
        pq.write_table(replace_column(both, "fold", fold), half / file.name)
    half.rename(target)


def replace_column(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return a table with other values in a column."""
    field = table.schema.field(name)
    return table.set_column(table.column_names.index(name), field, values.cast(field.type))


def score(run: Path) -> tuple[str, dict[str, float]]:
    """Return AUC and log loss of a run, as cells of Markdown and as numbers."""
    label, raw, member = read_judged(run, "raw_probability")  # videos that the model learned from have none
    ranking = Ranking(label, raw)
    auc = take_known(ranking.scores(np.ones(len(label))))["roc_auc"]
    replicates = [row["roc_auc"] for row in resample(ranking, member, REPLICATES, seed=0)]
    random = np.random.default_rng(0)
    loss = float(np.mean([score_halves(label, raw, member, random) for _ in range(HALVINGS)]))
    return f"{with_interval(auc, np.array(replicates), '.3f')} | {loss:.3f}", {"roc_auc": auc, "log_loss_balanced": loss}


def score_halves(label: Int64Array, raw: Float64Array, member: Int64Array, random: np.random.Generator) -> float:
    """Return the log loss, with equal classes, of two random halves of the groups that calibrate each other."""
    while True:
        half = np.isin(member, random.permutation(member.max() + 1)[: (member.max() + 1) // 2])
        if all(len(np.unique(label[part])) == 2 for part in (half, ~half)):
            break
    probability = np.empty(len(label))
    for own, other in ((half, ~half), (~half, half)):
        probability[own] = fit_calibration(raw[other], label[other]).with_prior(0.5).apply(raw[own])
    weight = 1 / np.bincount(label)[label]
    return float(log_loss(label, np.clip(probability, CLIP, 1 - CLIP), sample_weight=weight))


def main() -> None:
    """Run the rows, print the table, and keep it."""
    parser = argparse.ArgumentParser(description="A training scored on other sources than it learnt from")
    parser.add_argument("people")
    parser.add_argument("corpus")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2, choices=range(1, MOST_SEEDS + 1), metavar=f"1..{MOST_SEEDS}")
    parser.add_argument("--rows", nargs="*", choices=[row.name for row in ROWS], default=[row.name for row in ROWS])
    options = parser.parse_args()
    table, values = ["| | seed | AUC | log loss |", "|---" * 4 + "|"], {}
    for row in (row for row in ROWS if row.name in options.rows):
        for seed in range(options.seeds):
            print(f"== {row.name}, seed {seed}", flush=True)
            cells, values[f"{row.name}, seed {seed}"] = score(run_row(options.people, options.corpus, options.out, row, seed))
            table.append(f"| {row.name} | {seed} | {cells} |")
    keep_result("transfer", {"table": table, "rows": values})
    print(*table, sep="\n")


if __name__ == "__main__":
    main()
