from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfd_ray.config import Config
from dfd_ray.errors import ConfigurationError
from dfd_ray.faces.crop import encode_jpeg
from dfd_ray.pipelines import evaluate, predict
from dfd_ray.report import explanations
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.storage import read_json, write_json
from dfd_ray.store.tables import read_table, with_metadata

VIDEOS = [("a.mp4", "REAL", 0, 0.9), ("b.mp4", "FAKE", 1, 0.8), ("c.mp4", "FAKE", 1, 0.3), ("d.mp4", None, None, 0.6)]
FRAMES = 5
BRIGHT, DARK = 100, 10


def scored_run(run: Path, **settings: dict[str, int]) -> Run:
    """Write the tables of a run that was scored, each with five frames of two people; return it."""
    config = Config.model_validate({"evaluate": {"explain": 2}} | settings)
    face = {"time": 0.0, "face_index": 0, "box": [0.0] * 4, "landmarks": [0.0] * 10, "probability": 0.99}
    pictures = [encode_jpeg(np.full((32, 32, 3), grey, np.uint8)) for grey in (BRIGHT, DARK)]
    faces = [
        face | {"frame_index": 10 * k, "face_index": i, "image": picture}
        for k in range(FRAMES)
        for i, picture in enumerate(pictures)
    ]
    rows: dict[str, list[dict[str, Any]]] = {"manifest": [], "faces": [], "scores": [], "predictions": []}
    for name, label, fold, probability in VIDEOS:
        known = {"video_id": name, "label": label, "fold": fold, "status": "ok"}
        rows["manifest"].append(known | {"uri": name, "group": name})
        rows["faces"].append(known | {"faces": faces})
        rows["scores"].append(known | {"log_odds": [0.0] * len(faces)})
        rows["predictions"].append(
            known | {"probability": probability, "raw_probability": probability, "faces_used": len(faces)}
        )
    for table, found in rows.items():
        (run / table).mkdir(parents=True)
        for number, part in enumerate((found[:2], found[2:])):
            arrow = pa.Table.from_pylist(part, schema=with_metadata(SCHEMAS[table], table, config))
            pq.write_table(arrow, run / table / f"part-{number}.parquet")
    write_json(str(run / "evaluation" / "metrics.json"), {"scores": {}})
    return Run(str(run), config)


@pytest.fixture
def heated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stand in for the classifiers and for Grad-CAM, which is an extra; return the folds whose classifiers were asked."""
    asked: list[int] = []

    def explain_face(module: int, spec: None, image: Any) -> Any:
        assert image.mean() == pytest.approx(BRIGHT, abs=5), "not the most probable face of its frame"
        asked.append(module)
        return np.ones(image.shape[:2], np.float32)

    monkeypatch.setattr(explanations, "list_trained_folds", lambda run: [0, 1])
    monkeypatch.setattr(explanations, "read_model", lambda run, fold: (fold, None, None))
    monkeypatch.setattr(explanations, "explain_face", explain_face)
    monkeypatch.setattr(evaluate, "check_grad_cam", lambda: None)
    return asked


def test_the_largest_errors_are_explained_by_the_classifier_that_scored_them(tmp_path: Path, heated: list[int]) -> None:
    explanations.explain_errors(scored_run(tmp_path / "run"))
    stored = read_json(str(tmp_path / "run" / "explanations.json"))["explanations"]
    assert [one["video_id"] for one in stored] == ["a.mp4", "c.mp4"]  # 0.9 of a REAL video, 0.3 of a FAKE one
    assert heated == [0] * explanations.FACES + [1] * explanations.FACES
    assert all(len(one["frames"]) == len(one["pictures"]) == explanations.FACES for one in stored)


def test_a_video_without_a_label_is_explained_by_all_classifiers(tmp_path: Path, heated: list[int]) -> None:
    explanations.explain_errors(scored_run(tmp_path / "run", evaluate={"explain": 4}))
    stored = read_json(str(tmp_path / "run" / "explanations.json"))["explanations"]
    assert stored[-1]["video_id"] == "d.mp4"
    assert sorted(heated[-2 * explanations.FACES :]) == [0] * explanations.FACES + [1] * explanations.FACES


def test_a_run_that_is_scored_already_is_explained_when_asked(tmp_path: Path, heated: list[int]) -> None:
    run = scored_run(tmp_path / "run")
    summary = evaluate.evaluate(run)
    assert summary.notes == ["already complete; nothing done"]
    assert (tmp_path / "run" / "explanations.json").exists()
    assert heated


def test_what_is_explained_already_is_not_explained_again(tmp_path: Path, heated: list[int]) -> None:
    run = scored_run(tmp_path / "run")
    explanations.explain_errors(run)
    heated.clear()
    explanations.explain_errors(run)
    assert not heated
    explanations.explain_errors(Run(run.location, Config.model_validate({"evaluate": {"explain": 3}})))
    assert heated


def test_new_videos_are_explained_once(tmp_path: Path, heated: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    run = scored_run(tmp_path / "run", predict={"explain": 2})
    searched: list[int] = []
    faces = {row["video_id"]: row for row in read_table(str(tmp_path / "run"), "faces").to_pylist()}

    def find_faces_of(wanted: pa.Table, *others: Any) -> Any:
        searched.append(len(wanted))
        return SimpleNamespace(take_all=lambda: [faces[name] for name in wanted.column("video_id").to_pylist()])

    monkeypatch.setattr(predict, "ray_session", lambda run: nullcontext())
    monkeypatch.setattr("ray.data.from_arrow", lambda table: table)
    monkeypatch.setattr(predict, "find_faces_of", find_faces_of)
    predictions = read_table(str(tmp_path / "run"), "predictions")
    page = predict.explain_new(run, run, predictions)
    assert Path(page).exists()
    assert predict.explain_new(run, run, predictions) == page
    assert searched == [2]
    changed = predictions.set_column(
        predictions.column_names.index("probability"), "probability", pa.array([0.1, 0.95, 0.3, 0.6])
    )
    predict.explain_new(run, run, changed)
    assert searched == [2, 2]


def test_without_the_package_it_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    run = Run(str(tmp_path), Config.model_validate({"evaluate": {"explain": 1}}))
    with pytest.raises(ConfigurationError, match=r"evaluate\.explain and predict\.explain need a package: pip install"):
        evaluate.evaluate(run)
