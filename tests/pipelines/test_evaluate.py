from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from dfd_ray.cli import main
from dfd_ray.config import load_config
from dfd_ray.pipelines.evaluate import aggregate_videos, faces_judged, probabilities
from dfd_ray.pipelines.score import NO_FOLD, ScoreFaces
from dfd_ray.schemas import SCHEMAS, TRAIN_ONLY
from dfd_ray.storage import read_json, write_json
from dfd_ray.tables import read_table


def test_evaluation_waits_for_every_model(finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    for name in ("scores", "predictions"):
        shutil.rmtree(run / name)
    (run / "models" / "fold-1.safetensors").unlink()
    assert main(["evaluate", "--run", str(run)]) == 2
    assert "no model without fold 1" in capsys.readouterr().err
    assert not (run / "predictions").exists()


def test_only_videos_of_the_held_out_fold_are_judged(finished_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    for name in ("scores", "predictions", "evaluation", "models"):
        shutil.rmtree(run / name)
    held_out = ["--set", "train.folds=[0]"]
    assert main(["train", "--run", str(run), *held_out]) == 0
    assert main(["evaluate", "--run", str(run), *held_out]) == 0
    rows = read_table(str(run), "predictions").to_pylist()
    own = [row for row in rows if row["fold"] == 0]
    assert {row["probability"] is not None for row in own} == {True}
    assert {row["probability"] for row in rows if row["fold"] != 0} == {None}, "those without a face are not judged either"
    assert read_json(str(run / "evaluation" / "metrics.json"))["videos"] == len(own) < len(rows)


def test_heat_maps_of_earlier_predictions_do_not_outlive_them(finished_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    write_json(str(run / "explanations.json"), {"explanations": []})
    assert main(["evaluate", "--run", str(run)]) == 0
    assert (run / "explanations.json").exists(), "nothing was evaluated anew"
    shutil.rmtree(run / "predictions")
    assert main(["evaluate", "--run", str(run)]) == 0
    assert not (run / "explanations.json").exists()


def test_the_number_of_faces_that_count_does_not_tell_the_label() -> None:
    config = load_config(None, ["evaluate.aggregation=confident"])
    sure = np.full(40, 3.0)
    rows = [
        {"video_id": name, "status": "ok", "log_odds": values}
        for name, values in [("real", np.concatenate([sure[:20], -sure[:20]])), ("fake", np.concatenate([sure[:4], -sure[:4]]))]
    ]
    real, fake = aggregate_videos(pa.Table.from_pylist(rows, schema=SCHEMAS["scores"]), config, faces_judged(config))
    assert real == pytest.approx(fake) == pytest.approx(1 / (1 + np.exp(-3))), "four of eight are surely FAKE: that is many"


def test_videos_that_are_only_trained_on_count_for_no_probability() -> None:
    raw = np.array([0.2, 0.9, 0.4, 0.7, np.nan, np.nan])
    label, fold = np.array([0, 1, 0, 1, 1, 0]), np.array([0, 0, 1, 1, 1, TRAIN_ONLY])
    videos = pa.table({"group": list("abcdef")})
    settings = load_config().evaluate
    with_extra, calibration = probabilities(raw, label, fold, videos, settings)
    without, same = probabilities(raw[:5], label[:5], fold[:5], videos.slice(0, 5), settings)
    np.testing.assert_array_equal(with_extra[:5], without)
    assert calibration == same


def test_one_fold_is_calibrated_by_halves_that_both_have_both_classes() -> None:
    # Names in whose order REAL and FAKE take turns, as in FaceForensics++ without its links.
    videos = pa.table({"group": [name for number in range(40) for name in (f"{number:03}", f"{number:03}_{number + 1:03}")]})
    label = np.tile([0, 1], 40)
    raw = np.random.default_rng(0).uniform(0.6, 0.8, 80) + 0.1 * label
    probability, _ = probabilities(raw, label, np.zeros(80, np.int64), videos, load_config().evaluate)
    assert log_loss(label, probability) < log_loss(label, raw)
    assert roc_auc_score(label, probability) > 0.7


def test_one_fold_with_too_few_of_a_class_for_two_halves_is_not_calibrated() -> None:
    raw, label = np.array([0.2, 0.9, 0.4, 0.7]), np.array([0, 1, 1, 1])
    probability, calibration = probabilities(
        raw, label, np.zeros(4, np.int64), pa.table({"group": list("abcd")}), load_config().evaluate
    )
    np.testing.assert_array_equal(probability, raw)
    assert calibration is not None, "new videos are calibrated by all of these"


def test_a_face_that_is_only_trained_on_is_not_scored(finished_run: Path) -> None:
    models = ScoreFaces(str(finished_run), "cpu", 8)
    face = [np.full((240, 240, 3), 99, np.uint8)]
    assert models.score(face, TRAIN_ONLY) == [0]
    assert models.score(face, NO_FOLD) == pytest.approx(np.mean([models.score(face, fold) for fold in models.folds]), abs=1e-5)
    videos = pa.table({"fold": pa.array([TRAIN_ONLY, None, models.folds[0]], pa.int32())})
    assert models.seen_in_training(videos) == [True, False, False]
