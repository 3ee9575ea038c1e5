"""One finished run, looked at from every side."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from sklearn.metrics import log_loss

from dfd_ray.cli import main
from dfd_ray.config import load_config
from dfd_ray.errors import Reason, Stage
from dfd_ray.faces.crop import decode_jpeg
from dfd_ray.models.backbones import create_backbone, normalise
from dfd_ray.pipelines import pipeline
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.summary import Summary
from dfd_ray.store.tables import check_compatible, count_rows, flatten_faces, read_metadata, read_table

TABLES = ("manifest", "faces", "embeddings", "scores", "predictions")


def test_one_row_in_one_row_out(finished_run: Path) -> None:
    run = str(finished_run)
    videos = sorted(read_table(run, "manifest").column("video_id").to_pylist())
    assert len(videos) == 24
    for table in TABLES:
        assert sorted(read_table(run, table, ["video_id"]).column("video_id").to_pylist()) == videos, table


@pytest.mark.parametrize("table", ["manifest", "faces", "scores", "projection", "predictions"])
def test_every_table_has_its_schema_and_says_what_made_it(finished_run: Path, table: str) -> None:
    assert read_table(str(finished_run), table).schema.equals(SCHEMAS[table])
    facts = read_metadata(str(finished_run), table)
    config = load_config(finished_run / "config.yaml")
    assert facts["fingerprint"] == config.fingerprint(table)
    check_compatible(Run(str(finished_run), config), table)


def test_broken_videos_are_rows_with_their_reason(finished_run: Path, demo_corpus: Path) -> None:
    methods = json.loads((demo_corpus / ".demo.json").read_text())["methods"]
    rows = {row["video_id"]: row for row in read_table(str(finished_run), "faces").to_pylist()}
    outcome = {method: rows[video] for video, method in methods.items() if video in rows}
    assert outcome["no_face"]["status"] == "no_face"
    assert outcome["no_face"]["error"] is None
    for method, reason in [("empty", Reason.EMPTY), ("truncated", Reason.NOT_A_VIDEO)]:
        assert (outcome[method]["status"], outcome[method]["error_stage"]) == ("error", Stage.OPEN)
        assert outcome[method]["error"].split(":")[0] == reason
        assert outcome[method]["faces"] == []
    assert {rows[video]["status"] for video, method in methods.items() if method == "real"} == {"ok"}


def test_frames_are_sampled_by_label(finished_run: Path) -> None:
    for row in read_table(str(finished_run), "faces").to_pylist():
        if row["status"] == "ok":
            frames = {face["frame_index"] for face in row["faces"]}
            wanted = {"REAL": 6, "FAKE": 3}[row["label"]]
            assert wanted / 2 <= len(frames) <= wanted
            assert max(frames) < row["frame_count"] == 60


def test_faces_are_crops_of_the_configured_size_inside_their_frames(finished_run: Path) -> None:
    faces = flatten_faces(read_table(str(finished_run), "faces"), ["width", "height"]).to_pylist()
    assert len(faces) > 60
    for face in faces:
        assert decode_jpeg(face["image"]).shape == (240, 240, 3)
        x1, y1, x2, y2 = face["box"]
        assert x1 < x2
        assert y1 < y2
        centre = ((x1 + x2) / 2, (y1 + y2) / 2)
        assert 0 < centre[0] < face["width"]
        assert 0 < centre[1] < face["height"]
        assert face["probability"] >= 0.9
        points = np.array(face["landmarks"]).reshape(5, 2)
        assert ((points > [x1 - 20, y1 - 20]) & (points < [x2 + 20, y2 + 20])).all()


def test_embeddings_are_those_of_a_plain_timm_loop(finished_run: Path) -> None:
    run = str(finished_run)
    _, spec = create_backbone("test_efficientnet", weights="random", image_size=64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain = timm.create_model("test_efficientnet", num_classes=0).eval()
    vectors = {
        (row["video_id"], row["frame_index"], row["face_index"]): row["vector"]
        for row in flatten_faces(read_table(run, "embeddings"), ["video_id"]).to_pylist()
    }
    faces = flatten_faces(read_table(run, "faces"), ["video_id"]).to_pylist()
    assert len(vectors) == len(faces)
    for face in faces[::5]:
        pixels = normalise(torch.from_numpy(decode_jpeg(face["image"])[None]), spec)
        with torch.inference_mode():
            expected = plain(pixels)[0].numpy()
        stored = np.array(vectors[face["video_id"], face["frame_index"], face["face_index"]], np.float32)
        np.testing.assert_allclose(stored, expected, rtol=2e-3, atol=2e-3)


def test_the_map_has_every_face_once(finished_run: Path) -> None:
    keys = ["video_id", "frame_index", "face_index"]
    faces = flatten_faces(read_table(str(finished_run), "faces"), ["video_id"]).select(keys).to_pylist()
    projection = read_table(str(finished_run), "projection").to_pylist()
    assert Counter(tuple(row[key] for key in keys) for row in projection) == Counter(
        tuple(face[key] for key in keys) for face in faces
    )
    for row in projection:
        assert len(row["pca"]) == 8
        assert np.isfinite([row["x"], row["y"], row["z"], row["membership"]]).all()
        assert decode_jpeg(row["thumbnail"]).shape == (64, 64, 3)


def test_the_share_of_faces_that_look_like_another_fold_s_is_in_the_summary(finished_run: Path) -> None:
    summary = json.loads((finished_run / "summaries" / "analyze.json").read_text())
    leaks = summary["leaks"]
    assert 0 < leaks["looked_up"] <= summary["rows"]
    assert leaks["share"] == pytest.approx(leaks["faces"] / leaks["looked_up"], abs=1e-6)
    [note] = [note for note in summary["notes"] if note.startswith("the same footage in two folds?")]
    assert f"{leaks['share']:.2%} of {leaks['looked_up']} labelled faces looked up" in note


def test_each_fold_has_a_model_that_never_saw_it(finished_run: Path) -> None:
    history = json.loads((finished_run / "models" / "history.json").read_text())
    assert [fold["fold"] for fold in history["folds"]] == [0, 1]
    for fold in history["folds"]:
        assert [epoch["epoch"] for epoch in fold["epochs"]] == [1]
        assert (finished_run / "models" / f"fold-{fold['fold']}.safetensors").is_file()


def test_the_scores_are_those_of_the_table(finished_run: Path) -> None:
    metrics = json.loads((finished_run / "evaluation" / "metrics.json").read_text())
    predictions = read_table(str(finished_run), "predictions").to_pandas()
    assert len(predictions) == metrics["videos"] == 24
    assert predictions.probability.between(0.01, 0.99).all()
    expected = log_loss(predictions.label == "FAKE", predictions.probability)
    assert metrics["scores"]["log_loss"]["value"] == pytest.approx(expected, abs=1e-9)
    assert sum(map(sum, metrics["confusion_matrix"])) == sum(row["n"] for row in metrics["reliability"]) == 24
    # The clip that was cut off and the empty one do not say how they were made.
    methods = {name: one["by_class"]["FAKE"] for name, one in metrics["subgroups"]["method"].items()}
    assert methods == {"face_swap": 7, "self_blend": 7, "unknown": 2}
    without_face = predictions[predictions.status != "ok"]
    assert without_face.faces_used.eq(0).all()
    assert without_face.raw_probability.isna().all()


def test_the_page_is_one_file_that_names_the_result(finished_run: Path) -> None:
    page = (finished_run / "report" / "index.html").read_text()
    metrics = json.loads((finished_run / "evaluation" / "metrics.json").read_text())
    assert f"{metrics['scores']['log_loss']['value']:.3f}" in page
    assert len(page) < 15e6


@pytest.mark.parametrize("job", ["index", "preprocess", "embed", "analyze", "train", "evaluate"])
def test_a_finished_job_does_nothing_and_says_so(finished_run: Path, job: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("*.parquet")}
    assert main([job, "--run", str(finished_run)]) == 0
    assert "nothing done" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in finished_run.rglob("*.parquet")} == before


@pytest.mark.parametrize(
    ("job", "setting"),
    [
        ("preprocess", "preprocess.margin=0.3"),
        ("embed", "preprocess.frames_real=7"),
        ("analyze", "analyze.perplexity=9"),
        ("train", "train.epochs=3"),
        ("evaluate", "evaluate.clip=0.1"),
    ],
)
def test_a_table_of_another_configuration_is_refused_with_the_field(
    finished_run: Path, job: str, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([job, "--run", str(finished_run), "--set", setting]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert setting.split("=")[0] in error


def test_resources_may_change_between_jobs(finished_run: Path) -> None:
    assert main(["preprocess", "--run", str(finished_run), "--set", "resources.videos_per_file=9"]) == 0


def test_summaries_count_what_the_tables_hold(finished_run: Path) -> None:
    summary = json.loads((finished_run / "summaries" / "preprocess.json").read_text())
    assert (summary["rows"], summary["ok"], summary["no_face"]) == (24, 21, 1)
    assert summary["errors"] == {"empty": 1, "not_a_video": 1}
    assert count_rows(str(finished_run), "projection") == sum(summary["faces"].values())
    rows = read_table(str(finished_run), "faces", ["label", "faces"]).to_pylist()
    for label in ("REAL", "FAKE"):
        assert summary["faces"][label] == sum(len(row["faces"]) for row in rows if row["label"] == label) > 0


def test_of_a_corpus_without_labels_all_but_training_and_scoring_is_done(
    demo_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, run = tmp_path / "corpus", tmp_path / "run"
    corpus.mkdir()
    shutil.copy(next(demo_corpus.rglob("*.mp4")), corpus / "clip.mp4")

    def analyze(_run: Run) -> Summary:
        return Summary(job="analyze", table="", seconds=0.0)

    monkeypatch.setattr(pipeline, "STEPS", (pipeline.index, analyze, pipeline.train, pipeline.evaluate))
    indexed = Run(str(run), load_config(None, corpus=str(corpus)))
    assert [summary.job for summary in pipeline.pipeline(indexed)] == ["index", "analyze"]
    assert "no video has a label" in capsys.readouterr().out


def test_a_report_leaves_the_configuration_of_its_run_alone(finished_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    before = (run / "config.yaml").read_text()
    assert main(["report", "--run", str(run), "--set", "preprocess.margin=0.1"]) == 0
    assert (run / "config.yaml").read_text() == before
