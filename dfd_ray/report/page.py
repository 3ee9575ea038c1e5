"""The page itself: what was read becomes one HTML file with everything inside."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow.compute as pc
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dfd_ray.config import Config
from dfd_ray.report.data import RunData, count_labels, read_run
from dfd_ray.report.faces import sample_videos
from dfd_ray.report.points import Points, choose_points
from dfd_ray.storage import absolute_uri, join, write_bytes

RELIABILITY_BINS = 10
JOB_OF = {
    "outcomes": "preprocess",
    "points": "analyze",
    "history": "train",
    "metrics": "evaluate",
    "predictions": "evaluate",
}
"""Which job makes what a section shows."""
SCORE_NAMES = {
    "log_loss": ("Log loss", "Kaggle's metric; lower is better"),
    "log_loss_balanced": ("Log loss, classes weighted equally", "a coin scores 0.693"),
    "roc_auc": ("ROC-AUC", "chance that a FAKE video scores above a REAL one; 0.5 is a coin"),
    "average_precision": ("Average precision", "of FAKE"),
    "balanced_accuracy": ("Balanced accuracy at 0.5", "mean of the two classes' shares that are right"),
    "brier": ("Brier score", "mean squared error of the probability; lower is better"),
}
QUALITY_NAMES = {
    "trustworthiness": "of the t-SNE map: are neighbours on the map neighbours in truth? 1 is perfect",
    "neighbour_preservation": "of the t-SNE map: share of the 15 nearest neighbours that are kept",
    "trustworthiness_pca": "the same for the first principal components alone",
    "neighbour_preservation_pca": "the same for the first principal components alone",
    "silhouette": "how far the clusters stand apart; -1 to 1",
    "purity_video": "share of clustered faces that are of their cluster's commonest video",
    "purity_group": "the same for groups of linked videos: people and scenes",
    "purity_label": "the same for REAL and FAKE: near the larger class's share, clusters say nothing of fakery",
}


def build_report(run: str, config: Config) -> str:
    """Write `<run>/report/index.html` from whatever the run has, and return its location.

    A part that is not there is named, with the job that makes it. Raises RunError where there is no run at all.
    """
    data = read_run(run, config)
    location = join(absolute_uri(run), "report", "index.html")
    write_bytes(location, render(data).encode())
    return location


def render(data: RunData) -> str:
    """Return the page as HTML; every name from outside is escaped, in the text and in the scripts' data."""
    points = choose_points(data)
    template = environment().get_template("page.html.j2")
    return template.render(
        data=data,
        points=points,
        job_of=JOB_OF,
        css=Markup(asset("page.css")),
        script=Markup(asset("page.js")),
        plotly=Markup(plotly_script() if points or data.metrics or data.history else ""),
        payload=as_script_data(payload(data, points)),
        headline=headline(data),
        changed=changed_settings(data),
        video_labels=count_labels(data.manifest) if data.manifest is not None else None,
        face_labels=count_labels(data.outcomes, "face_count") if data.outcomes is not None else None,
        broken=broken_videos(data),
        samples=sample_videos(data, data.config.report.sample_videos),
        predictions=prediction_rows(data),
        score_names=SCORE_NAMES,
        quality_names=QUALITY_NAMES,
    )


def payload(data: RunData, points: Points | None) -> dict[str, Any]:
    """Return what the figures draw."""
    return {
        "points": None
        if points is None
        else {
            **{name: values[: points.drawn] for name, values in points.columns.items()},
            "probability": probabilities_of(data, points.columns["video_id"][: points.drawn]),
            "sheets": points.sprites.sheets,
            "cell": points.sprites.cell,
            "columns": points.sprites.columns,
        },
        "history": data.history,
        "roc": (data.metrics or {}).get("roc"),
        "reliability": reliability(data),
    }


