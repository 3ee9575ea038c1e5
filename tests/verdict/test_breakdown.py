from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfd_ray.config import load_config
from dfd_ray.faces.crop import encode_jpeg
from dfd_ray.labels import TRAIN_ONLY
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.tables import read_table
from dfd_ray.verdict.breakdown import break_down, collect_video_facts, probe_files

LIGHT, DARK = (225, 175, 140), (75, 45, 35)
VIDEOS = 24


def face(skin: tuple[int, int, int], side: float) -> dict[str, object]:
    """A face of one colour all over, `side` pixels wide in a corner of the frame."""
    points = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]) * side
    image = encode_jpeg(np.full((48, 48, 3), skin, np.uint8))
    return {"box": [0.0, 0.0, side, side], "landmarks": points.ravel().tolist(), "image": image}


@pytest.fixture
def run(tmp_path: Path) -> str:
    """Every third video is dark, every fourth small; the fakes are larger files, made in two ways; one video has no face."""
    manifest, faces = [], []
    for i in range(VIDEOS):
        fake = i % 2
        small = i % 4 == 0
        name = {"video_id": f"{i}.mp4", "label": ("REAL", "FAKE")[fake], "group": str(i), "fold": i // 2 % 3}
        facts = {"part": f"part_{i % 2}", "method": f"method {i // 2 % 2}" if fake else None, "bytes": 1000 + 900 * fake + i}
        manifest.append({**name, "uri": "", **facts})
        shown = [face(DARK if i % 3 == 0 else LIGHT, 100 if small else 200)] * 2 if i != VIDEOS - 1 else []
        sides = {"width": 640 if small else 1280, "height": 360 if small else 720}
        faces.append({**name, **sides, "status": "ok", "codec": "h264", "fps": 25.0, "frame_count": 100, "faces": shown})
    for table, rows in (("manifest", manifest), ("faces", faces)):
        (tmp_path / table).mkdir()
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMAS[table]), tmp_path / table / "part-0.parquet")
    return str(tmp_path)


def test_videos_fall_into_their_ranges(run: str) -> None:
    facts = collect_video_facts(run, 0.6, read_table(run, "manifest", ["video_id"]).column("video_id"))
    assert [facts["0.mp4"][kind] for kind in ("part", "resolution", "face_size", "skin_tone")] == [
        "part_0",
        "under 480",
        "64 to 127",
        "dark",
    ]
    assert [facts["1.mp4"][kind] for kind in ("part", "resolution", "face_size", "skin_tone")] == [
        "part_1",
        "720 to 1079",
        "128 to 255",
        "light",
    ]
    assert (facts["23.mp4"]["face_size"], facts["23.mp4"]["skin_tone"]) == ("unknown", "unknown")


def rewrite(run: str, table: str, change: Callable[[pa.Table], pa.Table]) -> None:
    place = f"{run}/{table}/part-0.parquet"
    pq.write_table(change(pq.read_table(place)), place)


def replaced(table: pa.Table, column: str, change: Callable[[Any], Any]) -> pa.Table:
    """Return the table with each value of a column changed."""
    values = pa.array([change(value) for value in table.column(column).to_pylist()], table.schema.field(column).type)
    return table.set_column(table.column_names.index(column), column, values)


def broken_down(run: str, judged: np.ndarray, probability: np.ndarray) -> dict[str, Any]:
    """Break the judged videos down."""
    table = pq.read_table(f"{run}/manifest/part-0.parquet", columns=["video_id"])
    table = table.append_column("probability", pa.array(probability)).filter(pa.array(judged))
    label, group = (np.arange(VIDEOS) % 2)[judged], np.arange(VIDEOS)[judged]
    found = break_down(load_config(None, ["evaluate.bootstrap=20"]), run, table, label, group)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


ALL = np.ones(VIDEOS, bool)
FOLD_0 = np.arange(VIDEOS) // 2 % 3 == 0


def test_each_subgroup_is_scored_alone_and_the_probe_finds_what_files_give_away(run: str) -> None:
    label = np.arange(VIDEOS) % 2
    dark = np.arange(VIDEOS) % 3 == 0
    # The model fails on dark faces only.
    found = broken_down(run, ALL, np.where(dark, 0.5, np.where(label == 1, 0.9, 0.1)))
    for kind in ("part", "resolution", "face_size", "skin_tone"):
        assert sum(one["videos"] for one in found["subgroups"][kind].values()) == VIDEOS
    tones = found["subgroups"]["skin_tone"]
    assert tones["dark"]["scores"]["log_loss"]["value"] == pytest.approx(np.log(2))
    assert tones["dark"]["scores"]["roc_auc"]["value"] == 0.5
    assert tones["light"]["scores"]["log_loss"]["value"] == pytest.approx(-np.log(0.9))
    assert found["metadata_probe"]["roc_auc"]["value"] > 0.9
    assert found["subgroups"]["part"]["part_0"]["scores"]["roc_auc"]["value"] is None  # one class only


def test_a_method_is_scored_by_its_fakes_and_all_real_videos_beside_their_constant(run: str) -> None:
    first = np.arange(VIDEOS) // 2 % 2 == 0
    label = np.arange(VIDEOS) % 2
    found = broken_down(run, ALL, np.where(label == 0, 0.3, np.where(first, 0.9, 0.2)))  # blind to the second method
    methods = found["subgroups"]["method"]
    assert list(methods) == ["method 0", "method 1"]
    assert [one["by_class"] for one in methods.values()] == [{"REAL": VIDEOS // 2, "FAKE": VIDEOS // 4}] * 2
    assert [one["scores"]["roc_auc"]["value"] for one in methods.values()] == [1.0, 0.0]
    assert methods["method 0"]["constants"]["natural"] == pytest.approx(-np.log(2 / 3) * 2 / 3 - np.log(1 / 3) / 3)


def test_fakes_whose_method_is_not_known_are_a_row_where_another_s_is(run: str) -> None:
    rewrite(run, "manifest", lambda table: replaced(table, "method", lambda name: None if name == "method 1" else name))
    assert list(broken_down(run, ALL, ALL / 2)["subgroups"]["method"]) == ["method 0", "unknown"]
    rewrite(run, "manifest", lambda table: replaced(table, "method", lambda _: None))
    assert "method" not in broken_down(run, ALL, ALL / 2)["subgroups"]


def test_a_run_that_was_indexed_before_there_were_methods_has_no_row_of_them(run: str) -> None:
    rewrite(run, "manifest", lambda table: table.drop_columns("method"))
    assert "method" not in broken_down(run, ALL, ALL / 2)["subgroups"]


def test_the_probe_of_one_judged_fold_learns_from_the_others(run: str) -> None:
    assert broken_down(run, FOLD_0, ALL / 2)["metadata_probe"]["roc_auc"]["value"] > 0.9
    # In another order than the manifest's, each video keeps its own.
    table = pq.read_table(f"{run}/manifest/part-0.parquet").filter(pa.array(FOLD_0))
    ids = table.column("video_id")
    assert probe_files(run, ids[::-1]).tolist() == probe_files(run, ids).tolist()[::-1]


@pytest.mark.parametrize("elsewhere", [TRAIN_ONLY, None, 0])
def test_without_other_folds_the_probe_says_nothing(run: str, elsewhere: int | None) -> None:
    """Videos that are only trained on, or have no fold, teach it nothing."""
    rewrite(run, "manifest", lambda table: replaced(table, "fold", lambda fold: fold if fold == 0 else elsewhere))
    found = broken_down(run, FOLD_0, ALL / 2)
    assert found["metadata_probe"] == {"roc_auc": {"value": None, "low": None, "high": None}}
