"""Score the probabilities by part of the corpus, method, resolution, face size and skin tone.

Two probes show, for comparison, how much the pictures add: one of the files' facts alone, one of the faces' geometry and
encoding alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.arrays import BoolArray, Float64Array, Int64Array, spread_rows
from dfd_ray.config import Config
from dfd_ray.faces.crop import decode_jpeg, landmarks_on_crop
from dfd_ray.faces.tone import tone_angle, tone_name
from dfd_ray.labels import LABELS, TRAIN_ONLY
from dfd_ray.store.tables import iterate_batches, read_table
from dfd_ray.verdict.face_probe import measure_faces
from dfd_ray.verdict.metrics import IntervalScore, SubgroupScores, compare_areas, score_videos

TONE_FACES = 3
"""Number of faces of a video on which its skin tone is measured, spread evenly over the video."""
RESOLUTIONS = ((1080, "1080 and more"), (720, "720 to 1079"), (480, "480 to 719"), (0, "under 480"))
"""Ranges of the shorter side of a frame in pixels: lower end and name."""
FACE_SIZES = ((256, "256 and more"), (128, "128 to 255"), (64, "64 to 127"), (0, "under 64"))
"""Ranges of the median width of a video's faces in pixels: lower end and name."""
TREES, MOST_VIDEOS = 200, 10_000
"""Trees of a probe, and the most videos that each is grown on: on 95,000 a tree takes 1.4 s."""
UNKNOWN = "unknown"
SHOWN = ("log_loss", "log_loss_balanced", "roc_auc", "balanced_accuracy")
"""Scores of a subgroup that are kept."""


class FacePicture(TypedDict):
    """The columns of a face in `faces/` that this module reads."""

    image: bytes
    box: list[float]
    landmarks: list[float]


class VideoRow(TypedDict):
    """The columns of a video in `faces/` that its skin tone is measured from."""

    width: int
    height: int
    faces: list[FacePicture]


def break_down(config: Config, run: str, table: pa.Table, label: Int64Array, group: Int64Array) -> dict[str, object]:
    """Return `subgroups`, the scores by kind and name, and those of the two probes; ready for JSON.

    `metadata_probe` knows the facts of the files, `geometry_probe` the geometry and the encoding of the faces. `beyond_probe`
    is the AUC minus that of `metadata_probe`, over the same groups of each replicate.
    `table` holds the rows of `predictions/` that have a label and a probability; `label` (n,) is 1 for FAKE, else 0; `group`
    (n,) numbers the groups. The subgroup of a method holds its FAKE videos and all REAL ones.
    """
    facts = collect_video_facts(run, config.preprocess.margin, table.column("video_id"))
    rows = [facts[video_id] for video_id in table.column("video_id").to_pylist()]
    probability, settings = table.column("probability").to_numpy(), config.evaluate
    kinds = {kind: [row[kind] for row in rows] for kind in ("part", "resolution", "face_size", "skin_tone", "method")}
    found: dict[str, object] = {"subgroups": score_subgroups(config, kinds, probability, label, group)}
    unknown = IntervalScore(value=None, low=None, high=None)
    probes = {
        "metadata_probe": probe_files(run, table.column("video_id")),
        "geometry_probe": probe_faces(config, run, table.column("video_id")),
    }
    found["beyond_probe"] = unknown
    for name, probe in probes.items():
        area = unknown
        if probe is not None:
            area = score_videos(label, probe, group, bootstrap=settings.bootstrap, seed=settings.seed)["scores"]["roc_auc"]
        found[name] = {"roc_auc": area}
    files = probes["metadata_probe"]
    if files is not None:
        found["beyond_probe"] = compare_areas(
            label, probability, files, group, bootstrap=settings.bootstrap, seed=settings.seed
        )
    return found


