from __future__ import annotations

import base64
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from dfd_ray.config import Config
from dfd_ray.report.data import read_run, space_evenly
from dfd_ray.report.figures import draw_reliability, draw_roc_curve, draw_training_curves
from dfd_ray.report.gallery import choose_videos, sample_videos
from dfd_ray.report.geometry import place_on_crop
from dfd_ray.report.images import make_sprites
from dfd_ray.report.points import round_coordinates, sample_by_cluster
from dfd_ray.report.scores import (
    compare_by_bin,
    list_scores,
    score_base_rate,
    sort_by_error,
    summarise_predictions,
    summarise_scores,
)
from dfd_ray.store.schemas import SCHEMAS

Page = tuple[str, dict[str, Any]]


def test_the_overlay_of_a_box_inside_the_frame_is_centred() -> None:
    # 100 x 120 widened by 0.6: 30 and 36 pixels a side, so the crop is 170..330 x 64..256, that is 160 x 192 pixels.
    overlay = place_on_crop([200, 100, 300, 220], [250, 160, 200, 100], 0.6, 640, 360)
    assert overlay is not None
    assert (overlay.x, overlay.y, overlay.width, overlay.height) == (18.75, 18.75, 62.5, 62.5)
    assert overlay.landmarks == [(50.0, 50.0), (18.75, 18.75)]


def test_the_overlay_of_a_box_over_the_edge_is_that_of_the_clipped_crop() -> None:
    # Widened: -40..120 x -60..180, clipped to 0..120 x 0..150. Both the box and a landmark lie outside the frame.
    overlay = place_on_crop([-10, -15, 90, 135], [-10, 75], 0.6, 400, 150)
    assert overlay is not None
    assert overlay.x == pytest.approx(100 * -10 / 120, abs=0.01)
    assert overlay.y == pytest.approx(100 * -15 / 150, abs=0.01)
    assert overlay.width == pytest.approx(100 * 100 / 120, abs=0.01)
    assert overlay.height == pytest.approx(100.0, abs=0.01)
    assert overlay.landmarks == [(pytest.approx(-8.33, abs=0.01), 50.0)]


def test_a_box_outside_the_frame_has_no_overlay() -> None:
    assert place_on_crop([700, 10, 720, 30], [], 0.0, 640, 360) is None


