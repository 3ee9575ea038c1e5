"""Plotly figures as plain dictionaries.

A string such as `--real` is a CSS variable. The page's script replaces it by its value, in light and in dark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import numpy as np
import pyarrow as pa

from dfd_ray.report.data import space_evenly
from dfd_ray.report.scores import compare_by_bin, count_by_bin
from dfd_ray.verdict.metrics import CALIBRATION_BINS, ReliabilityBin, RocCurve

EPOCHS_DRAWN = 200
UNIT = [-0.03, 1.05]

Trace = dict[str, object]
Epoch = dict[str, float]
"""`epoch` from 1, and its losses and AUC by name; a value that is missing or null is not drawn."""


class Figure(TypedDict):
    """What plotly.js draws."""

    data: list[Trace]
    layout: Mapping[str, object]


class Fold(TypedDict):
    """The training of a fold, as `models/history.json` has it."""

    fold: NotRequired[int]
    epochs: NotRequired[list[Epoch]]


def make_axis(title: str, **more: object) -> dict[str, object]:
    """Return an axis with a title."""
    return {"title": {"text": title, "standoff": 8}, **more}


def draw_diagonal() -> Trace:
    """Return the dotted line from (0, 0) to (1, 1)."""
    line = {"color": "--dim", "width": 1, "dash": "dot"}
    return {
        "type": "scatter",
        "x": [0, 1],
        "y": [0, 1],
        "mode": "lines",
        "line": line,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def draw_training_curves(history: Sequence[Fold]) -> dict[str, Figure]:
    """Return the figures `training-loss` and, where some epoch has one, `training-auc`, from the folds' epochs."""
    figures = {
        "training-loss": draw_curves(
            history,
            "loss of a face",
            [("train_loss", "training", "--dim", "dot"), ("validation_loss", "held out", "--accent", "solid")],
        )
    }
    if any(epoch.get("validation_auc") is not None for fold in history for epoch in fold.get("epochs", [])):
        auc = draw_curves(history, "AUC of held-out faces", [("validation_auc", "held out", "--accent", "solid")])
        auc["data"].insert(0, draw_level(0.5, history))
        figures["training-auc"] = auc
    return figures


def draw_curves(history: Sequence[Fold], title: str, kinds: Sequence[tuple[str, str, str, str]]) -> Figure:
    """Return a thin line per fold for each (key, name, colour, dash), and a thick one of the mean of several folds."""
    traces: list[Trace] = []
    for key, name, colour, dash in kinds:
        by_epoch: dict[float, list[float]] = {}
        for fold in history:
            epochs = [epoch for epoch in fold.get("epochs", []) if epoch.get(key) is not None]
            for epoch in epochs:
                by_epoch.setdefault(epoch["epoch"], []).append(epoch[key])
            label = f"{name}, fold {fold.get('fold')}"
            chosen = [epochs[i] for i in space_evenly(len(epochs), EPOCHS_DRAWN)]
            traces.append(draw_curve([e["epoch"] for e in chosen], [e[key] for e in chosen], label, colour, dash))
        if len(history) > 1:
            ordered = sorted(by_epoch)
            epochs_shown = [ordered[i] for i in space_evenly(len(ordered), EPOCHS_DRAWN)]
            means = [float(np.mean(by_epoch[epoch])) for epoch in epochs_shown]
            traces.append(draw_curve(epochs_shown, means, f"{name}, mean", colour, dash, bold=True))
    layout = {"xaxis": make_axis("epoch", dtick=choose_epoch_step(history)), "yaxis": make_axis(title), "hovermode": "closest"}
    return {"data": traces, "layout": layout}