def score_subgroups(
    config: Config, kinds: Mapping[str, Sequence[str]], probability: Float64Array, label: Int64Array, group: Int64Array
) -> dict[str, dict[str, SubgroupScores]]:
    """Return the scores of videos by kind and name; `kinds` has for each kind the name of every video (n,).

    That of the kind `method` holds the FAKE videos of the method and all REAL ones; there is none if no method is known.
    """
    settings = config.evaluate

    def score(own: BoolArray) -> SubgroupScores:
        found = score_videos(label[own], probability[own], group[own], bootstrap=settings.bootstrap, seed=settings.seed)
        return {
            "videos": found["videos"],
            "by_class": found["by_class"],
            "groups_by_class": found["groups_by_class"],
            "constants": found["constants"],
            "versus_constant": found["versus_constant"],
            "scores": {name: found["scores"][name] for name in SHOWN},
        }

    subgroups: dict[str, dict[str, SubgroupScores]] = {}
    for kind, values in kinds.items():
        names = np.array(values, dtype=object)
        if kind != "method":
            subgroups[kind] = {name: score(names == name) for name in sorted(set(names))}
        elif (shown := set(names[label == 1])) - {UNKNOWN}:
            subgroups[kind] = {name: score((label == 0) | (names == name)) for name in sorted(shown)}
    return subgroups


def read_learnable(run: str) -> pa.Table:
    """Return the rows of `manifest/` that a probe learns from.

    These are all labelled videos except those of the fold TRAIN_ONLY, whose source would give them away.
    """
    files = read_table(run, "manifest", ["video_id", "label", "fold", "bytes"])
    labelled, foldable = pc.is_in(files.column("label"), pa.array(LABELS)), pc.not_equal(files.column("fold"), TRAIN_ONLY)
    return files.filter(pc.and_(labelled, foldable))


def probe_files(run: str, video_ids: pa.ChunkedArray) -> Float64Array | None:
    """Return the probability of FAKE (n,) of the videos by the facts of their files.

    Returns None if a fold leaves one class to learn.
    """
    files = read_learnable(run)
    streams = read_table(run, "faces", ["video_id", "width", "height", "fps", "frame_count", "codec"])
    streams = streams.take(pc.index_in(files.column("video_id"), streams.column("video_id").combine_chunks()))
    measured = [files.column("bytes"), *(streams.column(name) for name in ("width", "height", "fps", "frame_count"))]
    numbers = np.stack([column.cast(pa.float64()).to_numpy() for column in measured], axis=1)
    return score_judged(numbers, streams.column("codec").to_pylist(), files, video_ids)


def probe_faces(config: Config, run: str, video_ids: pa.ChunkedArray) -> Float64Array | None:
    """Return the probability of FAKE (n,) of the videos by the geometry and the encoding of the faces that count.

    The classifier sees counts, time gaps, boxes, landmarks, and size, tables and bytes of the JPEGs, but no picture. Returns
    None if a fold leaves one class to learn.
    """
    files = read_learnable(run)
    return score_judged(measure_faces(config, run, files.column("video_id")), [None] * len(files), files, video_ids)


def score_judged(
    numbers: Float64Array, words: Sequence[str | None], files: pa.Table, video_ids: pa.ChunkedArray
) -> Float64Array | None:
    """Return what `score_files` makes of rows of `read_learnable`, for `video_ids` (n,) in their order."""
    probability = score_files(
        numbers,
        words,
        pc.equal(files.column("label"), "FAKE").cast(pa.int64()).to_numpy(),
        files.column("fold").to_numpy(),
        pc.is_in(files.column("video_id"), video_ids.combine_chunks()).to_numpy(),
    )
    place = pc.index_in(video_ids, files.column("video_id").combine_chunks()).to_numpy()
    return None if probability is None else probability[place]


