from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfd_ray.config import Config
from dfd_ray.report.data import read_run
from dfd_ray.report.details import FACES_DRAWN, Curve, make_curve, read_curves, show_portraits
from dfd_ray.report.points import Portrait

Page = tuple[str, dict[str, Any]]
REAL, FAKE, BROKEN = "part_1/video_0004.mp4", "part_1/video_0001.mp4", "part_2/video_0038.mp4"


def row(page: Page, video: str) -> dict[str, Any]:
    """Return what the row of a video opens to."""
    table = page[1]["table-data"]
    index = table["video_id"].index(video)
    return {name: table[name][index] for name in ("frames", "chances", "faces", "heat", "reason")}


def test_a_row_has_the_probability_of_every_face_at_its_frame(whole_page: Page) -> None:
    found = row(whole_page, FAKE)
    assert found["frames"] == [0, 10, 20, 30]
    assert found["chances"] == [0.269, 0.321, 0.378, 0.438]  # log-odds of -1, -0.75, -0.5 and -0.25
    assert len(row(whole_page, REAL)["chances"]) == 10


def test_a_row_has_faces_with_their_frame_and_probability(whole_page: Page) -> None:
    faces = row(whole_page, REAL)["faces"]
    assert len(faces) == 8  # of ten, evenly chosen
    assert [frame for frame, _, _ in faces] == sorted({frame for frame, _, _ in faces})
    assert faces[0][:2] == [0, 0.269] and faces[-1][:2] == [90, 0.777]
    assert all(uri.startswith("data:image/jpeg;base64,") for _, _, uri in faces)


def test_a_row_of_a_broken_video_tells_why(whole_page: Page) -> None:
    found = row(whole_page, BROKEN)
    assert found["reason"] == "broken_stream: <b>moov</b> atom not found"
    assert (found["frames"], found["chances"], found["faces"], found["heat"]) == (None, None, None, None)


def test_a_row_has_its_heat_map_where_it_was_explained(whole_page: Page) -> None:
    heat = row(whole_page, FAKE)["heat"]
    assert [frame for frame, *_ in heat] == [0, 30]
    assert all(uri.startswith("data:image/jpeg;base64,") for _, *pair in heat for uri in pair)
    assert row(whole_page, REAL)["heat"] is None


def test_what_is_no_picture_does_not_reach_the_page(whole_page: Page) -> None:
    assert '"><script>' not in json.dumps(whole_page[1]["table-data"]["heat"])


def test_explanations_that_are_damaged_are_no_heat_map(new_run: Callable[..., Path], page_of: Callable[..., Page]) -> None:
    run = new_run(12)
    ones = [7, {"video_id": FAKE, "frames": ["x", 3], "pictures": [["a", "b"], "c"]}, {"video_id": REAL}]
    (run / "explanations.json").write_text(json.dumps({"explanations": ones}))
    assert not any(page_of(run)[1]["table-data"]["heat"])


def test_the_largest_errors_carry_pictures_and_the_page_says_so(whole_run: Path, page_of: Callable[..., Page]) -> None:
    page, data = page_of(whole_run, pictured_rows=5)
    assert "Only the 5 largest errors have pictures." in page
    table = data["table-data"]
    assert table["pictured"] == 5
    assert all(faces is None for faces in table["faces"][5:])
    assert any(table["faces"][:5])
    assert sum(chances is not None for chances in table["chances"]) == 37  # numbers are small: every row keeps them


def test_without_a_map_a_row_has_its_probabilities_only(new_run: Callable[..., Path], page_of: Callable[..., Page]) -> None:
    run = new_run(12)
    rmtree(run / "projection")
    found = row(page_of(run), FAKE)
    assert found["faces"] is None
    assert len(found["chances"]) == 4


def test_scores_that_are_not_one_for_each_face_are_left_out(new_run: Callable[..., Path]) -> None:
    run = new_run(12)
    for path in (run / "scores").iterdir():
        table = pq.read_table(path)
        shorter = pa.array([values[1:] for values in table.column("log_odds").to_pylist()], pa.list_(pa.float32()))
        pq.write_table(
            table.set_column(table.schema.get_field_index("log_odds"), table.schema.field("log_odds"), shorter), path
        )
    assert read_curves(read_run(str(run), Config()), [FAKE, REAL]) == {}


def test_scores_of_a_folder_without_faces_count_the_faces(new_run: Callable[..., Path]) -> None:
    run = new_run(12)
    rmtree(run / "faces")
    assert read_curves(read_run(str(run), Config()), [FAKE]) == {FAKE: Curve(None, None, [0.269, 0.321, 0.378, 0.438])}


def test_a_video_that_every_model_has_seen_has_no_curve(new_run: Callable[..., Path]) -> None:
    run = new_run(12)
    for path in (run / "scores").iterdir():
        table = pq.read_table(path)
        seen = pa.array(["in_training"] * len(table))
        pq.write_table(table.set_column(1, table.schema.field("status"), seen), path)
    assert read_curves(read_run(str(run), Config()), [FAKE]) == {}


def test_a_curve_of_very_many_faces_is_thinned() -> None:
    curve = make_curve(np.linspace(0, 1, 1000), np.column_stack([np.arange(1000), np.zeros(1000, int)]))
    assert curve.frames is not None
    assert (len(curve.frames), curve.frames[0], curve.frames[-1]) == (FACES_DRAWN, 0, 999)
    assert curve.probabilities[-1] == 1.0


@pytest.mark.parametrize(("curve", "known"), [(Curve([7, 7], [0, 1], [0.25, 0.75]), 0.75), (None, None)])
def test_two_faces_of_a_frame_are_told_apart(curve: Curve | None, known: float | None) -> None:
    shown = show_portraits([Portrait(7, 1, b"no picture")], curve)
    assert shown is not None
    assert shown[0][:2] == [7, known]


def test_a_folder_of_predictions_begins_with_the_likely_fakes(
    new_run: Callable[..., Path], page_of: Callable[..., Page]
) -> None:
    run = new_run(12)
    for folder in ("faces", "projection", "models", "evaluation", "summaries"):
        rmtree(run / folder)
    [path] = (run / "predictions").iterdir()
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, table.schema.field("label"), pa.nulls(len(table), pa.string())), path)
    (run / "summaries").mkdir()
    (run / "summaries" / "predict.json").write_text('{"rows": 12, "ok": 9, "no_face": 1, "errors": {"empty": 2}}')
    page, data = page_of(run)
    chances = data["table-data"]["probability"]
    assert chances == sorted(chances, reverse=True)
    assert "Which videos are likely FAKE?" in page
    assert "of 9 videos with a face have a probability of FAKE of 0.5 or more" in page
    assert "the most likely fakes first" in page
    assert "data-absent" not in page
    assert row((page, data), FAKE)["chances"] == [0.269, 0.321, 0.378, 0.438]
    assert row((page, data), FAKE)["heat"]
