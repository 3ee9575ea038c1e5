"""What a probability is made from: each model's scores, by the line that was fitted to that model's scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from scipy.special import expit, logit
from sklearn.metrics import log_loss

from dfd_ray.config import load_config
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.verdict.aggregation import aggregate
from dfd_ray.verdict.calibration import Calibration, fit_calibration
from dfd_ray.verdict.metrics import score_videos
from dfd_ray.verdict.predictions import Judgement, describe_intervals, describe_unscored, predict_new, predict_own

Floats = npt.NDArray[np.float64]
SCALE, SHIFT = np.array([0.5, 1.0, 4.0]), np.array([-2.0, 0.0, 5.0])
"""Three models that know the same and say it in other numbers."""
CONFIG = load_config(None, ["evaluate.clip=0.0001", "preprocess.frames_fake=4"])
FRAMES = 4


def draw_videos(count: int, seed: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Return labels (n,), four fifths FAKE, and the log-odds (n, models, faces)."""
    random = np.random.default_rng(seed)
    label = (random.random(count) < 0.8).astype(np.int64)
    known = (2.0 * label - 1)[:, None, None] + random.normal(size=(count, 1, FRAMES)) + random.normal(size=(count, 1, 1))
    return label, SCALE[:, None] * (known + 0.3 * random.normal(size=(count, 3, FRAMES))) + SHIFT[:, None]


def rows_of(log_odds: Floats, fold: list[int | None], status: str = "ok") -> pa.Table:
    """Return rows of `scores/`: the model of its fold scores a video, and all score one of no fold."""
    rows: list[dict[str, Any]] = []
    for number, (one, video) in enumerate(zip(fold, log_odds, strict=True)):
        row: dict[str, Any] = {"video_id": f"{number:05}.mp4", "status": status, "log_odds": video[0 if one is None else one]}
        rows.append(row | ({"log_odds": video.mean(axis=0), "log_odds_by_model": list(video)} if one is None else {}))
    return pa.Table.from_pylist(rows, schema=SCHEMAS["scores"])


def tables_of(label: npt.NDArray[np.int64], fold: list[int | None]) -> tuple[pa.Table, pa.Table]:
    """Return rows of `manifest/` and of `faces/`, every video a group of its own."""
    names = [f"{number:05}.mp4" for number in range(len(label))]
    words = [None if one < 0 else ("REAL", "FAKE")[one] for one in label]
    videos = pa.table(
        {"video_id": names, "label": pa.array(words, pa.string()), "group": names, "fold": pa.array(fold, pa.int32())}
    )
    faces = [{"video_id": name, "faces": [{"frame_index": 10 * i} for i in range(FRAMES)]} for name in names]
    return videos, pa.Table.from_pylist(faces)


def judge_drawn(count: int, config: Any = CONFIG) -> tuple[Judgement, npt.NDArray[np.int64], Floats, npt.NDArray[np.int64]]:
    label, log_odds = draw_videos(count, seed=1)
    fold = np.arange(count) % 3
    videos, faces = tables_of(label, fold.tolist())
    _, verdict = predict_own(videos, rows_of(log_odds, fold.tolist()), faces, [0, 1, 2], config)
    facts = Judgement(verdict.aggregation, verdict.calibration, verdict.models, FRAMES, verdict.remarks)
    assert Judgement.from_dict(facts.to_dict()) == facts
    return facts, label, log_odds, fold


def test_each_model_is_calibrated_by_its_own_held_out_scores_and_a_prediction_is_their_mean() -> None:
    facts, label, log_odds, fold = judge_drawn(1500)
    assert facts.models is not None
    raw = np.array([[aggregate(one, "mean") for one in video] for video in log_odds])
    for model, line in facts.models.items():
        own = raw[fold == model, model]
        alone = fit_calibration(own, label[fold == model]).with_prior(line.base_rate)
        others = fit_calibration(np.concatenate([raw[fold == one, one] for one in {0, 1, 2} - {model}]), label[fold != model])
        assert np.abs(line.apply(own) - alone.apply(own)).mean() < 0.02
        assert np.abs(others.apply(own) - alone.apply(own)).mean() > 0.04
    _, fresh = draw_videos(50, seed=2)
    table, remarks = predict_new(rows_of(fresh, [None] * 50), facts, CONFIG, [0, 1, 2])
    lines = [facts.models[model].with_prior(0.5) for model in range(3)]
    calibrated = [
        [logit(line.apply(aggregate(one, "mean"))) for one, line in zip(video, lines, strict=True)] for video in fresh
    ]
    np.testing.assert_allclose(table.column("probability").to_numpy(), expit(np.mean(calibrated, axis=1)), rtol=1e-6)
    assert remarks == []


