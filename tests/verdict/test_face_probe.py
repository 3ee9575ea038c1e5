from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfd_ray.config import load_config
from dfd_ray.faces.crop import encode_jpeg
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.verdict.breakdown import probe_faces
from dfd_ray.verdict.face_probe import read_header
from dfd_ray.verdict.metrics import IntervalScore, score_videos

VIDEOS = 160
CONFIG = load_config(None, ["preprocess.frames_real=12", "preprocess.frames_fake=4", "preprocess.frames_unlabelled=4"])


def draw_video(random: np.random.Generator, fake: bool, leak: str) -> dict[str, Any]:
    """Draw the faces of a video: 3 combs of a REAL one, 1 of a FAKE one, all alike but for the leak."""
    start, side = random.uniform(20, 80, 2), random.uniform(40, 60)
    drift = 3.0 if leak == "followed over a longer gap" and fake else 1.0
    step = 25 if leak == "frames further apart" and fake else 20
    combs = [[step * place + 5 * comb for place in range(4)] for comb in ((1,) if fake else (1, 0, 2))]
    faces = []
    for index in sorted(index for comb in combs for index in comb):
        if random.random() < (0.5 if leak == "faces are missed" and fake else 0.1):
            continue
        corner = start + drift * random.normal(0, 1, 2)
        picture = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        image = encode_jpeg(picture, 90 if leak == "another quality" and fake else 95)
        points = corner[:, None] + side * random.uniform(0.2, 0.8, (2, 5))
        face = {"box": [*corner, *(corner + side)], "landmarks": points.T.ravel().tolist(), "image": image}
        faces.append({"frame_index": index, "time": index / 25, "face_index": 0, "probability": 0.99, **face})
    return {"sampled": combs, "faces": faces, "status": "ok" if faces else "no_face"}


def probe_of(run: Path, leak: str = "", seed: int = 0, older: bool = False) -> IntervalScore:
    """Return the probe's AUC of a drawn run, whose labels are drawn by lot."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, VIDEOS)
    manifest, faces = [], []
    for number, fake in enumerate(label.tolist()):
        row = {"video_id": f"{number}.mp4", "label": ("REAL", "FAKE")[fake], "group": str(number), "fold": number % 3}
        manifest.append({**row, "uri": ""})
        faces.append({**row, **draw_video(random, bool(fake), leak)})
    for table, rows in (("manifest", manifest), ("faces", faces)):
        (run / table).mkdir()
        found = pa.Table.from_pylist(rows, schema=SCHEMAS[table])
        pq.write_table(found.drop_columns("sampled") if older and table == "faces" else found, run / table / "part-0.parquet")
    probability = probe_faces(CONFIG, str(run), pa.chunked_array([[row["video_id"] for row in manifest]]))
    assert probability is not None
    return score_videos(label, probability, np.arange(VIDEOS), bootstrap=200)["scores"]["roc_auc"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_labels_drawn_by_lot_cannot_be_told_from_faces_that_do_not_depend_on_them(tmp_path: Path, seed: int) -> None:
    area = probe_of(tmp_path, seed=seed)
    assert area["low"] is not None
    assert area["high"] is not None
    assert area["low"] <= 0.5 <= area["high"]


@pytest.mark.parametrize("leak", ["another quality", "followed over a longer gap", "frames further apart", "faces are missed"])
def test_a_leak_is_found(tmp_path: Path, leak: str) -> None:
    area = probe_of(tmp_path, leak)
    assert area["low"] is not None
    assert area["low"] > 0.6


def test_the_faces_of_an_older_run_are_probed_as_it_judged_them(tmp_path: Path) -> None:
    area = probe_of(tmp_path, older=True)
    assert area["low"] is not None
    assert area["low"] > 0.6, "four frames of twelve that are thinned lie further apart than the four of a comb"


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 20)])
def test_the_header_of_a_jpeg_is_read(height: int, width: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    fine, coarse = (read_header(encode_jpeg(picture, quality)[:1024]) for quality in (95, 60))
    assert fine[:2] == coarse[:2] == (height, width)
    assert fine[2] == coarse[2]
    assert fine[3] < coarse[3]


@pytest.mark.parametrize("start", [b"", b"\xff\xd8", b"\xff\xd8\xff\xdb\x00\x00" * 40, b"no picture at all"])
def test_what_is_no_jpeg_has_no_size(start: bytes) -> None:
    assert np.isnan(read_header(start)[:3]).all()