def choose_epoch_step(history: Sequence[Fold]) -> int:
    """Return the number of epochs between two ticks, so that there are at most eight."""
    last = max((epoch["epoch"] for fold in history for epoch in fold.get("epochs", [])), default=1)
    return int(-(-last // 8))


def draw_curve(x: list[float], y: list[float], name: str, colour: str, dash: str, bold: bool = False) -> Trace:
    """Return one line; thin and pale unless bold."""
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "name": name,
        "mode": "lines+markers",
        "line": {"color": colour, "dash": dash, "width": 3 if bold else 1.5},
        "marker": {"color": colour, "size": 6 if bold else 4},
        "opacity": 1 if bold else 0.6,
        "hovertemplate": "%{y:.3f}<extra>%{fullData.name}, epoch %{x}</extra>",
        "showlegend": False,
    }


def draw_level(value: float, history: Sequence[Fold]) -> Trace:
    """Return a dotted level line over all epochs."""
    epochs = [epoch["epoch"] for fold in history for epoch in fold.get("epochs", [])]
    return draw_diagonal() | {"x": [min(epochs), max(epochs)], "y": [value, value]}


def draw_roc_curve(roc: RocCurve) -> Figure:
    """Return the ROC curve, with a ring at the threshold 0.5."""
    fpr, tpr, threshold = roc.get("fpr", []), roc.get("tpr", []), roc.get("threshold", [])
    line = {"color": "--accent", "width": 2.5, "shape": "hv"}
    hover = "finds %{y:.0%} of FAKE<br>accuses %{x:.0%} of REAL<extra></extra>"
    drawn: Trace = {"type": "scatter", "x": fpr, "y": tpr, "mode": "lines", "line": line, "hovertemplate": hover}
    traces: list[Trace] = [draw_diagonal(), drawn]
    reached = [i for i, value in enumerate(threshold) if value >= 0.5]
    if reached and len(threshold) == len(fpr):
        last = reached[-1]
        marker = {"color": "--paper", "size": 10, "line": {"color": "--accent", "width": 2.5}}
        traces.append(
            {"type": "scatter", "x": [fpr[last]], "y": [tpr[last]], "mode": "markers", "marker": marker, "hovertemplate": hover}
        )
    layout = {
        "xaxis": make_axis("REAL videos called FAKE", range=UNIT, tickformat=".0%"),
        "yaxis": make_axis("FAKE videos found", range=UNIT, tickformat=".0%"),
    }
    return {"data": traces, "layout": layout}


def draw_reliability(predictions: pa.Table, stored: Sequence[ReliabilityBin] | None) -> Figure | None:
    """Return how often videos given a probability are FAKE, before and after calibration; None without labels.

    `stored` is `reliability` of `evaluation/metrics.json`. An older run lacks it; its bins then have no intervals.
    """
    rows = stored or compare_by_bin(predictions, "probability")
    if not rows:
        return None
    raw = compare_by_bin(predictions, "raw_probability")
    traces: list[Trace] = [
        draw_diagonal(),
        draw_bins(raw, "uncalibrated", "--dim", "circle-open"),
        draw_bins(rows, "calibrated", "--accent", "circle"),
    ]
    traces[-1]["error_y"] = {
        "type": "data",
        "symmetric": False,
        "array": [high - row["share"] if (high := row.get("high")) is not None else 0 for row in rows],
        "arrayminus": [row["share"] - low if (low := row.get("low")) is not None else 0 for row in rows],
        "color": "--accent",
        "thickness": 1,
        "width": 0,
    }
    layout = {
        "xaxis": make_axis("probability of FAKE given", range=UNIT, tickformat=".0%"),
        "yaxis": make_axis("share that is FAKE", range=UNIT, tickformat=".0%"),
        "hovermode": "closest",
    }
    return {"data": traces, "layout": layout}


def draw_bins(rows: Sequence[ReliabilityBin], name: str, colour: str, symbol: str) -> Trace:
    """Return bins as joined points. A bin with more videos is larger."""
    most = max((row["n"] for row in rows), default=1)
    return {
        "type": "scatter",
        "x": [row["mean"] for row in rows],
        "y": [row["share"] for row in rows],
        "customdata": [row["n"] for row in rows],
        "name": name,
        "mode": "lines+markers",
        "line": {"color": colour, "width": 1.5},
        "marker": {"color": colour, "symbol": symbol, "size": [6 + 9 * (row["n"] / most) ** 0.5 for row in rows]},
        "hovertemplate": "given %{x:.2f}, %{y:.0%} are FAKE<br>%{customdata} videos<extra>%{fullData.name}</extra>",
        "showlegend": False,
    }


def draw_histogram(predictions: pa.Table) -> Figure | None:
    """Return the videos of each class by probability, REAL and FAKE side by side; None without labels."""
    counts = count_by_bin(predictions)
    if not sum(map(sum, counts.values())):
        return None
    centres = [(i + 0.5) / CALIBRATION_BINS for i in range(CALIBRATION_BINS)]
    hover = "%{y} videos<extra>%{fullData.name}, %{x:.2f} ± 0.05</extra>"
    traces: list[Trace] = [
        {
            "type": "bar",
            "x": centres,
            "y": values,
            "name": name,
            "marker": {"color": f"--{name.lower()}"},
            "hovertemplate": hover,
            "showlegend": False,
        }
        for name, values in counts.items()
    ]
    layout = {
        "xaxis": make_axis("probability of FAKE", range=[-0.01, 1.01], dtick=0.2, tickformat=".0%"),
        "yaxis": make_axis("videos"),
        "barmode": "group",
        "bargap": 0.15,
    }
    return {"data": traces, "layout": layout}
