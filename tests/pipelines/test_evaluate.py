from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfd_ray.cli import main
from dfd_ray.config import load_config
from dfd_ray.errors import RunError
from dfd_ray.pipelines.evaluate import evaluate
from dfd_ray.pipelines.prerequisites import find_missing_tables
from dfd_ray.store.run import Run
from dfd_ray.store.storage import read_json, write_json
from dfd_ray.store.tables import read_table
from dfd_ray.verdict.aggregation import METHODS


def test_evaluation_waits_for_every_model(finished_run: Path, tmp_path: Path) -> None:
    """The command would train the one that is missing first; the job by itself refuses."""
    run = Run(str(shutil.copytree(finished_run, tmp_path / "run")), load_config(finished_run / "config.yaml"))
    for name in ("scores", "predictions"):
        shutil.rmtree(run.path(name))
    Path(run.path("models", "fold-1.safetensors")).unlink()
    assert find_missing_tables("evaluate", run) == ["models"]
    with pytest.raises(RunError, match="no model without fold 1"):
        evaluate(run)
    assert not Path(run.path("predictions")).exists()


@pytest.mark.slow
def test_only_videos_of_the_held_out_fold_are_judged(ray: None, draw_run: Callable[..., Path], tmp_path: Path) -> None:
    run = draw_run(tmp_path / "run", videos=2)
    (first, *_) = sorted((run / "faces").glob("*.parquet"))
    table = pq.read_table(first)
    rows = [row | {"faces": [], "status": "no_face"} if i < 2 else row for i, row in enumerate(table.to_pylist())]
    assert {row["fold"] for row in rows if not row["faces"]} == {0, 1}
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), first)
    settings = ("evaluate.aggregation=auto", "evaluate.bootstrap=20", "train.epochs=1", "train.batch_size=8")
    flags = [part for setting in settings for part in ("--set", setting)]
    for job in ("train", "evaluate"):
        assert main([job, "--run", str(run), *flags]) == 0  # with train.folds = [0]
    rows = read_table(str(run), "predictions").to_pylist()
    own = [row for row in rows if row["fold"] == 0]
    assert {row["probability"] is not None for row in own} == {True}
    assert {row["probability"] for row in rows if row["fold"] != 0} == {None}, "those without a face are not judged either"
    metrics, found = (read_json(str(run / "evaluation" / f"{name}.json")) for name in ("metrics", "calibration"))
    assert metrics["videos"] == len(own) < len(rows)
    assert metrics["aggregation"] == "auto", "each part of the videos has its own"
    assert found["aggregation"] in METHODS, "new videos have one"


def test_heat_maps_of_earlier_predictions_do_not_outlive_them(finished_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    write_json(str(run / "explanations.json"), {"explanations": []})
    assert main(["evaluate", "--run", str(run)]) == 0
    assert (run / "explanations.json").exists(), "nothing was evaluated anew"
    shutil.rmtree(run / "predictions")
    assert main(["evaluate", "--run", str(run)]) == 0
    assert not (run / "explanations.json").exists()