def headline(data: RunData) -> str:
    """Return the run's result in one sentence."""
    scores = (data.metrics or {}).get("scores", {})
    loss, auc = scores.get("log_loss"), scores.get("roc_auc")
    if not loss or loss.get("value") is None:
        videos = len(data.manifest) if data.manifest is not None else 0
        return f"{videos} videos; not scored yet: `dfd-ray evaluate` does that."
    constant = data.metrics["constants"]["natural"] if data.metrics else None
    sentence = f"Log loss {interval(loss)} on {data.metrics['videos']} videos" if data.metrics else ""
    if constant is not None:
        sentence += f"; the same probability for every video scores {constant:.3f}"
    return f"{sentence}. ROC-AUC {interval(auc)}." if auc and auc.get("value") is not None else f"{sentence}."


def interval(score: dict[str, float | None]) -> str:
    """Return a score with its 95 % interval."""
    if score.get("value") is None:
        return "undefined"
    text = f"{score['value']:.3f}"
    return f"{text} ({score['low']:.3f} to {score['high']:.3f})" if score.get("low") is not None else text


def changed_settings(data: RunData) -> list[tuple[str, Any, Any]]:
    """Return the settings that are not the defaults: name, value, default."""
    default = Config().model_dump(mode="json")
    return [
        (f"{section}.{name}", value, default[section][name])
        for section, values in data.config.model_dump(mode="json").items()
        if isinstance(values, dict) and section != "resources"
        for name, value in values.items()
        if value != default[section][name]
    ]


def broken_videos(data: RunData) -> list[dict[str, Any]]:
    """Return the videos without a usable face, the first 200 of them."""
    if data.outcomes is None:
        return []
    return list(data.outcomes.filter(pc.not_equal(data.outcomes.column("status"), "ok")).slice(0, 200).to_pylist())


def prediction_rows(data: RunData) -> list[dict[str, Any]]:
    """Return the rows of the table of predictions, the most wrong first, so that a cut leaves out the dull ones."""
    if data.predictions is None:
        return []
    rows = data.predictions.to_pylist()
    for row in rows:
        truth = {"REAL": 0.0, "FAKE": 1.0}.get(row["label"] or "")
        known = truth is not None and row["probability"] is not None
        row["error"] = abs(row["probability"] - truth) if known else -1.0
    return sorted(rows, key=lambda row: -row["error"])[: data.config.report.max_rows]


def probabilities_of(data: RunData, videos: list[str]) -> list[float | None] | None:
    """Return the probability of each face's video; None where nothing was predicted."""
    if data.predictions is None:
        return None
    columns = (data.predictions.column(name).to_pylist() for name in ("video_id", "probability"))
    known = dict(zip(*columns, strict=True))
    return [known.get(video) for video in videos]


def reliability(data: RunData) -> list[dict[str, float]] | None:
    """Return, for bins of the probability, the mean probability, the share of FAKE and the number of videos."""
    if data.predictions is None:
        return None
    table = data.predictions.filter(
        pc.and_(data.predictions.column("label").is_valid(), data.predictions.column("probability").is_valid())
    )
    probability = table.column("probability").to_numpy()
    fake = pc.equal(table.column("label"), "FAKE").to_numpy(zero_copy_only=False)
    bins = np.minimum((probability * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    return [
        {
            "mean": float(probability[bins == one].mean()),
            "share": float(fake[bins == one].mean()),
            "n": int((bins == one).sum()),
        }
        for one in np.unique(bins)
    ]


def as_script_data(value: Any) -> Markup:
    """Return a value as JSON that cannot end the script element it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def asset(name: str) -> str:
    """Return a file of the page's templates."""
    return files("dfd_ray.report").joinpath("templates", name).read_text(encoding="utf-8")


def plotly_script() -> str:
    """Return plotly.js, which the package carries, so that the page loads nothing."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script")


@cache
def environment() -> Environment:
    """Return the templates' environment, with everything escaped and nothing undefined."""
    found = Environment(
        loader=PackageLoader("dfd_ray.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["interval"] = interval
    return found