def test_positions_are_spread_from_first_to_last() -> None:
    assert space_evenly(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert space_evenly(11, 3).tolist() == [0, 5, 10]
    assert space_evenly(11, 1).tolist() == [0]
    assert space_evenly(11, 0).tolist() == []


def test_a_sample_keeps_the_share_of_every_cluster() -> None:
    cluster = np.repeat([-1, 0, 1], [500, 300, 200]).astype(np.int32)
    chosen = sample_by_cluster(np.random.default_rng(0).permutation(cluster), 100)
    assert len(chosen) == len(set(chosen.tolist())) == 100
    found = np.random.default_rng(0).permutation(cluster)[chosen]
    assert [int((found == one).sum()) for one in (-1, 0, 1)] == [50, 30, 20]


def test_a_small_cluster_does_not_vanish_from_a_sample() -> None:
    cluster = np.repeat(np.arange(5), [991, 3, 2, 2, 2]).astype(np.int32)
    chosen = sample_by_cluster(cluster, 20)
    assert len(chosen) == 20
    # One point is left over after rounding down: it goes to the largest of those that have none.
    assert set(cluster[chosen].tolist()) == {0, 1}


def test_the_limits_hold_and_are_said(whole_run: Path, page_of: Callable[..., Page]) -> None:
    page, data = page_of(whole_run, max_points=50, sample_videos=4, max_rows=7, clusters=2)
    assert "<b>50 of 208 faces</b> are drawn, sampled evenly" in page
    assert len(data["map-data"]["cluster"]) == 50
    assert page.count('<figure class="video">') == 4
    assert "These are faces from 4 videos, evenly chosen from the 37 that have a face." in page
    assert len(data["table-data"]["video_id"]) == 7
    assert "The table shows <b>7 of 40 videos</b>: the largest errors." in page
    assert page.count('class="sheet"') == 2
    assert "These are the 2 largest of 10 clusters" in page


def test_nothing_may_be_asked_for_either(whole_run: Path, page_of: Callable[..., Page]) -> None:
    page, _ = page_of(whole_run, sample_videos=0, clusters=0)
    assert '<section id="faces">' not in page
    assert "data-absent" not in page
    assert 'class="sheet"' not in page


def test_the_map_tells_each_point_once(whole_page: Page) -> None:
    data = whole_page[1]["map-data"]
    assert [len(axis) for axis in data["tsne"] + data["pca"]] == [208] * 6
    assert len(data["videos"]) == len(data["probability"]) == 37
    assert sorted(data["sprite"]) == list(range(208))
    assert data["sheets"][0].startswith("data:image/jpeg;base64,")
    first = data["video"].index(data["videos"].index("part_1/video_0004.mp4"))
    assert (data["label"][first], data["frame"][first]) == ("REAL", 0)


def test_a_flat_map_has_two_axes(new_run: Callable[..., Path], page_of: Callable[..., Page]) -> None:
    _, data = page_of(new_run(8, 2))
    assert len(data["map-data"]["tsne"]) == 2


def test_the_quality_of_both_pictures_is_beside_them(whole_page: Page) -> None:
    page = whole_page[0]
    assert '<th scope="row">Trustworthiness</th><td class="num">0.875</td><td class="num">0.991</td>' in page
    assert '<th scope="row">Silhouette</th><td></td><td class="num">&ndash;</td>' in page
    assert "Here that share is 0.519." in page  # 108 of 208 faces are FAKE


def test_footage_that_is_in_two_folds_is_named(whole_page: Page) -> None:
    page = whole_page[0]
    assert '<td>a&lt;b&gt;.mp4</td><td>c.mp4</td><td class="num">1,234</td><td class="num">0.250</td>' in page
    assert "There are 21 such pairs; the table shows the 1 with the most faces." in page


def test_sprites_shrink_until_they_fit() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    picture = cv2.imencode(".jpg", noise)[1].tobytes()
    assert make_sprites([picture] * 40, 10**9).cell == 48
    small = make_sprites([picture] * 40, 40_000)
    assert small.cell < 48
    assert sum(map(len, small.sheets)) <= 40_000


def test_sprites_are_where_the_script_looks_for_them() -> None:
    pictures = [cv2.imencode(".png", np.full((8, 8, 3), i % 250, np.uint8))[1].tobytes() for i in range(1030)]
    sprites = make_sprites([*pictures, None, b"no picture"], 10**9)
    assert len(sprites.sheets) == 2
    sheet = cv2.imdecode(np.frombuffer(base64.b64decode(sprites.sheets[1].split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    for number in (1024, 1029):
        column = number % 1024
        found = sheet[sprites.cell // 2, column * sprites.cell + sprites.cell // 2, 0]
        assert abs(int(found) - number % 250) < 12
    assert abs(int(sheet[20, 6 * sprites.cell + 20, 0]) - 128) < 12  # what is no picture is grey


def test_coordinates_keep_what_an_eye_sees() -> None:
    assert round_coordinates([0.0, 1234.5678]) == [0.0, 1234.6]
    assert round_coordinates([0.0, 0.00012345]) == [0.0, 0.00012345]
    assert round_coordinates([1.0, None, math.nan, 1.0]) == [1.0, None, None, 1.0]
    assert round_coordinates([None, None]) is None


def outcomes(labels: list[str | None], faces: list[int]) -> pa.Table:
    names = pa.array([str(i) for i in range(len(labels))])
    return pa.table({"video_id": names, "label": pa.array(labels, pa.string()), "face_count": pa.array(faces, pa.int32())})


@pytest.mark.parametrize(
    ("labels", "limit", "expected"),
    [
        (["REAL"] * 10 + ["FAKE"] * 90, 8, {"REAL": 4, "FAKE": 4}),
        (["REAL"] * 2 + ["FAKE"] * 90, 8, {"REAL": 2, "FAKE": 6}),
        (["REAL"] * 90 + ["FAKE"] * 2, 7, {"REAL": 5, "FAKE": 2}),
        (["REAL"] * 90 + ["FAKE"] * 90, 1, {"FAKE": 1}),
        ([None] * 20, 8, {None: 8}),
        (["FAKE", None, None], 8, {"FAKE": 1, None: 2}),
    ],
)
def test_both_classes_are_sampled_alike(labels: list[str | None], limit: int, expected: dict[str | None, int]) -> None:
    chosen = choose_videos(outcomes(labels, [1] * len(labels)), limit).column("label").to_pylist()
    assert {label: chosen.count(label) for label in set(chosen)} == expected


def test_videos_without_faces_are_not_sampled() -> None:
    assert choose_videos(outcomes(["REAL", "FAKE", "FAKE"], [0, 3, 0]), 8).column("video_id").to_pylist() == ["1"]


def test_the_sampled_faces_carry_their_overlays(whole_run: Path) -> None:
    videos = sample_videos(read_run(str(whole_run), Config()), 6)
    assert [video.label for video in videos] == ["REAL", "FAKE"] * 3
    assert all(len(video.faces) == 4 for video in videos)
    assert {face.overlay.x for video in videos for face in video.faces if face.overlay} == {18.75}


def predictions(rows: list[tuple[str | None, float | None]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"video_id": str(i), "label": label, "probability": p, "raw_probability": p, "faces_used": 1, "status": "ok"}
            for i, (label, p) in enumerate(rows)
        ],
        schema=SCHEMAS["predictions"],
    )


def test_the_worst_come_first_and_the_unknown_last() -> None:
    table = predictions([("REAL", 0.1), (None, 0.9), ("REAL", 0.99), ("FAKE", None), ("FAKE", 0.3)])
    assert sort_by_error(table, 9).column("video_id").to_pylist() == ["2", "4", "0", "1", "3"]
    assert sort_by_error(table, 2).column("video_id").to_pylist() == ["2", "4"]


def test_reliability_counts_by_bin() -> None:
    rows = compare_by_bin(
        predictions([("REAL", 0.11), ("FAKE", 0.19), ("FAKE", 1.0), (None, 0.5), ("FAKE", None)]), "probability"
    )
    assert [row["n"] for row in rows] == [2, 1]
    assert rows[0]["mean"] == pytest.approx(0.15)
    assert rows[0]["share"] == 0.5
    assert rows[1]["share"] == 1.0
    assert draw_reliability(predictions([(None, 0.5)]), None) is None


def test_the_bars_of_reliability_are_the_intervals_that_are_stored(whole_page: Page) -> None:
    calibrated = whole_page[1]["figures-data"]["reliability"]["data"][-1]
    assert (calibrated["x"], calibrated["y"]) == ([0.2, 0.9], [0.3, 1.0])
    assert calibrated["error_y"]["array"] == [pytest.approx(0.3), 0]
    assert calibrated["error_y"]["arrayminus"] == [pytest.approx(0.2), 0]


def test_reliability_without_stored_intervals_has_no_bars() -> None:
    figure = draw_reliability(predictions([("REAL", 0.11), ("FAKE", 0.19)]), None)
    assert figure is not None
    assert figure["data"][-1]["y"] == [0.5]
    assert figure["data"][-1]["error_y"]["array"] == [0]


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.3, -0.1, "knows more"),
        (0.1, 0.3, "worse than"),
        (-0.1, 0.1, "does not show"),
        (0, 0, "does not show"),
        (None, None, "luck"),
    ],
)
def test_the_verdict_is_what_the_interval_of_the_difference_allows(low: float | None, high: float | None, words: str) -> None:
    scores = {"log_loss": {"value": 0.6, "low": 0.5, "high": 0.7}, "roc_auc": {"value": None, "low": None, "high": None}}
    difference = {"value": 0.0, "low": low, "high": high}
    found = list_scores({"scores": scores, "constants": {"natural": 0.6, "balanced": 0.693}, "versus_constant": difference})
    assert [score.name for score in found] == ["log_loss"]
    text = summarise_scores(found, 10)
    assert words in text
    assert f"The difference is +0.000 ({'no interval' if low is None else f'95 % interval {low:.3f} to {high:.3f}'})" in text


def test_an_older_run_has_no_verdict_by_its_interval_alone() -> None:
    scores = {"log_loss": {"value": 0.3, "low": 0.2, "high": 0.4}}
    assert "may be luck" in summarise_scores(list_scores({"scores": scores, "constants": {"natural": 0.6}}), 10)


def test_a_score_without_an_interval_says_so_and_one_class_has_no_base_rate() -> None:
    scores = {name: {"value": 0.3, "low": None, "high": None} for name in ("log_loss", "roc_auc")}
    text = summarise_scores(
        list_scores({"scores": scores, "by_class": {"REAL": 0, "FAKE": 3}, "constants": {"natural": 0.0}}), 3
    )
    assert text == "Over 3 labelled videos, the log loss is 0.300 (no interval). ROC AUC is 0.300 (no interval)."


def test_new_videos_without_a_score_are_told_apart() -> None:
    rows = [("ok", 0.9), ("ok", 0.1), ("error", 0.5)]
    table = pa.Table.from_pylist([{"status": status, "probability": value} for status, value in rows])
    assert summarise_predictions(table) == (
        "1 of 2 videos with a face have a probability of FAKE of 0.5 or more. "
        "1 video without a face to score: the probability is a setting."
    )


def test_what_knowing_nothing_gets() -> None:
    known = score_base_rate({"by_class": {"REAL": 1, "FAKE": 3}, "constants": {"natural": 0.56, "balanced": 0.69}})
    assert (known["brier"], known["average_precision"], known["log_loss"]) == (0.1875, 0.75, 0.56)


def test_every_fold_has_a_curve_and_all_have_a_mean(whole_page: Page) -> None:
    data = whole_page[1]["figures-data"]
    assert set(data) == {"training-loss", "training-auc", "roc", "reliability", "histogram"}
    names = [trace["name"] for trace in data["training-loss"]["data"]]
    assert names == [f"{kind}, {which}" for kind in ("training", "held out") for which in ("fold 0", "fold 1", "mean")]
    assert data["training-loss"]["data"][-1]["y"][0] == pytest.approx(0.70)  # (0.69 + 0.71) / 2


def test_one_fold_without_auc_is_one_figure() -> None:
    epochs = [{"epoch": 1, "train_loss": 0.6, "validation_loss": None, "validation_auc": None}]
    figures = draw_training_curves([{"fold": 0, "epochs": epochs}])
    assert set(figures) == {"training-loss"}


def test_a_long_training_is_thinned() -> None:
    epochs = [{"epoch": i + 1, "train_loss": 1 / (i + 1), "validation_loss": 0.5} for i in range(1000)]
    trace = draw_training_curves([{"fold": 0, "epochs": epochs}])["training-loss"]["data"][0]
    assert (len(trace["x"]), trace["x"][0], trace["x"][-1]) == (200, 1, 1000)


def test_the_ring_on_the_curve_is_at_one_half() -> None:
    roc = {"fpr": [0.0, 0.1, 0.4, 1.0], "tpr": [0.0, 0.6, 0.8, 1.0], "threshold": [1.9, 0.7, 0.5, 0.2]}
    ring = draw_roc_curve(roc)["data"][-1]
    assert (ring["x"], ring["y"]) == ([0.4], [0.8])
