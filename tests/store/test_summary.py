from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from dfd_ray.store.summary import Summary, count_statuses, describe_cut_short


def test_a_job_that_went_on_has_the_rate_of_what_it_did(tmp_path: Path) -> None:
    summary = Summary("preprocess", "faces", rows=100, there_before=90, seconds=5.0)
    assert ("seconds", "5.0 (2.00 rows/s)") in summary.lines()
    summary.save(str(tmp_path))
    assert json.loads((tmp_path / "summaries" / "preprocess.json").read_text())["rows_per_second"] == 2.0


def test_every_row_is_in_one_of_the_counts() -> None:
    statuses = ["ok", "ok", "no_face", "in_training", "error"]
    errors = [None, None, None, None, "empty: 0 bytes"]
    counts = count_statuses(pa.table({"status": statuses, "error": errors}))
    lines = dict(Summary("evaluate", "predictions", **counts).lines())
    shown = [lines[name] for name in ("ok", "no_face", "in_training", "error: empty")]
    assert sum(map(int, shown)) == int(lines["rows"]) == 5


def test_nested_values_are_printed_as_phrases_and_kept_as_they_are(tmp_path: Path) -> None:
    pairs = [{"first": f"{one}.mp4", "second": "z.mp4", "faces": 5, "ratio": 0.38541} for one in "abcde"]
    details: dict[str, object] = {
        "videos": {"REAL": 8, "FAKE": 16, "unlabelled": 0},
        "leaks": {"looked_up": 84, "share": None, "nearest": pairs, "folds": [0, 1]},
        "constants": None,
        "scores": {"roc_auc": {"value": 0.546875, "low": 0.0, "high": 1.0}},
        "rate": 120.0,
        "demo": False,
        "nothing": [],
    }
    summary = Summary("analyze", "projection", details=details)
    shown = [f"{name} | {text}" for name, text in summary.lines()][2:-1]
    assert shown == [
        "videos | REAL 8, FAKE 16, unlabelled 0",
        "leaks | looked up 84",
        "leaks: nearest | first a.mp4, second z.mp4, faces 5, ratio 0.3854",
        "leaks: nearest | first b.mp4, second z.mp4, faces 5, ratio 0.3854",
        "leaks: nearest | first c.mp4, second z.mp4, faces 5, ratio 0.3854",
        "leaks: nearest | 2 more in summaries/analyze.json",
        "leaks: folds | 0, 1",
        "scores: roc auc | value 0.5469, low 0, high 1",
        "rate | 120",
        "demo | no",
    ]
    summary.save(str(tmp_path))
    assert json.loads((tmp_path / "summaries" / "analyze.json").read_text())["leaks"] == details["leaks"]


def test_videos_that_are_cut_short_are_counted_with_an_example() -> None:
    rows = {
        "video_id": ["whole.mp4", "b.mp4", "a.mp4", "hardly.mp4", "missing.mp4"],
        "status": ["ok", "ok", "no_face", "error", "error"],
        "frames_wanted": [8, 8, 40, 8, None],
        "frames_decoded": [8, 4, 30, 1, None],
    }
    [note] = describe_cut_short(pa.table(rows))
    assert note == "cut short: 2 videos gave fewer frames than wanted, such as 'a.mp4' (30 of 40)"
    one = pa.table({name: values[:2] for name, values in rows.items()})
    assert describe_cut_short(one) == ["cut short: 1 video gave fewer frames than wanted, such as 'b.mp4' (4 of 8)"]
    assert describe_cut_short(one.slice(0, 1)) == []
    assert describe_cut_short(one.select(["video_id", "status"])) == []