def test_models_that_say_it_in_other_numbers_are_worth_more_when_each_is_calibrated() -> None:
    """As before, one line for all and the mean of the raw log-odds: the loudest model decides, by a line of others."""
    facts, _, _, _ = judge_drawn(600)
    label, fresh = draw_videos(4000, seed=3)
    config = load_config(None, ["predict.prior=null", "preprocess.frames_fake=4"])
    found = predict_new(rows_of(fresh, [None] * len(label)), facts, config, [0, 1, 2])[0].column("probability").to_numpy()
    assert facts.calibration is not None
    before = facts.calibration.apply([aggregate(video.mean(axis=0), "mean") for video in fresh])
    each = [-np.log(np.where(label == 1, one, 1 - one)) for one in (np.clip(before, 0.01, 0.99), found)]
    gain = each[0] - each[1]
    assert gain.mean() - 1.96 * gain.std() / np.sqrt(len(gain)) > 0.04
    assert abs(found.mean() - label.mean()) < 0.03


def test_the_loss_of_the_mean_is_at_most_the_mean_loss_of_the_models() -> None:
    facts, _, _, _ = judge_drawn(300)
    assert facts.models is not None
    label, fresh = draw_videos(500, seed=4)
    config = load_config(None, ["predict.prior=null", "evaluate.clip=0", "preprocess.frames_fake=4"])
    found = predict_new(rows_of(fresh, [None] * 500), facts, config, [0, 1, 2])[0].column("probability")
    alone = [facts.models[k].apply([aggregate(video[k], "mean") for video in fresh]) for k in range(3)]
    assert log_loss(label, found.to_numpy()) <= np.mean([log_loss(label, one) for one in alone])


def test_a_video_without_a_label_in_the_corpus_is_judged_as_a_new_one() -> None:
    label, log_odds = draw_videos(301, seed=1)
    label[-1] = -1
    fold: list[int | None] = [*(np.arange(300) % 3).tolist(), None]
    videos, faces = tables_of(label, fold)
    predictions, verdict = predict_own(videos, rows_of(log_odds, fold), faces, [0, 1, 2], CONFIG)
    facts = Judgement(verdict.aggregation, verdict.calibration, verdict.models)
    config = load_config(None, ["predict.prior=null", "evaluate.clip=0.0001", "preprocess.frames_fake=4"])
    [expected] = predict_new(rows_of(log_odds[-1:], [None]), facts, config, [0, 1, 2])[0].to_pylist()
    for name in ("probability", "raw_probability", "faces_used"):
        assert predictions.column(name)[-1].as_py() == pytest.approx(expected[name])


def test_one_model_has_the_line_of_all_that_it_scored() -> None:
    label, log_odds = draw_videos(200, seed=1)
    videos, faces = tables_of(label, [0] * 200)
    _, verdict = predict_own(videos, rows_of(log_odds, [0] * 200), faces, [0], CONFIG)
    assert verdict.calibration is not None
    assert verdict.models == {0: verdict.calibration.with_prior(verdict.calibration.base_rate)}
    assert verdict.remarks == []


def test_a_file_of_an_older_version_calibrates_each_model_by_its_one_line() -> None:
    line = Calibration(0.5, -1.0, 0.8)
    facts = Judgement.from_dict({"calibration": line.to_dict(), "aggregation": "mean"})
    _, fresh = draw_videos(5, seed=2)
    found = predict_new(rows_of(fresh, [None] * 5), facts, CONFIG, [0, 1, 2])[0].column("probability").to_numpy()
    lines = [[logit(line.with_prior(0.5).apply(aggregate(one, "mean"))) for one in video] for video in fresh]
    np.testing.assert_allclose(found, expit(np.mean(lines, axis=1)), rtol=1e-6)


def test_scores_that_kept_the_mean_of_the_models_only_are_refused() -> None:
    _, fresh = draw_videos(2, seed=2)
    scores = rows_of(fresh, [None] * 2).drop_columns("log_odds_by_model")
    with pytest.raises(ValueError, match="lack the scores of each of the 3 models"):
        predict_new(scores, None, CONFIG, [0, 1, 2])
    label, fold = np.array([1, -1]), [0, None]
    videos, faces = tables_of(label, fold)
    old = rows_of(fresh, fold).drop_columns("log_odds_by_model")
    with pytest.raises(ValueError, match="lack the scores"):
        predict_own(videos, old, faces, [0, 1, 2], CONFIG)


@pytest.mark.parametrize(
    ("settings", "label", "fold", "words"),
    [
        (
            (),
            [0, 1, 1, 1, 1],
            [0] * 5,
            "not calibrated: one fold alone is scored, and its groups cannot be split in two halves",
        ),
        ((), [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1], "the videos that calibrate them are all REAL"),
        (("evaluate.calibrate=false",), [0, 1] * 4, [0, 1] * 4, "evaluate.calibrate = false"),
        ((), [-1, -1], [None, None], "no labelled video was scored"),
    ],
)
def test_what_is_not_calibrated_is_said(
    settings: tuple[str, ...], label: list[int], fold: list[int | None], words: str
) -> None:
    _, log_odds = draw_videos(len(label), seed=1)
    videos, faces = tables_of(np.array(label), fold)
    _, verdict = predict_own(videos, rows_of(log_odds, fold), faces, [0, 1, 2], load_config(None, settings))
    assert words in " ".join(verdict.remarks)
    assert verdict.remarks
    if not verdict.calibration:
        facts = Judgement.from_dict(Judgement(verdict.aggregation, None, {}, 8, verdict.remarks).to_dict())
        _, remarks = predict_new(rows_of(log_odds[:1], [None]), facts, CONFIG, [0, 1, 2])
        assert words in remarks[0]
        assert "predict.prior has no effect" in remarks[0]


