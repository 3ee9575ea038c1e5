"""Runs made of drawn faces: no job and no video is needed for them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfd_ray.config import Config
from dfd_ray.report import build_report
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.summary import Summary
from dfd_ray.store.tables import with_metadata

WIDTH, HEIGHT = 640, 360
HOSTILE = "part_0/<script>alert(1)</script>\"'&.mp4"
BROKEN = [
    ("error", "open", "empty: no bytes"),
    ("error", "decode", "broken_stream: <b>moov</b> atom not found"),
    ("no_face", None, None),
]
CONFIG = Config.model_validate(
    {
        "index": {"folds": 2},
        "preprocess": {"frames_real": 10, "frames_fake": 4},
        "analyze": {"min_cluster_size": 5},
        "train": {"backbone": "test_efficientnet"},
    }
)

Page = tuple[str, dict[str, Any]]
"""The HTML, and the data of its scripts by the id of their element."""


def draw_face(seed: int, size: int = 96) -> bytes:
    """Return a cartoon face as JPEG; REAL and FAKE are drawn alike."""
    random = np.random.default_rng(seed)
    image = np.full((size, size, 3), random.integers(60, 220, 3), np.uint8)
    skin = tuple(int(value) for value in random.integers(90, 230, 3))
    middle = size // 2
    cv2.ellipse(image, (middle, middle), (size // 4, size // 3), 0, 0, 360, skin, -1)
    for x in (0.4, 0.6):
        cv2.circle(image, (int(size * x), int(size * 0.43)), max(size // 24, 1), (20, 20, 20), -1)
    cv2.ellipse(image, (middle, int(size * 0.6)), (size // 9, size // 18), 0, 0, 180, (30, 30, 160), 2)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


def make_face(seed: int, frame: int) -> dict[str, Any]:
    box = [200.0, 100.0, 300.0, 220.0]
    landmarks = [225.0, 145.0, 275.0, 145.0, 250.0, 165.0, 230.0, 190.0, 270.0, 190.0]
    names = ("frame_index", "time", "face_index", "box", "landmarks", "probability", "image")
    return dict(zip(names, (frame, frame / 30, 0, box, landmarks, 0.99, draw_face(seed)), strict=True))


def video_name(number: int) -> str:
    return HOSTILE if number == 0 else f"part_{number % 3}/video_{number:04d}.mp4"


def make_videos(count: int) -> list[dict[str, Any]]:
    """Return rows of `faces/`: every fourth is REAL, the last three are broken."""
    rows = []
    for i in range(count):
        label = "REAL" if i % 4 == 0 else "FAKE"
        status, stage, error = BROKEN[i - count + 3] if i >= count - 3 else ("ok", None, None)
        faces = [make_face(i, 10 * k) for k in range(10 if label == "REAL" else 4)] if status == "ok" else []
        rows.append(
            {"video_id": video_name(i), "label": label, "group": f"g{i // 4}", "fold": i % 2, "status": status}
            | {"error_stage": stage, "error": error, "width": WIDTH, "height": HEIGHT, "fps": 30.0, "frame_count": 300}
            | {"codec": "h264", "seconds_spent": 1.0, "faces": faces}
        )
    return rows


def make_projection(videos: list[dict[str, Any]], dimensions: int) -> list[dict[str, Any]]:
    """Return rows of `projection/`: a cluster for every four videos, and every seventh face in none."""
    random, rows = np.random.default_rng(0), []
    for number, video in enumerate(videos):
        centre = np.random.default_rng(number // 4).normal(0, 20, 3)
        for face in video["faces"]:
            x, y, z = (centre + random.normal(0, 3, 3)).tolist()
            row = {name: face[name] for name in ("frame_index", "face_index")} | {
                "video_id": video["video_id"],
                "label": video["label"],
            }
            row |= {"x": x, "y": y, "z": z if dimensions == 3 else None, "pca": random.normal(0, [4, 2, 1, 1]).tolist()}
            cluster = -1 if len(rows) % 7 == 0 else number // 4
            rows.append(row | {"cluster": cluster, "membership": 0.9, "video_cluster": 0, "thumbnail": draw_face(number, 64)})
    return rows


def make_predictions(videos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    random, rows = np.random.default_rng(1), []
    for video in videos:
        ok, fake = video["status"] == "ok", video["label"] == "FAKE"
        raw = float(random.beta(4 if fake else 2, 2 if fake else 4)) if ok else None
        probability = 0.75 if raw is None else min(max(0.15 + 0.8 * raw, 0.01), 0.99)
        names = ("probability", "raw_probability", "faces_used", "status")
        values = (probability, raw, len(video["faces"]), video["status"])
        rows.append({name: video[name] for name in ("video_id", "label", "fold")} | dict(zip(names, values, strict=True)))
    return rows


def make_scores(videos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows of `scores/`: the log-odds of a video's faces rise from -1 by a quarter."""
    names = ("video_id", "status", "error_stage", "error")
    return [
        {name: video[name] for name in names} | {"log_odds": [k / 4 - 1 for k in range(len(video["faces"]))]}
        for video in videos
    ]


