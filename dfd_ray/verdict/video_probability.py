"""Turn the log-odds of faces into the calibrated probability of each video, without a network.

The aggregation and the calibration of a labelled video come from the other folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.arrays import BoolArray, Float64Array, Int64Array
from dfd_ray.config import Config
from dfd_ray.corpus.wording import count_of
from dfd_ray.errors import RunError, Status
from dfd_ray.labels import LABELS, NO_FOLD, TRAIN_ONLY
from dfd_ray.sections import Evaluate
from dfd_ray.store.tables import flatten_faces
from dfd_ray.verdict.aggregation import METHODS, Method, aggregate
from dfd_ray.verdict.calibration import Calibration, draw_calibration, fit_calibration
from dfd_ray.video import choose_frames


class Judged(NamedTuple):
    """What of each video counts when it is judged."""

    log_odds: list[Float64Array]
    """Those of the faces that count, (n,) for each video; n can be 0."""
    frames: Int64Array
    """Number of frames of each video that were searched for these faces."""


def count_judged_frames(config: Config) -> int:
    """Return the largest number of frames of a video whose faces count: the smallest of the settings for the labels.

    Training takes more frames of REAL videos. When videos are judged, the number of frames must not depend on the label.
    """
    return config.preprocess.least_frames


def choose_judged(scores: pa.Table, faces: pa.Table, config: Config) -> Judged:
    """Return, for each row of `scores`, the log-odds of the faces that count.

    `faces` has `video_id`, `sampled`, and `faces` with `frame_index`. All faces of a frame that `list_judged_frames` names
    count, wherever they are in the list.
    """
    faces = faces.take(pc.index_in(scores.column("video_id"), value_set=faces.column("video_id").combine_chunks()))
    places = np.split(flatten_faces(faces).column("frame_index").to_numpy(), find_list_ends(faces.column("faces"))[:-1])
    rows = faces.column("sampled").to_pylist() if "sampled" in faces.column_names else [None] * len(faces)
    log_odds, counts = [], []
    for one, found, sampled in zip(split_log_odds(scores), places, rows, strict=True):
        frames = list_judged_frames(sampled, found, config)
        log_odds.append(one[np.isin(found, frames)])
        counts.append(len(frames) if sampled is not None else count_judged_frames(config))
    return Judged(log_odds, np.array(counts, np.int64))


def list_judged_frames(sampled: list[list[int]] | None, found: Int64Array, config: Config) -> Int64Array:
    """Return the `frame_index` (n,) int64 of the frames of a video whose faces count.

    These are the frames of the first combs, as many combs as a video of any label has, whether or not they show a face:
    a choice among the frames with a face would take more of them of a REAL video, which has more frames to choose from.
    `sampled` are the frames by comb. It is None for a row of an older version; then the frames `found` (n,) with a face are
    thinned, as that version did.
    """
    if sampled is None:
        return choose_frames(np.unique(found), count_judged_frames(config))
    return np.array([frame for comb in sampled[: config.preprocess.shared_combs] for frame in comb], np.int64)


def split_log_odds(scores: pa.Table) -> list[Float64Array]:
    """Return the log-odds (n,) float64 of all faces of each row of `scores`."""
    column = scores.column("log_odds")
    return np.split(pc.list_flatten(column).to_numpy().astype(float), find_list_ends(column)[:-1])


def refuse_not_finite(scores: pa.Table, location: str) -> None:
    """Raise RunError, with the name of a video, where a classifier gave a face no number."""
    flat = pc.list_flatten(scores.column("log_odds")).to_numpy(zero_copy_only=False)
    if len(bad := np.flatnonzero(~np.isfinite(flat))):
        row = np.searchsorted(find_list_ends(scores.column("log_odds")), bad[0], side="right")
        raise RunError(
            f"{location}: the classifiers gave {len(bad)} of {len(flat)} faces no number, such as one of "
            f"{scores.column('video_id')[int(row)].as_py()}: their training diverged; "
            "train again with a lower train.learning_rate"
        )


def find_list_ends(lists: pa.ChunkedArray) -> Int64Array:
    """Return where each list ends in the flattened column, (n,) int64."""
    return np.cumsum(pc.list_value_length(lists).to_numpy())


def list_methods(settings: Evaluate) -> tuple[Method, ...]:
    """Return the aggregations to try: the one that is set, or all for `auto`."""
    return METHODS if settings.aggregation == "auto" else (settings.aggregation,)


def split_models(scores: pa.Table, models: int) -> list[pa.Table]:
    """Return rows of `scores/` once for each of several models, with the log-odds of that model alone.

    Raises ValueError for rows that an older version made, which kept the mean of the models only.
    """
    if models == 1:
        return [scores]
    place, name = scores.schema.get_field_index("log_odds"), "log_odds_by_model"
    scored = scores.column("status").to_pylist()
    rows = scores.column(name).to_pylist() if name in scores.column_names else [None] * len(scores)
    if any(status == Status.OK and len(row or ()) != models for status, row in zip(scored, rows, strict=True)):
        raise ValueError(f"its videos lack the scores of each of the {models} models")
    lists = [[row[number] if row else [] for row in rows] for number in range(models)]
    return [scores.set_column(place, scores.schema.field("log_odds"), pa.array(one, pa.list_(pa.float32()))) for one in lists]


def aggregate_videos(scores: pa.Table, judged: Judged, method: Method) -> Float64Array:
    """Return the probability of FAKE of each video (n,), NaN where no face counts or every model has seen it."""
    rows = zip(*judged, scores.column("status").to_pylist(), strict=True)
    return np.array(
        [aggregate(faces, method, frames) if one == Status.OK and len(faces) else np.nan for faces, frames, one in rows]
    )


class Verdict(NamedTuple):
    """The probabilities of the videos, and the aggregation and calibration for new ones."""

    probability: Float64Array
    """That of FAKE, (n,), calibrated and clipped."""
    raw: Float64Array
    """That of FAKE, (n,), as aggregated from the faces; NaN where there is no face."""
    aggregation: Method
    calibration: Calibration | None
    """That of all scored videos together; None if it is switched off or no labelled video has a score."""
    models: dict[int, Calibration]
    """The calibration of each model for new videos, by the fold that it never saw; empty where there is none."""
    remarks: list[str]
    """What is not calibrated, or not by what the model says, and why: a sentence each."""


def calibrate_videos(
    raw: dict[Method, Float64Array],
    label: Int64Array,
    fold: Int64Array,
    videos: pa.Table,
    settings: Evaluate,
    models: Sequence[int] = (),
) -> Verdict:
    """Choose the aggregation and calibrate the probability of each video by the scored videos of the other folds.

    `raw` has the probabilities (n,) by aggregation; `label` (n,) is 0, 1, or negative where unknown; `fold` (n,) may be
    TRAIN_ONLY; `videos` has the column `group`; `models` are the folds for which there is a model. The other folds' log loss
    decides the aggregation. A video without a face gets the share of FAKE in the other folds. If only one fold was scored, its
    groups are split in two halves that calibrate each other. If one half would lack a class, nothing is calibrated, and a video
    without a face gets the share of FAKE in the whole fold.
    """
    judged = (label >= 0) & (fold != TRAIN_ONLY)
    any_raw = next(iter(raw.values()))
    found = np.isfinite(any_raw)
    scored = found & judged
    group = videos.column("group").to_numpy(zero_copy_only=False)
    parts = fold if len(np.unique(fold[scored])) > 1 else split_in_halves(group, label, scored, settings.seed)
    used, probability, remarks = any_raw.copy(), np.empty(len(label)), list[str]()
    for part in np.unique(parts):
        own = parts == part
        method, calibration = choose_aggregation(raw, label, scored & ~own, settings)
        if remark := describe_calibration(calibration, scored & own, label[scored & ~own]):
            remarks += [remark] if settings.calibrate else []
        used[own] = raw[method][own]
        probability[own] = calibration.apply(used[own]) if calibration else used[own]
        known = judged & ~own if (judged & ~own).any() else judged
        probability[own & ~found] = float(label[known].mean()) if known.any() else 0.5
    clipped = np.clip(probability, settings.clip, 1 - settings.clip)
    method, calibration = choose_aggregation(raw, label, scored, settings)
    if not settings.calibrate:
        remarks = ["nothing is calibrated, as evaluate.calibrate = false says"]
    elif not scored.any():
        remarks = ["nothing is calibrated: no labelled video was scored by a model that never saw it"]
    lines = calibrate_models(calibration, raw[method], label, np.where(scored, fold, NO_FOLD), models) if calibration else {}
    return Verdict(clipped, used, method, calibration, lines, remarks)


def describe_calibration(calibration: Calibration | None, own: BoolArray, others: Int64Array) -> str:
    """Return how some videos are calibrated, if not by what the model says of them; empty if they are, or if there are none.

    `own` (n,) marks those videos among all that are scored; `others` (m,) are the labels of the videos that calibrate them.
    """
    videos = count_of(int(own.sum()), "video")
    if not own.any():
        return ""
    if calibration is None:
        return (
            f"the probabilities of {videos} are not calibrated: one fold alone is scored, and its groups cannot be split in "
            "two halves that both have REAL and FAKE"
        )
    if calibration.slope > 0:
        return ""
    if len(np.unique(others)) < 2:
        why = f"the videos that calibrate them are all {LABELS[others[0]]}"
    else:
        why = "among the videos that calibrate them, a higher score is no more often FAKE"
    return f"the probabilities of {videos} are all the same share of FAKE, whatever the model says of them: {why}"


def calibrate_models(
    together: Calibration, raw: Float64Array, label: Int64Array, fold: Int64Array, models: Sequence[int]
) -> dict[int, Calibration]:
    """Return the calibration of each model for new videos, by the fold that it never saw.

    `raw` (n,) is the probability of each video by the model of its fold, `fold` (n,) that fold, or one without a model where
    the video does not count. `together` is the calibration of all videos that count; it is that of a model alone, and that of a
    model without such a video.
    """
    lines = {}
    for one in models:
        own, others = fold == one, np.isin(fold, [model for model in models if model != one])
        alone = not own.any() or not others.any()
        line = together if alone else draw_calibration(fit_calibration(raw[others], label[others]), raw[own], label[own])
        lines[one] = line.with_prior(together.base_rate)
    return lines


def choose_aggregation(
    raw: dict[Method, Float64Array], label: Int64Array, chosen: BoolArray, settings: Evaluate
) -> tuple[Method, Calibration | None]:
    """Return the aggregation with the smallest log loss on the chosen videos, and its calibration or None."""
    from sklearn.metrics import log_loss  # importing it takes a second, also in `predict`

    first = next(iter(raw))
    if not chosen.any():
        return first, None
    fitted = {
        method: fit_calibration(one[chosen], label[chosen]) if settings.calibrate else None for method, one in raw.items()
    }
    if len(raw) == 1:
        return first, fitted[first]
    losses = {}
    for method, calibration in fitted.items():
        probability = calibration.apply(raw[method][chosen]) if calibration else raw[method][chosen]
        losses[method] = log_loss(label[chosen], np.clip(probability, settings.clip, 1 - settings.clip), labels=[0, 1])
    best = min(losses, key=losses.__getitem__)
    return best, fitted[best]


def split_in_halves(group: npt.NDArray[np.object_], label: Int64Array, scored: BoolArray, seed: int) -> Int64Array:
    """Split the scored groups in two halves with both classes each, and return the half of each video (n,), 0 or 1.

    It is -1 for a group without a scored video, and for all videos if a half would lack a class.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # importing it takes a second, also in `predict`

    part = np.full(len(group), -1)
    if min(len(np.unique(group[scored & (label == one)])) for one in (0, 1)) < 2:
        return part
    splitter = StratifiedGroupKFold(2, shuffle=True, random_state=seed)
    for number, (_, chosen) in enumerate(splitter.split(label[scored], label[scored], group[scored])):
        if len(np.unique(label[scored][chosen])) < 2:
            return np.full(len(group), -1)
        part[np.isin(group, group[scored][chosen])] = number
    return part
