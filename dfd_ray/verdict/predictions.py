"""The rows of `predictions/`: of a run's own videos, which other folds judge, and of new ones."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.arrays import Int64Array
from dfd_ray.config import Config
from dfd_ray.corpus.labelled import Labelled
from dfd_ray.corpus.wording import count_of
from dfd_ray.errors import Status
from dfd_ray.labels import LABELS, NO_FOLD
from dfd_ray.verdict.aggregation import METHODS, Method
from dfd_ray.verdict.breakdown import UNKNOWN, break_down, score_subgroups
from dfd_ray.verdict.calibration import Calibration, average_models
from dfd_ray.verdict.metrics import FEW_GROUPS, VideoScores, are_few, measure_reliability, score_videos, trace_roc
from dfd_ray.verdict.video_probability import (
    Judged,
    Verdict,
    aggregate_videos,
    calibrate_videos,
    choose_judged,
    count_judged_frames,
    list_methods,
    split_log_odds,
    split_models,
)


@dataclass(frozen=True)
class Judgement:
    """How new videos are judged: what `evaluation/calibration.json` holds."""

    aggregation: Method
    calibration: Calibration | None
    """That of all models together; None if nothing is calibrated."""
    models: dict[int, Calibration] | None = None
    """That of each model, by the fold that it never saw; None in a file of an older version."""
    frames: int | None = None
    """The most frames of a video that were judged; None in a file of an older version."""
    remarks: Sequence[str] = ()
    """Why nothing is calibrated."""

    def to_dict(self) -> dict[str, object]:
        """Return the facts, ready for JSON."""
        models = {str(fold): line.to_dict() for fold, line in (self.models or {}).items()}
        return {
            "calibration": self.calibration.to_dict() if self.calibration else None,
            "aggregation": self.aggregation,
            "models": models,
            "frames": self.frames,
            "remarks": list(self.remarks),
        }

    @classmethod
    def from_dict(cls, values: object) -> Judgement:
        """Return the facts that `to_dict` wrote, or an older version of it. Raises ValueError, in one line, for others."""
        if not isinstance(values, dict):
            raise ValueError("it holds no object")
        for name in ("calibration", "aggregation"):
            if name not in values:
                raise ValueError(f"it has no {name}")
        if values["aggregation"] not in METHODS:
            raise ValueError(f"its aggregation is {values['aggregation']!r}, not one of {', '.join(METHODS)}")
        models, frames, remarks = (values.get(name) for name in ("models", "frames", "remarks"))
        if not isinstance(models, dict | None) or not all(str(fold).isdecimal() for fold in models or {}):
            raise ValueError(f"its models are {models!r}, not calibrations by fold")
        if not isinstance(frames, int | None):
            raise ValueError(f"its frames are {frames!r}, not a number")
        return cls(
            values["aggregation"],
            None if values["calibration"] is None else Calibration.from_dict(values["calibration"]),
            None if models is None else {int(fold): Calibration.from_dict(line) for fold, line in models.items()},
            frames,
            [str(remark) for remark in remarks] if isinstance(remarks, list) else (),
        )

    def list_lines(self, folds: Sequence[int], prior: float | None) -> list[Calibration]:
        """Return the calibration of the model of each fold, for a share `prior` of FAKE; none if nothing is calibrated.

        Raises ValueError where a model has none.
        """
        if self.calibration is None:
            return []
        if self.models is not None and (missing := [fold for fold in folds if fold not in self.models]):
            raise ValueError(f"it has no calibration of the model without fold {missing[0]}")
        lines = [self.calibration if self.models is None else self.models[fold] for fold in folds]
        return lines if prior is None else [line.with_prior(prior) for line in lines]


def predict_own(
    videos: pa.Table, scores: pa.Table, frames: pa.Table, folds: list[int], config: Config
) -> tuple[pa.Table, Verdict]:
    """Return the rows of `predictions/` for a run's own videos, in the order of `videos`, and how new ones are judged.

    `videos` are rows of `manifest/`, `scores` of `scores/`, `frames` of `faces/` with the `frame_index` of each face and the
    `sampled` frames. `folds` are those that a model was kept away from. A video without a label is judged as a new one is,
    but for the share of FAKE among the labelled ones.
    """
    scores = scores.take(pc.index_in(videos.column("video_id"), value_set=scores.column("video_id").combine_chunks()))
    chosen = choose_judged(scores, frames, config)
    raw = {method: aggregate_videos(scores, chosen, method) for method in list_methods(config.evaluate)}
    label = np.array([{"REAL": 0, "FAKE": 1}.get(value, -1) for value in videos.column("label").to_pylist()])
    fold = np.array([NO_FOLD if value is None else value for value in videos.column("fold").to_pylist()])
    judged = calibrate_videos(raw, label, fold, videos, config.evaluate, folds)
    probability = judged.probability
    unlabelled = np.isfinite(judged.raw) & (label < 0)
    if unlabelled.any() and len(folds) > 1:
        rows = split_models(scores.filter(pa.array(unlabelled)), len(folds))
        alone = np.stack(
            [aggregate_videos(one, choose_judged(one, frames, config), judged.aggregation) for one in rows], axis=1
        )
        lines = [judged.models[one] for one in folds] if judged.models else []
        judged.raw[unlabelled] = average_models(alone)
        averaged = average_models(alone, lines)
        probability[unlabelled] = np.clip(averaged, config.evaluate.clip, 1 - config.evaluate.clip)
    # Videos of a fold that every model has seen are not judged, not even those without a face.
    probability[(label >= 0) & ~np.isin(fold, folds)] = np.nan
    used = np.array([len(log_odds) for log_odds in chosen.log_odds])
    faceless = pc.and_(pc.equal(scores.column("status"), Status.OK), pa.array(used == 0))
    columns = {
        "video_id": videos.column("video_id"),
        "label": videos.column("label"),
        "fold": videos.column("fold"),
        "probability": pa.array(probability, from_pandas=True),
        "raw_probability": pa.array(judged.raw, from_pandas=True),
        "faces_used": pa.array(used, pa.int32()),
        # Only frames that do not count show a face: of a FAKE video they would not have been taken.
        "status": pc.if_else(faceless, Status.NO_FACE, scores.column("status")),
    }
    return pa.table(columns), judged


def predict_new(
    scores: pa.Table, facts: Judgement | None, config: Config, folds: Sequence[int] = (0,)
) -> tuple[pa.Table, list[str]]:
    """Return the rows of `predictions/` for rows of `scores/` of new videos, and remarks on how they are judged.

    `facts` are those of the run whose classifiers scored them, None before it was evaluated; `folds` are those that its models
    were kept away from. Each model's faces are aggregated and calibrated by themselves, as its held-out videos were; the
    probability is the mean of the models' calibrated log-odds. Raises ValueError for scores or facts that lack a model.
    """
    method = facts.aggregation if facts else list_methods(config.evaluate)[0]
    most = count_judged_frames(config)
    searched = pc.fill_null(scores.column("frames_decoded"), most) if "frames_decoded" in scores.column_names else None
    frames = np.full(len(scores), most) if searched is None else searched.to_numpy()
    rows = split_models(scores, len(folds))
    alone = np.stack([aggregate_videos(one, Judged(split_log_odds(one), frames), method) for one in rows], axis=1)
    lines = facts.list_lines(folds, config.predict.prior) if facts else []
    raw, probability = average_models(alone), average_models(alone, lines)
    probability = np.clip(probability, config.evaluate.clip, 1 - config.evaluate.clip)
    probability = np.where(np.isfinite(raw), probability, config.predict.fallback_probability)
    faces = split_log_odds(scores)
    columns = {
        "video_id": scores.column("video_id"),
        "label": pa.nulls(len(scores), pa.string()),
        "fold": pa.nulls(len(scores), pa.int32()),
        "probability": pa.array(probability),
        "raw_probability": pa.array(raw, from_pandas=True),
        "faces_used": pa.array([len(log_odds) for log_odds in faces], pa.int32()),
        "status": scores.column("status"),
    }
    return pa.table(columns), describe_judgement(facts, lines, int(np.isnan(raw).sum()), config)


def describe_judgement(facts: Judgement | None, lines: list[Calibration], without: int, config: Config) -> list[str]:
    """Return what the reader of predictions must know: what is not calibrated and why, and how many videos have no score."""
    remarks = []
    if not facts:
        remarks.append("not calibrated: run `dfd-ray evaluate` on the training run first; predict.prior has no effect")
    elif not lines:
        why = "; ".join(facts.remarks) or "evaluate.calibrate was false, or no labelled video was scored"
        remarks.append(f"not calibrated, since in the training run {why}; predict.prior has no effect")
    elif ignored := sum(line.slope == 0 for line in lines):
        remarks.append(
            f"by {ignored} of {count_of(len(lines), 'model')} every video has the same probability: among the videos that "
            "calibrate it, a higher score is no more often FAKE"
        )
    if without:
        remarks.append(
            f"{count_of(without, 'video')} without a score, broken or without a face, "
            f"given predict.fallback_probability = {config.predict.fallback_probability:g}"
        )
    return remarks


def measure_predictions(
    run: str, config: Config, predictions: pa.Table, groups: pa.ChunkedArray, remarks: Sequence[str] = ()
) -> dict[str, object]:
    """Return the content of `evaluation/metrics.json` for rows of `predictions/` and the group of each, ready for JSON.

    `remarks` are those of the `Verdict`; `remarks` of the result has them, and what else limits what the scores say.
    """
    judged = pc.and_(predictions.column("label").is_valid(), predictions.column("probability").is_valid())
    table = predictions.filter(judged)
    metrics: dict[str, object] = {"videos": len(table), "aggregation": config.evaluate.aggregation}
    if len(table):
        label, group = number_labels(table), number_groups(groups.filter(judged))
        scores, limits = score_labelled(config, table, label, group)
        metrics |= scores | break_down(config, run, table, label, group)
        remarks = [*remarks, *limits]
    metrics["remarks"] = [*remarks, *describe_unscored(predictions)]
    metrics["by_status"] = count_by_status(predictions)
    return metrics


def measure_new(config: Config, predictions: pa.Table, labelled: Labelled) -> dict[str, object]:
    """Return the content of `evaluation/metrics.json` for rows of `predictions/` of new videos, of which some have labels.

    Scores by resolution, face and tone, and the two probes, need faces, which are not kept of new videos.
    """
    table = predictions.filter(predictions.column("label").is_valid())
    names = table.column("video_id").to_pylist()
    label, group = number_labels(table), number_groups(pa.array([labelled.group[name] for name in names]))
    metrics, remarks = score_labelled(config, table, label, group)
    kinds = {
        "part": [posixpath.dirname(name) for name in names],
        "method": [labelled.method[name] or UNKNOWN for name in names],
    }
    metrics["subgroups"] = score_subgroups(config, kinds, table.column("probability").to_numpy(), label, group)
    return metrics | {"videos": len(table), "remarks": remarks, "by_status": count_by_status(predictions)}


def score_labelled(
    config: Config, table: pa.Table, label: Int64Array, group: Int64Array
) -> tuple[dict[str, object], list[str]]:
    """Return the scores of rows of `predictions/` that have labels and probabilities, and what limits them."""
    probability, settings = table.column("probability").to_numpy(), config.evaluate
    scores = score_videos(label, probability, group, bootstrap=settings.bootstrap, seed=settings.seed)
    bins = measure_reliability(label, probability, group, bootstrap=settings.bootstrap, seed=settings.seed)
    roc = trace_roc(label, probability) if len(set(label.tolist())) == 2 else None
    return {**scores, "reliability": bins, "roc": roc}, describe_intervals(scores)


def number_labels(table: pa.Table) -> Int64Array:
    """Return 1 for a FAKE row, 0 for another."""
    return np.asarray(pc.equal(table.column("label"), "FAKE").cast(pa.int64()).to_numpy())


def number_groups(groups: pa.ChunkedArray | pa.Array) -> Int64Array:
    """Return a number for each name, the same for the same."""
    return np.unique(groups.to_numpy(zero_copy_only=False), return_inverse=True)[1]


def count_by_status(predictions: pa.Table) -> dict[str, int]:
    """Return the number of rows of each status."""
    return {row["values"]: row["counts"] for row in predictions.column("status").value_counts().to_pylist()}


def describe_intervals(scores: VideoScores) -> list[str]:
    """Return what limits the intervals of scores: a missing class, a single group, few groups, replicates left out."""
    drawn, usable = int(scores["bootstrap"]["replicates"]), int(scores["bootstrap"]["usable"])
    groups = {name: count for name, count in scores["groups_by_class"].items() if count}
    remarks = [f"no {name} video is judged: scores that need both classes are missing" for name in LABELS if name not in groups]
    if not drawn:
        return [*remarks, "no score has an interval, as evaluate.bootstrap = 0 says"]
    if not usable:
        return [*remarks, "no score has an interval: there is one group only, or every draw of the groups lost a class"]
    if are_few(groups):
        counts = " and ".join(f"{count_of(count, 'group')} with a {name} video" for name, count in groups.items())
        remarks.append(f"the intervals are rough: they draw from {counts}, and {FEW_GROUPS} of each are few already")
    if usable < drawn:
        remarks.append(f"the intervals leave out {drawn - usable} of {drawn} draws of the groups, which lost a class")
    return remarks


def describe_unscored(predictions: pa.Table) -> list[str]:
    """Return how many videos have no score of a model and yet count, and how many do not count."""
    labelled, given = predictions.column("label").is_valid(), predictions.column("probability").is_valid()
    scored = pc.equal(predictions.column("status"), Status.OK)
    counted = pc.and_(labelled, given)
    blind = pc.sum(pc.and_(counted, pc.invert(scored))).as_py() or 0
    seen = pc.sum(pc.and_(labelled, pc.invert(given))).as_py() or 0
    remarks = []
    if blind:
        remarks.append(
            f"{blind:,} of the {pc.sum(counted).as_py():,} videos are broken or show no face, so no model scored them: their "
            "probability is the share of FAKE among labelled videos, of other folds where there are several"
        )
    if seen:
        remarks.append(f"{count_of(seen, 'labelled video')} not judged, because every model has learnt from the fold")
    return remarks
