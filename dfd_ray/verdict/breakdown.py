"""Where the probabilities are good and where not: scores by part of the corpus, method, resolution, face size and skin tone.

Beside them stands what the files alone give away, so that a reader sees what looking at the faces adds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.arrays import BoolArray, Float64Array, Int64Array
from dfd_ray.config import Config
from dfd_ray.faces.crop import decode_jpeg, landmarks_on_crop
from dfd_ray.faces.tone import tone_angle, tone_name
from dfd_ray.labels import LABELS, TRAIN_ONLY
from dfd_ray.store.tables import iterate_batches, read_table
from dfd_ray.verdict.file_probe import score_files
from dfd_ray.verdict.metrics import score_videos

TONE_FACES = 3
"""Faces of a video that its skin tone is measured on, spread over it."""
RESOLUTIONS = ((1080, "1080 and more"), (720, "720 to 1079"), (480, "480 to 719"), (0, "under 480"))
"""Ranges of the shorter side of a frame in pixels, by their lower end."""
FACE_SIZES = ((256, "256 and more"), (128, "128 to 255"), (64, "64 to 127"), (0, "under 64"))
"""Ranges of a video's median width of a face in pixels, by their lower end."""
UNKNOWN = "unknown"
SHOWN = ("log_loss", "log_loss_balanced", "roc_auc", "balanced_accuracy")


def break_down(config: Config, run: str, table: pa.Table, label: Int64Array, group: Int64Array) -> dict[str, Any]:
    """Return `subgroups`, by what parts them and by name, and `metadata_probe`, ready for JSON.

    `table` is rows of `predictions/` that have a label and a probability, `label` (n,) 1 for FAKE and `group` (n,) theirs.
    A method's videos are the FAKE ones that were made by it, and all REAL ones.
    """
    facts = collect_video_facts(run, config.preprocess.margin, table.column("video_id"))
    rows = [facts[video_id] for video_id in table.column("video_id").to_pylist()]
    probability, settings = table.column("probability").to_numpy(), config.evaluate

    def score(own: BoolArray) -> dict[str, Any]:
        found = score_videos(label[own], probability[own], group[own], bootstrap=settings.bootstrap, seed=settings.seed)
        kept = {name: found[name] for name in ("videos", "by_class", "constants")}
        return {**kept, "scores": {name: found["scores"][name] for name in SHOWN}}

    subgroups: dict[str, dict[str, Any]] = {}
    for kind in ("part", "resolution", "face_size", "skin_tone"):
        names = np.array([row[kind] for row in rows], dtype=object)
        subgroups[kind] = {name: score(names == name) for name in sorted(set(names))}
    methods = np.array([row["method"] for row in rows], dtype=object)
    shown = set(methods[label == 1])
    if shown - {UNKNOWN}:
        subgroups["method"] = {name: score((label == 0) | (methods == name)) for name in sorted(shown)}
    area, probe = {"value": None, "low": None, "high": None}, probe_files(run, table.column("video_id"))
    if probe is not None:
        area = score_videos(label, probe, group, bootstrap=settings.bootstrap, seed=settings.seed)["scores"]["roc_auc"]
    return {"subgroups": subgroups, "metadata_probe": {"roc_auc": area}}


def probe_files(run: str, video_ids: pa.ChunkedArray) -> Float64Array | None:
    """Return the probability of FAKE (n,) of the videos by what their files alone give away, None if it cannot be learnt.

    It is learnt from all labelled videos but those that are only trained on, whose source would give them away.
    """
    files = read_table(run, "manifest", ["video_id", "label", "fold", "bytes"])
    labelled, foldable = pc.is_in(files.column("label"), pa.array(LABELS)), pc.not_equal(files.column("fold"), TRAIN_ONLY)
    files = files.filter(pc.and_(labelled, foldable))
    streams = read_table(run, "faces", ["video_id", "width", "height", "fps", "frame_count", "codec"])
    streams = streams.take(pc.index_in(files.column("video_id"), streams.column("video_id").combine_chunks()))
    measured = [files.column("bytes"), *(streams.column(name) for name in ("width", "height", "fps", "frame_count"))]
    numbers = np.stack([column.cast(pa.float64()).to_numpy() for column in measured], axis=1)
    probability = score_files(
        numbers,
        streams.column("codec").to_pylist(),
        pc.equal(files.column("label"), "FAKE").cast(pa.int64()).to_numpy(),
        files.column("fold").to_numpy(),
        pc.is_in(files.column("video_id"), video_ids.combine_chunks()).to_numpy(),
    )
    place = pc.index_in(video_ids, files.column("video_id").combine_chunks()).to_numpy()
    return None if probability is None else probability[place]


def collect_video_facts(run: str, margin: float, video_ids: pa.ChunkedArray) -> dict[str, dict[str, Any]]:
    """Return, by `video_id`, the names of a video's part, method and skin tone, and of the ranges it falls in."""
    # Runs that were indexed before there was a column `method` are read as if no method were known.
    known = {row["video_id"]: row for row in read_table(run, "manifest", ["video_id", "part", "method"]).to_pylist()}
    facts = {}
    for videos in iterate_batches(run, "faces", ["video_id", "width", "height", "faces"]):
        for row in videos.filter(pc.is_in(videos.column("video_id"), value_set=video_ids.combine_chunks())).to_pylist():
            file = known[row["video_id"]]
            sides = [row["width"], row["height"]]
            shorter = None if None in sides else min(sides)
            widths = [face["box"][2] - face["box"][0] for face in row["faces"]]
            facts[row["video_id"]] = {
                "part": file["part"] or UNKNOWN,
                "method": file.get("method") or UNKNOWN,
                "resolution": name_range(shorter, RESOLUTIONS),
                "face_size": name_range(float(np.median(widths)) if widths else None, FACE_SIZES),
                "skin_tone": name_skin_tone(row, margin),
            }
    return facts


def name_range(value: float | None, ranges: tuple[tuple[int, str], ...]) -> str:
    """Return the name of the range that a value falls in."""
    return UNKNOWN if value is None else next(name for low, name in ranges if value >= low)


def name_skin_tone(row: dict[str, Any], margin: float) -> str:
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
