"""From the log-odds of faces to the calibrated probability of every video, without a network.

Every labelled video is judged by what other folds teach: which aggregation is best, and what its scores mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.arrays import BoolArray, Float64Array, Int64Array
from dfd_ray.config import Config
from dfd_ray.errors import Status
from dfd_ray.labels import TRAIN_ONLY
from dfd_ray.sections import Evaluate
from dfd_ray.store.tables import flatten_faces
from dfd_ray.verdict.aggregation import METHODS, Method, aggregate
from dfd_ray.verdict.calibration import Calibration, fit_calibration
from dfd_ray.video import choose_frames


def count_judged_frames(config: Config) -> int:
    """Return the most frames of a video whose faces count: as many as are taken whatever its label.

    REAL videos give more of them to train on, and the number must not tell them apart when they are judged.
    """
    settings = config.preprocess
    return min(settings.frames_real, settings.frames_fake, settings.frames_unlabelled)


def choose_log_odds(scores: pa.Table, faces: pa.Table, most: int) -> list[Float64Array]:
    """Return, row by row of `scores`, the log-odds of the faces of at most `most` of the video's frames, spread evenly.

    `faces` has `video_id` and `faces` with `frame_index`. Frames are chosen, not faces: of two people in a picture both count,
    wherever each stands in the list.
    """
    faces = faces.take(pc.index_in(scores.column("video_id"), value_set=faces.column("video_id").combine_chunks()))
    frames = np.split(flatten_faces(faces).column("frame_index").to_numpy(), find_list_ends(faces.column("faces"))[:-1])
    log_odds = split_log_odds(scores)
    return [one[np.isin(places, choose_frames(np.unique(places), most))] for one, places in zip(log_odds, frames, strict=True)]


def split_log_odds(scores: pa.Table) -> list[Float64Array]:
    """Return the log-odds of all faces of each row of `scores`."""
    column = scores.column("log_odds")
    return np.split(pc.list_flatten(column).to_numpy().astype(float), find_list_ends(column)[:-1])


def find_list_ends(lists: pa.ChunkedArray) -> Int64Array:
    """Return where each list ends in the flattened column."""
    return np.cumsum(pc.list_value_length(lists).to_numpy())


def list_methods(settings: Evaluate) -> tuple[Method, ...]:
    """Return the aggregations that are tried: the one that is set, or all for `auto`."""
    return METHODS if settings.aggregation == "auto" else (settings.aggregation,)


def aggregate_videos(scores: pa.Table, faces: list[Float64Array], method: Method, frames: int) -> Float64Array:
    """Return the probability of FAKE of each video (n,), NaN where it has no face or every model has seen it.

    `faces` are the log-odds that count of each row of `scores`, found in at most so many `frames`.
    """
    status = scores.column("status").to_pylist()
    rows = zip(faces, status, strict=True)
    return np.array([aggregate(log_odds, method, frames) if one == Status.OK else np.nan for log_odds, one in rows])


class Verdict(NamedTuple):
    """What is known of the videos in the end, and what new ones are judged by."""

    probability: Float64Array
    """Of FAKE, (n,), calibrated and clipped."""
    raw: Float64Array
    """The same as aggregated from the faces, NaN where there is none."""
    aggregation: Method
    """For new videos."""
    calibration: Calibration | None
    """For new videos."""


def calibrate_videos(
    raw: dict[Method, Float64Array],
    label: Int64Array,
    fold: Int64Array,
    videos: pa.Table,
    settings: Evaluate,
) -> Verdict:
    """Return calibrated, clipped probabilities, and how new videos are judged.

    `raw` has the probabilities (n,) of each aggregation that may be chosen. A video is calibrated by the scored videos of
    other folds than its own, and by their log loss an aggregation is chosen; a video without a face gets their share of
    FAKE. Where one fold only was scored, its groups are parted into two halves that calibrate each other, if each can have
    both classes; otherwise the probabilities are not calibrated.
    """
    judged = (label >= 0) & (fold != TRAIN_ONLY)
    any_raw = next(iter(raw.values()))
    found = np.isfinite(any_raw)
    scored = found & judged
    group = videos.column("group").to_numpy(zero_copy_only=False)
    parts = fold if len(np.unique(fold[scored])) > 1 else split_in_halves(group, label, scored, settings.seed)
    used, probability = any_raw.copy(), np.empty(len(label))
    for part in np.unique(parts):
        own = parts == part
        others = scored & ~own
        method, calibration = choose_aggregation(raw, label, others, settings)
        used[own] = raw[method][own]
        probability[own] = calibration.apply(used[own]) if calibration else used[own]
        known = judged & ~own if (judged & ~own).any() else judged
        base_rate = float(label[known].mean()) if known.any() else 0.5
        probability[own & ~found] = base_rate
    clipped = np.clip(probability, settings.clip, 1 - settings.clip)
    return Verdict(clipped, used, *choose_aggregation(raw, label, scored, settings))


def choose_aggregation(
    raw: dict[Method, Float64Array], label: Int64Array, chosen: BoolArray, settings: Evaluate
) -> tuple[Method, Calibration | None]:
    """Return the aggregation with the least log loss on the chosen videos, and its calibration, None where there is none."""
    from sklearn.metrics import log_loss  # a second, which `predict` would wait for, too

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
    """Return the part of each video (n,): 0 and 1 are halves of the groups that were scored, each with both classes.

    All videos are of one part, -1, if no such halves are found; and so are those of groups of which none was scored.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # a second, which `predict` would wait for, too

    part = np.full(len(group), -1)
    groups_of = [len(np.unique(group[scored & (label == one)])) for one in (0, 1)]
    if min(groups_of) < 2:
        return part
    splitter = StratifiedGroupKFold(2, shuffle=True, random_state=seed)
    for number, (_, chosen) in enumerate(splitter.split(label[scored], label[scored], group[scored])):
        if len(np.unique(label[scored][chosen])) < 2:
            return np.full(len(group), -1)
        part[np.isin(group, group[scored][chosen])] = number
    return part
