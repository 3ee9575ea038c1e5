from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from dfd_ray.cli import main
from dfd_ray.config import load_config
from dfd_ray.errors import RunError
from dfd_ray.pipelines.predict import read_calibration, refuse_other_scores, take_judged_frames
from dfd_ray.stages.extract import frames_wanted
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.storage import read_json, write_json
from dfd_ray.store.tables import read_table, with_metadata
from dfd_ray.verdict.predictions import predict_new
from dfd_ray.verdict.video_probability import count_judged_frames

ODD_NAMES = ["with space.mp4", 'quote\'s "and" comma,.mp4', "ünïcode.mp4", "deep/er.mp4"]


@pytest.fixture(scope="module")
def new_videos(clips_with_faces: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of clips with odd names, an empty file, a text, and a text that names another file to FFmpeg."""
    folder = tmp_path_factory.mktemp("new")
    (folder / "deep").mkdir()
    for name, clip in zip(ODD_NAMES, clips_with_faces, strict=False):
        shutil.copy(clip, folder / name)
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no video")
    (folder / "my_metadata.json").write_text("{}")
    (folder / "Thumbs.db").touch()
    (folder / "script.mp4").write_text(f"ffconcat version 1.0\nfile '{folder / ODD_NAMES[0]}'\n")
    return folder


@pytest.fixture(scope="module")
def uncalibrated(finished_run: Path, new_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that lost its calibration, in `run`, and what it predicted of new videos, in `out`."""
    folder = tmp_path_factory.mktemp("uncalibrated")
    run = Path(shutil.copytree(finished_run, folder / "run"))
    (run / "evaluation" / "calibration.json").unlink()
    assert main(["predict", "--run", str(run), "--videos", str(new_videos), "--out", str(folder / "out")]) == 0
    return folder


def read_notes(out: Path) -> list[str]:
    notes: list[str] = read_json(str(out / "summaries" / "predict.json"))["notes"]
    return notes


def test_every_file_has_a_line_and_broken_ones_one_half_and_a_folder_that_has_changed_is_not_mixed_in(
    uncalibrated: Path, new_videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(shutil.copytree(uncalibrated / "out", tmp_path / "out"))
    with open(out / "submission.csv", newline="") as file:
        rows = {row["filename"]: float(row["label"]) for row in csv.DictReader(file)}
    broken = {"empty.mp4", "text.mp4", "script.mp4"}
    notes = read_notes(out)
    assert "left out: 1 file of kinds that are not read: 1 .json, such as 'my_metadata.json'" in notes
    assert "left out: 1 hidden file, such as 'Thumbs.db'" in notes
    assert any(note.startswith("3 videos without a score") for note in notes)
    assert set(rows) == set(ODD_NAMES) | broken
    assert {rows[name] for name in broken} == {0.5}
    assert all(0.01 <= rows[name] <= 0.99 for name in ODD_NAMES)
    predictions = {row["video_id"]: row for row in read_table(str(out), "predictions").to_pylist()}
    assert {name: row["probability"] for name, row in predictions.items()} == pytest.approx(rows, abs=1e-6)
    assert {name for name, row in predictions.items() if row["status"] == "error"} == broken
    assert {predictions[name]["faces_used"] > 0 for name in ODD_NAMES} == {True}
    command = ["predict", "--run", str(uncalibrated / "run"), "--videos", str(new_videos), "--out", str(out)]
    capsys.readouterr()
    assert main(command) == 0
    assert "nothing done" in capsys.readouterr().out
    shutil.copy(new_videos / "text.mp4", new_videos / "later.mp4")
    try:
        assert main(command) == 2
    finally:
        (new_videos / "later.mp4").unlink()
    assert "holds other files than when" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("videos", "message"),
    [("nowhere", "there is no such folder"), ("empty", "the folder is empty"), ("texts", "no video in it")],
)
def test_no_videos_is_one_line(
    finished_run: Path, tmp_path: Path, videos: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "text.txt").touch()
    command = ["predict", "--run", str(finished_run), "--videos", str(tmp_path / videos), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_run_without_models_says_which_job_makes_them(
    tmp_path: Path, new_videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--run", str(tmp_path), "--videos", str(new_videos)]) == 2
    assert "dfd-ray train" in capsys.readouterr().err


def test_a_calibration_that_came_later_is_used_and_other_models_are_not_mixed(
    uncalibrated: Path, finished_run: Path, new_videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = (Path(shutil.copytree(uncalibrated / name, tmp_path / name)) for name in ("run", "out"))
    assert any("not calibrated" in note for note in read_notes(out))
    before = (out / "submission.csv").read_text()
    shutil.copy(finished_run / "evaluation" / "calibration.json", run / "evaluation")
    command = ["predict", "--run", str(run), "--videos", str(new_videos), "--out", str(out)]
    capsys.readouterr()
    assert main(command) == 0
    assert "not calibrated" not in capsys.readouterr().out
    assert (out / "submission.csv").read_text() != before
    assert main([*command, "--set", "evaluate.aggregation=confident"]) == 2
    assert "the calibration in" in capsys.readouterr().err
    (run / "models" / "fold-1.safetensors").unlink()
    assert main(command) == 2
    assert "use another --out" in capsys.readouterr().err


def test_labels_of_new_videos_give_scores_and_change_nothing_else(
    uncalibrated: Path, small_corpus: Path, new_videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learnt_from = {path.read_bytes() for path in small_corpus.rglob("*.mp4")}
    copies = [name for name in ODD_NAMES if (new_videos / name).read_bytes() in learnt_from]
    assert 0 < len(copies) < 3
    out = Path(shutil.copytree(uncalibrated / "out", tmp_path / "out"))
    command = ["predict", "--run", str(uncalibrated / "run"), "--videos", str(new_videos), "--out", str(out)]
    before = read_table(str(out), "predictions")
    labels = dict(zip([*ODD_NAMES, "empty.mp4"], ["REAL", "FAKE", "REAL", "FAKE", "FAKE"], strict=True))
    with open(new_videos / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([["filename", "label"], *labels.items()])
    try:
        assert main(command) == 0
        shown = capsys.readouterr().out
        assert main(command) == 0
        assert "nothing done" in capsys.readouterr().out
    finally:
        (new_videos / "labels.csv").unlink()
    after = read_table(str(out), "predictions")
    assert after.drop_columns("label").equals(before.drop_columns("label"))
    rows = [row for row in after.to_pylist() if row["label"]]
    assert {row["video_id"]: row["label"] for row in rows} == {one: label for one, label in labels.items() if one not in copies}
    assert f"{len(copies)} of 5 labelled videos do not count" in shown
    metrics = read_json(str(out / "evaluation" / "metrics.json"))
    truth, probability = [row["label"] == "FAKE" for row in rows], [row["probability"] for row in rows]
    assert metrics["scores"]["roc_auc"]["value"] == pytest.approx(roc_auc_score(truth, probability))
    assert metrics["scores"]["log_loss"]["value"] == pytest.approx(log_loss(truth, probability))
    assert metrics["videos"] == len(rows)
    assert re.search(rf"roc_auc +{metrics['scores']['roc_auc']['value']:.4f} ", shown)
    assert main(command) == 0
    assert not (out / "evaluation" / "metrics.json").exists(), "without labels there are no scores"


def test_new_videos_are_aggregated_as_evaluate_chose(tmp_path: Path) -> None:
    run = Run(str(tmp_path), load_config(None, ["evaluate.aggregation=auto"]))
    scores = pa.Table.from_pylist([{"video_id": "a", "status": "ok", "log_odds": [4.0, -1.0]}], schema=SCHEMAS["scores"])
    found = {}
    for method in ("mean", "mean_logit"):
        write_json(str(tmp_path / "evaluation" / "calibration.json"), {"calibration": None, "aggregation": method})
        predictions, _ = predict_new(scores, read_calibration(run), run.config)
        found[method] = predictions.column("probability")[0].as_py()
    odds = np.exp([4.0, -1.0, 1.5])
    expected = odds / (1 + odds)
    assert found == pytest.approx({"mean": expected[:2].mean(), "mean_logit": expected[2]})


@pytest.mark.parametrize("frames", [(40, 8, 8), (40, 8, 12), (8, 8, 40), (6, 9, 3)])
def test_of_a_new_video_the_frames_are_taken_that_were_judged(frames: tuple[int, int, int]) -> None:
    names = ("frames_real", "frames_fake", "frames_unlabelled")
    config = load_config(None, [f"preprocess.{name}={number}" for name, number in zip(names, frames, strict=True)])
    taken = take_judged_frames(config).preprocess
    assert frames_wanted(None, taken) == count_judged_frames(config) == min(frames)
    assert (taken.comb, taken.most_frames) == (config.preprocess.comb, config.preprocess.most_frames)


LINE = {"slope": 1.0, "intercept": 0.0, "base_rate": 0.5}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"calibration": {"slope": 1.0, "intercept": 0.0}, "aggregation": "mean"}', "it has no number base_rate"),
        ('{"aggregation": "mean"}', "it has no calibration"),
        ("{", "it is not JSON"),
        ("\xff", "it is not JSON"),
        (json.dumps({"calibration": LINE, "aggregation": "mean", "frames": 16}), "to judge 8 frames of a video"),
    ],
)
def test_a_calibration_that_cannot_be_used_is_one_line(content: str, words: str, tmp_path: Path) -> None:
    run = Run(str(tmp_path), load_config())
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "calibration.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(RunError, match=r"calibration\.json .*; ") as raised:
        read_calibration(run)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"models": "a", "frames": 8}, None),
        ({"models": "b", "frames": 8}, "was scored by classifiers b"),
        ({"models": "a"}, "was scored by an older version, not over 8 frames"),
        ({"models": "a", "frames": 16}, "was scored over 16 frames of a video, not over 8 frames"),
    ],
)
def test_scores_that_do_not_fit_the_calibration_are_refused(
    facts: dict[str, object], words: str | None, tmp_path: Path
) -> None:
    run = Run(str(tmp_path / "run"), load_config())
    refuse_other_scores(run, str(tmp_path), "a")
    (tmp_path / "scores").mkdir()
    pq.write_table(
        with_metadata(SCHEMAS["scores"], "scores", run.config, **facts).empty_table(), tmp_path / "scores" / "a.parquet"
    )
    if words is None:
        refuse_other_scores(run, str(tmp_path), "a")
    else:
        with pytest.raises(RunError, match=words):
            refuse_other_scores(run, str(tmp_path), "a")
