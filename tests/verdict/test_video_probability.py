from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from dfd_ray.config import load_config
from dfd_ray.errors import RunError
from dfd_ray.labels import TRAIN_ONLY
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.verdict.aggregation import METHODS, Method
from dfd_ray.verdict.predictions import predict_own
from dfd_ray.verdict.video_probability import (
    aggregate_videos,
    calibrate_videos,
    choose_aggregation,
    choose_judged,
    count_judged_frames,
    list_methods,
    refuse_not_finite,
)

Floats = npt.NDArray[np.float64]


def tables_of(videos: dict[str, list[list[float]]]) -> tuple[pa.Table, pa.Table]:
    """Return rows of `scores/` and of `faces/` for the log-odds of the faces of each frame of each video."""
    scores = [{"video_id": name, "status": "ok", "log_odds": [*chain(*frames)]} for name, frames in videos.items()]
    faces = [
        {"video_id": name, "faces": [{"frame_index": 10 * i} for i, frame in enumerate(frames) for _ in frame]}
        for name, frames in videos.items()
    ]
    return pa.Table.from_pylist(scores, schema=SCHEMAS["scores"]), pa.Table.from_pylist(faces[::-1])


def sampled_video(name: str, shown: set[int], combs: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a video's rows of `scores/` and of `faces/`: of its 40 frames those of so many combs, a face in the `shown`."""
    sampled = [list(range((2 + 3 * comb) % 5, 40, 5)) for comb in range(combs)]
    faces = [index for index in sorted(index for comb in sampled for index in comb) if index in shown]
    score = {"video_id": name, "status": "ok" if faces else "no_face", "log_odds": [3.0 - index / 4 for index in faces]}
    return score, {"video_id": name, "sampled": sampled, "faces": [{"frame_index": index} for index in faces]}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shown", [range(10), range(25, 40), range(2, 40, 10), [2], range(40)])
def test_where_a_face_shows_in_few_frames_a_real_video_is_judged_as_a_fake_one(shown: Iterable[int], method: Method) -> None:
    rows = [sampled_video("real", set(shown), 5), sampled_video("fake", set(shown), 1)]
    scores, faces = (pa.Table.from_pylist(list(one)) for one in zip(*rows, strict=True))
    scores = scores.select(["video_id", "status", "log_odds"])
    videos = pa.table({"video_id": ["real", "fake"], "label": ["REAL", "FAKE"], "fold": [0, 0], "group": ["a", "b"]})
    config = load_config(None, [f"evaluate.aggregation={method}", "evaluate.calibrate=false"])
    real, fake = predict_own(videos, scores, faces, [0], config)[0].to_pylist()
    for column in ("faces_used", "raw_probability", "status"):
        assert real[column] == fake[column], column
    assert fake["faces_used"] == len(set(shown) & set(range(2, 40, 5)))


def test_a_real_video_with_faces_only_in_frames_that_do_not_count_is_judged_as_one_without() -> None:
    rows = [sampled_video(name, {3}, combs) for name, combs in (("real", 5), ("fake", 1))]
    scores, faces = (pa.Table.from_pylist(list(one)) for one in zip(*rows, strict=True))
    videos = pa.table({"video_id": ["real", "fake"], "label": ["REAL", "FAKE"], "fold": [0, 0], "group": ["a", "b"]})
    for row in predict_own(videos, scores, faces, [0], load_config())[0].to_pylist():
        assert (row["faces_used"], row["raw_probability"], row["status"]) == (0, None, "no_face")


def test_the_confident_faces_are_a_share_of_the_frames_that_were_searched() -> None:
    score, video = sampled_video("short", {2, 7, 12}, 1)
    scores = pa.Table.from_pylist([score])
    rows = [video | {"sampled": [[2, 7, 12]]}, video | {"sampled": [[2, 7, 12, *range(17, 22)]]}]
    searched = [choose_judged(scores, pa.Table.from_pylist([row]), load_config()).frames.tolist() for row in rows]
    assert searched == [[3], [8]]


def test_what_lost_frames_left_of_a_comb_counts_and_no_other_comb() -> None:
    score, video = sampled_video("broken", {2, 0, 5}, 2)
    video["sampled"] = [[2], [0, 5]]
    judged = choose_judged(pa.Table.from_pylist([score]), pa.Table.from_pylist([video]), load_config())
    assert [one.tolist() for one in judged.log_odds] == [[2.5]]


def only(raw: Floats) -> dict[Method, Floats]:
    return {"mean": raw}


def test_the_number_of_frames_that_count_does_not_tell_the_label() -> None:
    sure = [[3.0]]
    scores, faces = tables_of({"real": sure * 20 + [[-3.0]] * 20, "fake": sure * 4 + [[-3.0]] * 4})
    most = count_judged_frames(load_config())
    counted = choose_judged(scores, faces, load_config())
    assert [len(log_odds) for log_odds in counted.log_odds] == [most, most] == [8, 8]
    real, fake = aggregate_videos(scores, counted, "confident")
    assert real == pytest.approx(fake) == pytest.approx(1 / (1 + np.exp(-3))), "four of eight are surely FAKE: that is many"


@pytest.mark.parametrize("frames", [5, 8, 16, 40])
def test_of_two_people_in_every_picture_both_count(frames: int) -> None:
    scores, faces = tables_of({"two": [[3.0, -1.0]] * frames, "none": [], "one": [[1.0]] * frames})
    two, none, one = choose_judged(scores, faces, load_config()).log_odds
    assert two.tolist() == [3.0, -1.0] * min(frames, 8)
    assert none.tolist() == []
    assert one.tolist() == [1.0] * min(frames, 8)


def test_frames_that_count_are_spread_evenly() -> None:
    scores, faces = tables_of({"video": [[float(i)] for i in range(40)]})
    assert choose_judged(scores, faces, load_config()).log_odds[0].tolist() == [2.0, 7.0, 12.0, 17.0, 22.0, 27.0, 32.0, 37.0]


def test_an_aggregation_is_chosen_by_the_other_folds_alone() -> None:
    label, fold = np.tile([0, 1], 20), np.repeat([0, 1], 20)
    telling, useless = 0.2 + 0.6 * label, np.full(40, 0.5)
    # Each is right on one fold, and says nothing on the other: who chose by a fold's own videos would be right on both.
    raw: dict[Method, Floats] = {
        "mean": np.where(fold == 0, telling, useless),
        "confident": np.where(fold == 1, telling, useless),
    }
    settings = load_config(None, ["evaluate.aggregation=auto"]).evaluate
    judged = calibrate_videos(raw, label, fold, pa.table({"group": [str(i) for i in range(40)]}), settings)
    np.testing.assert_array_equal(judged.raw, useless)
    assert len(set(judged.probability[fold == 0])) == 1


@pytest.mark.parametrize("calibrate", [True, False])
def test_new_videos_get_the_aggregation_of_least_loss_on_all(calibrate: bool) -> None:
    label = np.tile([0, 1], 20)
    raw: dict[Method, Floats] = {"mean": np.full(40, 0.5), "mean_logit": 0.1 + 0.8 * label, "confident": 0.4 + 0.2 * label}
    raw["confident"][0] = 1.0
    settings = load_config(None, [f"evaluate.calibrate={calibrate}"]).evaluate
    method, calibration = choose_aggregation(raw, label, np.ones(40, bool), settings)
    assert method == "mean_logit"
    assert (calibration is not None) == calibrate


def test_auto_tries_every_aggregation_and_a_name_itself() -> None:
    assert list_methods(load_config(None, ["evaluate.aggregation=auto"]).evaluate) == METHODS
    assert list_methods(load_config(None, ["evaluate.aggregation=confident"]).evaluate) == ("confident",)


def test_videos_that_are_only_trained_on_count_for_no_probability() -> None:
    raw = np.array([0.2, 0.9, 0.4, 0.7, np.nan, np.nan])
    label, fold = np.array([0, 1, 0, 1, 1, 0]), np.array([0, 0, 1, 1, 1, TRAIN_ONLY])
    videos = pa.table({"group": list("abcdef")})
    settings = load_config().evaluate
    with_extra = calibrate_videos(only(raw), label, fold, videos, settings)
    without = calibrate_videos(only(raw[:5]), label[:5], fold[:5], videos.slice(0, 5), settings)
    np.testing.assert_array_equal(with_extra.probability[:5], without.probability)
    assert with_extra.calibration == without.calibration


def test_one_fold_is_calibrated_by_halves_that_both_have_both_classes() -> None:
    # Names in whose order REAL and FAKE take turns, as in FaceForensics++ without its links.
    videos = pa.table({"group": [name for number in range(40) for name in (f"{number:03}", f"{number:03}_{number + 1:03}")]})
    label = np.tile([0, 1], 40)
    raw = np.random.default_rng(0).uniform(0.6, 0.8, 80) + 0.1 * label
    judged = calibrate_videos(only(raw), label, np.zeros(80, np.int64), videos, load_config().evaluate)
    assert log_loss(label, judged.probability) < log_loss(label, raw)
    assert roc_auc_score(label, judged.probability) > 0.7


def test_one_fold_with_too_few_of_a_class_for_two_halves_is_not_calibrated() -> None:
    raw, label = np.array([0.2, 0.9, 0.4, 0.7]), np.array([0, 1, 1, 1])
    videos = pa.table({"group": list("abcd")})
    judged = calibrate_videos(only(raw), label, np.zeros(4, np.int64), videos, load_config().evaluate)
    np.testing.assert_array_equal(judged.probability, raw)
    assert judged.calibration is not None, "new videos are calibrated by all of these"


def test_a_face_without_a_number_is_one_line_with_its_video() -> None:
    scores, _ = tables_of({"a": [[1.0]], "b": [], "c": [[0.0], [float("nan"), 2.0]], "d": [[float("inf")]]})
    with pytest.raises(RunError, match=r"scores: the classifiers gave 2 of 5 faces no number, such as one of c:"):
        refuse_not_finite(scores, "scores")
    refuse_not_finite(scores.slice(0, 2), "scores")