def score_files(
    numbers: npt.ArrayLike, words: Sequence[str | None], label: npt.ArrayLike, fold: npt.ArrayLike, judged: npt.ArrayLike
) -> Float64Array | None:
    """Return the probability of FAKE (n,) of the judged videos by the facts of their files; NaN for the others.

    `numbers` (n, k), such as bytes, width and frames a second, are positive, and NaN where unknown; `words` (n,), such as
    the codec, are None where unknown; `label` (n,) is 0 or 1; `fold` (n,) holds integers; `judged` (n,) truth values. A random
    forest scores each judged video; it learns from all videos of the other folds, judged or not. Returns None if the other
    folds lack a class. If this probe ranks the videos as well as the network does, the network may not need the faces.
    Raises ValueError for unequal lengths or no videos.
    """
    from sklearn.ensemble import RandomForestClassifier

    facts = np.asarray(numbers, np.float64)
    truth, part, asked = np.asarray(label), np.asarray(fold), np.asarray(judged, bool)
    if facts.ndim != 2 or not len(facts) or not len(facts) == len(words) == len(truth) == len(part) == len(asked):
        shapes = f"{facts.shape}, {len(words)}, {truth.shape}, {part.shape}, {asked.shape}"
        raise ValueError(f"need rows of one length, not empty: {shapes}")
    kinds = sorted({word for word in words if word is not None})
    codes = np.array([[word == kind for kind in kinds] for word in words], np.float64).reshape(len(facts), len(kinds))
    table = np.hstack([np.nan_to_num(facts, nan=-1.0), codes])
    probability = np.full(len(facts), np.nan)
    for one in np.unique(part[asked]):
        others, own = part != one, asked & (part == one)
        if len(np.unique(truth[others])) < 2:
            return None
        forest = RandomForestClassifier(
            TREES,
            min_samples_leaf=2,
            max_samples=MOST_VIDEOS if others.sum() > MOST_VIDEOS else None,
            class_weight="balanced",
            random_state=0,
            n_jobs=-1,
        )
        forest.fit(table[others], truth[others]).set_params(n_jobs=1)  # threads would add the trees up in any order
        probability[own] = forest.predict_proba(table[own])[:, 1]
    return probability


def collect_video_facts(run: str, margin: float, video_ids: pa.ChunkedArray) -> dict[str, dict[str, str]]:
    """Return, by `video_id`, the names of the subgroups that a video belongs to, by kind."""
    # A run that an older version indexed has no column `method`.
    known = {row["video_id"]: row for row in read_table(run, "manifest", ["video_id", "part", "method"]).to_pylist()}
    facts = {}
    for videos in iterate_batches(run, "faces", ["video_id", "width", "height", "faces"]):
        for row in videos.filter(pc.is_in(videos.column("video_id"), value_set=video_ids.combine_chunks())).to_pylist():
            file = known[row["video_id"]]
            sides = (row["width"], row["height"])
            widths = [face["box"][2] - face["box"][0] for face in row["faces"]]
            facts[row["video_id"]] = {
                "part": file["part"] or UNKNOWN,
                "method": file.get("method") or UNKNOWN,
                "resolution": name_range(None if None in sides else min(sides), RESOLUTIONS),
                "face_size": name_range(float(np.median(widths)) if widths else None, FACE_SIZES),
                "skin_tone": name_skin_tone(row, margin),
            }
    return facts


def name_range(value: float | None, ranges: tuple[tuple[int, str], ...]) -> str:
    """Return the name of the range that a value falls in, UNKNOWN for None."""
    return UNKNOWN if value is None else next(name for low, name in ranges if value >= low)


def name_skin_tone(row: VideoRow, margin: float) -> str:
    """Return the name of a video's skin tone: the median over at most TONE_FACES faces. `margin` is that of the crops."""
    faces = row["faces"]
    angles = []
    for face in (faces[i] for i in spread_rows(len(faces), TONE_FACES)):
        image = decode_jpeg(face["image"])
        landmarks = landmarks_on_crop(
            face["landmarks"], np.array(face["box"]), margin, row["width"], row["height"], image.shape[0]
        )
        angles.append(tone_angle(image, landmarks))
    known = [angle for angle in angles if angle is not None]
    return tone_name(float(np.median(known))) if known else UNKNOWN