def test_scores_that_point_the_wrong_way_are_said_to_be_ignored() -> None:
    label, log_odds = draw_videos(120, seed=1)
    fold = (np.arange(120) % 2).tolist()
    videos, faces = tables_of(label, fold)
    _, verdict = predict_own(videos, rows_of(-log_odds, fold), faces, [0, 1], CONFIG)
    assert [remark.split(":")[1] for remark in verdict.remarks] == [
        " among the videos that calibrate them, a higher score is no more often FAKE"
    ] * 2
    _, remarks = predict_new(
        rows_of(log_odds[:1, :2], [None]), Judgement("mean", verdict.calibration, verdict.models), CONFIG, [0, 1]
    )
    assert remarks[0].startswith("by 2 of 2 models every video has the same probability")


def test_new_videos_without_a_face_are_counted() -> None:
    _, fresh = draw_videos(3, seed=2)
    table, remarks = predict_new(rows_of(fresh, [None] * 3, "no_face"), None, CONFIG, [0, 1, 2])
    assert set(table.column("probability").to_pylist()) == {0.5}
    assert "3 videos without a score, broken or without a face, given predict.fallback_probability = 0.5" in remarks[-1]


LINE = {"slope": 1.0, "intercept": 0.0, "base_rate": 0.5}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "it holds no object"),
        ({"aggregation": "mean"}, "it has no calibration"),
        ({"calibration": None}, "it has no aggregation"),
        ({"calibration": None, "aggregation": "median"}, "its aggregation is 'median'"),
        ({"calibration": {"slope": 1.0, "intercept": 0.0}, "aggregation": "mean"}, "it has no number base_rate"),
        ({"calibration": LINE | {"slope": "1"}, "aggregation": "mean"}, "its slope is '1'"),
        ({"calibration": LINE | {"slope": -1}, "aggregation": "mean"}, "no calibration: slope -1.0"),
        ({"calibration": [1, 2], "aggregation": "mean"}, "expected slope, intercept, base_rate"),
        ({"calibration": LINE, "aggregation": "mean", "models": {"x": LINE}}, "its models are"),
        ({"calibration": LINE, "aggregation": "mean", "models": {"0": {}}}, "it has no number slope"),
        ({"calibration": LINE, "aggregation": "mean", "frames": "8"}, "its frames are '8'"),
    ],
)
def test_a_calibration_that_is_none_is_said_in_words(content: object, words: str) -> None:
    with pytest.raises(ValueError) as raised:
        Judgement.from_dict(content)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_model_without_a_calibration_is_said() -> None:
    facts = Judgement("mean", Calibration(1, 0), {0: Calibration(1, 0)})
    with pytest.raises(ValueError, match="no calibration of the model without fold 2"):
        facts.list_lines([0, 2], 0.5)


@pytest.mark.parametrize(
    ("groups", "bootstrap", "words"),
    [
        (60, 100, []),
        (30, 100, ["the intervals are rough: they draw from 15 groups with a REAL video and 15 groups with a FAKE video"]),
        (2, 100, ["the intervals are rough", "draws of the groups, which lost a class"]),
        (1, 100, ["there is one group only"]),
        (60, 0, ["evaluate.bootstrap = 0"]),
    ],
)
def test_what_limits_the_intervals_is_said(groups: int, bootstrap: int, words: list[str]) -> None:
    group = np.arange(120) % groups
    label = group % 2 if groups > 1 else np.arange(120) % 2
    remarks = describe_intervals(score_videos(label, np.full(120, 0.5), group, bootstrap=bootstrap))
    assert len(remarks) == len(words)
    assert all(word in remark for word, remark in zip(words, remarks, strict=True))


def test_one_class_is_said() -> None:
    remarks = describe_intervals(score_videos(np.ones(50, int), np.full(50, 0.5), np.arange(50), bootstrap=20))
    assert remarks == ["no REAL video is judged: scores that need both classes are missing"]


def test_videos_that_no_model_scored_are_counted() -> None:
    rows = [
        ("REAL", 0.3, "ok"),
        ("FAKE", 0.7, "no_face"),
        ("FAKE", 0.7, "error"),
        ("FAKE", None, "in_training"),
        (None, 0.5, "ok"),
    ]
    predictions = pa.Table.from_pylist([dict(zip(("label", "probability", "status"), row, strict=True)) for row in rows])
    blind, seen = describe_unscored(predictions)
    assert blind.startswith("2 of the 3 videos are broken or show no face, so no model scored them")
    assert seen == "1 labelled video not judged, because every model has learnt from the fold"
    assert describe_unscored(predictions.slice(0, 1)) == []
