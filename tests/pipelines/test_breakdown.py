from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfd_ray.config import load_config
from dfd_ray.faces.crop import encode_jpeg
from dfd_ray.pipelines.breakdown import break_down, video_facts
from dfd_ray.schemas import SCHEMAS
from dfd_ray.tables import read_table

LIGHT, DARK = (225, 175, 140), (75, 45, 35)
VIDEOS = 24


def face(skin: tuple[int, int, int], side: float) -> dict[str, object]:
    """A face of one colour all over, `side` pixels wide in a corner of the frame."""
    points = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)]) * side
    image = encode_jpeg(np.full((48, 48, 3), skin, np.uint8))
    return {"box": [0.0, 0.0, side, side], "landmarks": points.ravel().tolist(), "image": image}


@pytest.fixture
def run(tmp_path: Path) -> str:
    """Every third video is dark, every fourth small; the fakes are larger files; one video has no face."""
    manifest, faces = [], []
    for i in range(VIDEOS):
        fake = i % 2
        small = i % 4 == 0
        name = {"video_id": f"{i}.mp4", "label": ("REAL", "FAKE")[fake], "group": str(i), "fold": i // 2 % 3}
        manifest.append({**name, "uri": "", "part": f"part_{i % 2}", "bytes": 1000 + 900 * fake + i})
        shown = [face(DARK if i % 3 == 0 else LIGHT, 100 if small else 200)] * 2 if i != VIDEOS - 1 else []
        sides = {"width": 640 if small else 1280, "height": 360 if small else 720}
        faces.append({**name, **sides, "status": "ok", "codec": "h264", "fps": 25.0, "frame_count": 100, "faces": shown})
    for table, rows in (("manifest", manifest), ("faces", faces)):
        (tmp_path / table).mkdir()
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMAS[table]), tmp_path / table / "part-0.parquet")
    return str(tmp_path)


def test_videos_fall_into_their_ranges(run: str) -> None:
    facts = video_facts(run, 0.6, read_table(run, "manifest", ["video_id"]).column("video_id"))
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


def test_each_subgroup_is_scored_alone_and_the_probe_finds_what_files_give_away(run: str) -> None:
    label = np.arange(VIDEOS) % 2
    dark = np.arange(VIDEOS) % 3 == 0
    probability = np.where(dark, 0.5, np.where(label == 1, 0.9, 0.1))  # the model fails on dark faces only
    table = pq.read_table(f"{run}/manifest", columns=["video_id", "fold"])
    table = table.append_column("probability", pa.array(probability))
    found = break_down(load_config(None, ["evaluate.bootstrap=20"]), run, table, label, np.arange(VIDEOS))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    for groups in found["subgroups"].values():
        assert sum(one["videos"] for one in groups.values()) == VIDEOS
    tones = found["subgroups"]["skin_tone"]
    assert tones["dark"]["scores"]["log_loss"]["value"] == pytest.approx(np.log(2))
    assert tones["dark"]["scores"]["roc_auc"]["value"] == 0.5
    assert tones["light"]["scores"]["log_loss"]["value"] == pytest.approx(-np.log(0.9))
    assert found["metadata_probe"]["roc_auc"]["value"] > 0.9
    assert found["subgroups"]["part"]["part_0"]["scores"]["roc_auc"]["value"] is None  # one class only
