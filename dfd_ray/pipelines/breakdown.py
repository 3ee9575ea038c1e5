"""Where the probabilities are good and where not: scores by part of the corpus, resolution, face size and skin tone.

Beside them stands what the files alone give away, so that a reader sees what looking at the faces adds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.config import Config
from dfd_ray.faces.crop import decode_jpeg, landmarks_on_crop
from dfd_ray.faces.tone import tone_angle, tone_name
from dfd_ray.models.metrics import score_videos
from dfd_ray.models.probe import probe_scores
from dfd_ray.tables import iterate_batches, read_table

TONE_FACES = 3
"""Faces of a video that its skin tone is measured on, spread over it."""
RESOLUTIONS = ((1080, "1080 and more"), (720, "720 to 1079"), (480, "480 to 719"), (0, "under 480"))
"""Ranges of the shorter side of a frame in pixels, by their lower end."""
FACE_SIZES = ((256, "256 and more"), (128, "128 to 255"), (64, "64 to 127"), (0, "under 64"))
"""Ranges of a video's median width of a face in pixels, by their lower end."""
UNKNOWN = "unknown"
SHOWN = ("log_loss", "log_loss_balanced", "roc_auc", "balanced_accuracy")


def break_down(
    config: Config, run: str, table: pa.Table, label: npt.NDArray[np.int64], group: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """Return `subgroups`, by what parts them and by name, and `metadata_probe`, ready for JSON.

    `table` is rows of `predictions/` that have a label and a probability, `label` (n,) 1 for FAKE and `group` (n,) theirs.
    """
    facts = video_facts(run, config.preprocess.margin, table.column("video_id"))
    rows = [facts[video_id] for video_id in table.column("video_id").to_pylist()]
    probability, settings = table.column("probability").to_numpy(), config.evaluate
    subgroups: dict[str, dict[str, Any]] = {}
    for kind in ("part", "resolution", "face_size", "skin_tone"):
        names = np.array([row[kind] for row in rows], dtype=object)
        subgroups[kind] = {}
        for name in sorted(set(names)):
            own = names == name
            found = score_videos(label[own], probability[own], group[own], bootstrap=settings.bootstrap, seed=settings.seed)
            scores = {score: found["scores"][score] for score in SHOWN}
            subgroups[kind][name] = {"videos": found["videos"], "by_class": found["by_class"], "scores": scores}
    numbers = np.array([row["numbers"] for row in rows], np.float64)
    probe = probe_scores(numbers, [row["codec"] for row in rows], label, table.column("fold").to_numpy())
    scores = score_videos(label, probe, group, bootstrap=settings.bootstrap, seed=settings.seed)["scores"]
    return {"subgroups": subgroups, "metadata_probe": {"roc_auc": scores["roc_auc"]}}


def video_facts(run: str, margin: float, video_ids: pa.ChunkedArray) -> dict[str, dict[str, Any]]:
    """Return, by `video_id`, the names of the ranges a video falls in, its codec, and the numbers the probe sees."""
    manifest = read_table(run, "manifest", ["video_id", "part", "bytes"]).to_pylist()
    known = {row["video_id"]: row for row in manifest}
    facts = {}
    for videos in iterate_batches(run, "faces", ["video_id", "width", "height", "fps", "frame_count", "codec", "faces"]):
        for row in videos.filter(pc.is_in(videos.column("video_id"), value_set=video_ids.combine_chunks())).to_pylist():
            file = known[row["video_id"]]
            sides = [row["width"], row["height"]]
            shorter = None if None in sides else min(sides)
            widths = [face["box"][2] - face["box"][0] for face in row["faces"]]
            measured = (file["bytes"], *sides, row["fps"], row["frame_count"])
            facts[row["video_id"]] = {
                "part": file["part"] or UNKNOWN,
                "resolution": range_name(shorter, RESOLUTIONS),
                "face_size": range_name(float(np.median(widths)) if widths else None, FACE_SIZES),
                "skin_tone": skin_tone(row, margin),
                "codec": row["codec"],
                "numbers": [np.nan if value is None else float(value) for value in measured],
            }
    return facts


def range_name(value: float | None, ranges: tuple[tuple[int, str], ...]) -> str:
    """Return the name of the range that a value falls in."""
    return UNKNOWN if value is None else next(name for low, name in ranges if value >= low)


def skin_tone(row: dict[str, Any], margin: float) -> str:
    """Return the name of a video's skin tone: the median over some of its faces."""
    faces = row["faces"]
    chosen = np.unique(np.linspace(0, len(faces) - 1, min(len(faces), TONE_FACES)).round().astype(int))
    angles = []
    for face in (faces[i] for i in chosen):
        image = decode_jpeg(face["image"])
        landmarks = landmarks_on_crop(
            face["landmarks"], np.array(face["box"]), margin, row["width"], row["height"], image.shape[0]
        )
        angles.append(tone_angle(image, landmarks))
    known = [angle for angle in angles if angle is not None]
    return tone_name(float(np.median(known))) if known else UNKNOWN