def make_explanations() -> dict[str, Any]:
    """Return explanations of two videos, of which one has a name made to do harm and a picture that is none."""
    pictures = [base64.b64encode(draw_face(number)).decode() for number in range(2)]
    ones = [(HOSTILE, [3], [['"><script>', pictures[0]]]), (video_name(1), [0, 30], [pictures, pictures])]
    return {"explanations": [dict(zip(("video_id", "frames", "pictures"), one, strict=True)) for one in ones]}


def make_metrics(videos: int) -> dict[str, Any]:
    def score(value: float, spread: float = 0.05) -> dict[str, float]:
        return {"value": value, "low": value - spread, "high": value + spread}

    def subgroup(auc: float | None) -> dict[str, Any]:
        area = {"value": None, "low": None, "high": None} if auc is None else score(auc)
        scores = {"log_loss": score(0.3), "roc_auc": area}
        counts = {"videos": 9, "by_class": {"REAL": 3, "FAKE": 6}, "groups_by_class": {"REAL": 3, "FAKE": 6}}
        return counts | {"constants": {"natural": 0.637}, "versus_constant": score(-0.337), "scores": scores}

    names = ("log_loss_balanced", "average_precision", "balanced_accuracy", "brier")
    real = -(-videos // 4)
    return {
        "videos": videos,
        "by_class": {"REAL": real, "FAKE": videos - real},
        "scores": {"log_loss": score(0.4321), "roc_auc": score(0.8765)} | {name: score(0.6) for name in names},
        "reliability": [
            {"mean": 0.2, "share": 0.3, "n": 10, "low": 0.1, "high": 0.6},
            {"mean": 0.9, "share": 1.0, "n": 5, "low": None, "high": None},
        ],
        "confusion_matrix": [[7, 3], [2, 28]],
        "constants": {"natural": 0.5623, "balanced": 0.6931},
        "roc": {"fpr": [0, 0, 0.2, 0.3, 1], "tpr": [0, 0.5, 0.8, 0.93, 1], "threshold": [1.9, 0.9, 0.6, 0.5, 0.1]},
        "aggregation": "mean",
        "subgroups": {
            "skin_tone": {name: subgroup(0.5) for name in ("dark", "light", "unknown")},
            "resolution": {name: subgroup(0.6) for name in ("1080 and more", "under 480", "720 to 1079")},
            "method": {name: subgroup(0.9) for name in ("swap", "blend")},
            "part": {HOSTILE: subgroup(None), "part_10": subgroup(0.7), "part_2": subgroup(0.8)},
        },
        "metadata_probe": {"roc_auc": score(0.654)},
        "versus_constant": score(-0.1302, 0.02),
        "beyond_probe": score(0.222),
        "groups": 10,
        "groups_by_class": {"REAL": 10, "FAKE": 10},
        "remarks": ["the intervals are rough: <few> groups"],
        "geometry_probe": {"roc_auc": score(0.512)},
        "by_status": {"ok": videos - 3, "error": 2, "no_face": 1},
    }


def make_history() -> dict[str, Any]:
    def epoch(fold: int, number: int) -> dict[str, Any]:
        loss = {"train_loss": 0.7 / number, "validation_loss": 0.69 / number**0.5 + 0.02 * fold}
        return {"epoch": number, **loss, "validation_auc": 0.5 + 0.1 * number, "learning_rate": 3e-4, "seconds": 31.0}

    return {"folds": [{"fold": fold, "epochs": [epoch(fold, number) for number in (1, 2, 3)]} for fold in (0, 1)]}


def make_examples() -> dict[str, Any]:
    """Return pictures of which one is no picture, under a name made to do harm."""
    pictures = [base64.b64encode(draw_face(number)).decode() for number in range(3)]
    rows = [
        ("augmentation", "Gauss Noise", pictures),
        ("self-blended", "", pictures),
        ("mixed", HOSTILE, ['"><script>', "AAAA"]),
    ]
    return {"examples": [dict(zip(("kind", "name", "pictures"), row, strict=True)) for row in rows]}


def make_summaries(count: int) -> list[Summary]:
    def summary(job: str, seconds: float, **more: Any) -> Summary:
        return Summary(**{"job": job, "table": f"/runs/drawn/{job}", "rows": count, "ok": count, "seconds": seconds} | more)

    return [
        summary("index", 0.4, details={"demo": True}),
        summary("preprocess", 93.1, ok=count - 3, no_face=1, errors={"empty": 1, "broken_stream": 1}),
        summary("embed", 120.0, notes=["weights: <i>random</i>"]),
        summary(
            "analyze",
            12.0,
            details={
                "tsne": {
                    "library": "openTSNE",
                    "device": "cpu",
                    "dimensions": 3,
                    "perplexity": 30,
                    "iterations": 500,
                    "divergence": 0.14,
                },
                "hdbscan": {"library": "hdbscan", "device": "cpu", "clusters": 10, "noise_share": 0.14, "seconds": 0.2},
                "pca": {"components": 4, "explained": 0.91, "seconds": 1.0},
                "quality": {"trustworthiness": 0.9912, "trustworthiness_pca": 0.875, "purity_label": 0.777, "silhouette": None},
                "leaks": {
                    "looked_up": 10000,
                    "faces": 1262,
                    "share": 0.1262,
                    "pairs": 21,
                    "nearest": [{"first": "a<b>.mp4", "second": "c.mp4", "faces": 1234, "ratio": 0.25}],
                },
            },
        ),
        summary("train", 400.0, details={"folds": 2}),
        summary("evaluate", 2.0),
    ]


def write_table(run: Path, table: str, rows: list[dict[str, Any]], files: int = 2) -> None:
    schema = with_metadata(SCHEMAS[table], table, CONFIG, corpus="/data/drawn")
    (run / table).mkdir(parents=True)
    for number in range(files):
        part = pa.Table.from_pylist(rows[number::files], schema=schema)
        pq.write_table(part, run / table / f"part-{number}.parquet")


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def make_run(run: Path, count: int = 40, dimensions: int = 3) -> Path:
    """Write all that the page reads."""
    videos = make_videos(count)
    manifest = [
        {name: video[name] for name in ("video_id", "label", "group", "fold")}
        | {"uri": "/data/" + video["video_id"], "bytes": 1}
        for video in videos
    ]
    write_table(run, "manifest", manifest)
    write_table(run, "faces", videos)
    write_table(run, "projection", make_projection(videos, dimensions))
    write_table(run, "scores", make_scores(videos))
    write_table(run, "predictions", make_predictions(videos), files=1)
    for summary in make_summaries(count):
        summary.save(str(run))
    write_json(run / "models" / "history.json", make_history())
    write_json(run / "models" / "examples.json", make_examples())
    write_json(run / "evaluation" / "metrics.json", make_metrics(count))
    write_json(run / "explanations.json", make_explanations())
    (run / "config.yaml").write_text(CONFIG.to_yaml())
    return run


def build_page(run: Path, **report: Any) -> Page:
    """Build the report of a run with some limits."""
    config = CONFIG.model_copy(update={"report": CONFIG.report.model_copy(update=report)})
    location = build_report(str(run), config)
    assert location == str(run / "report" / "index.html")
    page = Path(location).read_text(encoding="utf-8")
    return page, dict(read_islands(page))


def read_islands(page: str) -> Iterator[tuple[str, Any]]:
    for part in page.split('<script type="application/json" id="')[1:]:
        name, rest = part.split('">', 1)
        yield name, json.loads(rest[: rest.index("</script>")])


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything; do not change it."""
    return make_run(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="session")
def whole_page(whole_run: Path) -> Page:
    return build_page(whole_run)


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., Path]:
    """Make a run to change: `new_run(count, dimensions)`."""
    return lambda count=12, dimensions=3: make_run(tmp_path / "run", count, dimensions)


@pytest.fixture(scope="session")
def page_of() -> Callable[..., Page]:
    """Build a page: `page_of(run, max_points=...)`."""
    return build_page
