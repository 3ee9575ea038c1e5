"""The page itself: one HTML file with everything inside."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dfd_ray.config import Config
from dfd_ray.report import figures, overview, scores, subgroups
from dfd_ray.report.data import RunData, count_labels, read_run
from dfd_ray.report.details import make_details_island
from dfd_ray.report.gallery import SampleVideo, sample_videos
from dfd_ray.report.images import reencode_base64
from dfd_ray.report.points import Points, choose_points, make_map_island
from dfd_ray.sections import Report
from dfd_ray.store.storage import absolute_uri, join, write_bytes
from dfd_ray.verdict.metrics import are_few

SIZE_LIMIT = 14_500_000
"""Most bytes of a page. A larger page is made again with half of everything."""
NAME_LENGTH = 120
EXAMPLES_AT_MOST, EXAMPLE_PIXELS = 40, 120
SCRIPTS = ("figures.js", "map.js", "details.js", "table.js")
SECTIONS = {
    "run": ("What was run", ""),
    "balance": ("Are the classes balanced?", ""),
    "faces": ("Is what was found a face?", "preprocess"),
    "map": ("Which faces are near each other?", "analyze"),
    "examples": ("What does training see?", ""),
    "training": ("Did training help?", "train"),
    "scores": ("How good are the probabilities?", "evaluate"),
    "subgroups": ("Are they as good for all videos?", ""),
    "videos": ("Which videos are wrong?", "evaluate"),
    "broken": ("Which videos gave no face?", ""),
    "settings": ("Which settings were used?", ""),
}
"""The sections in order: the title, and the job to run if the section is missing."""
ORDERS = {False: "largest errors", True: "most likely fakes"}
"""What comes first in the table of videos. In a folder of `predict` no errors are known."""


def build_report(run: str, config: Config) -> str:
    """Write `<run>/report/index.html` from whatever the run has, and return its location.

    The page opens offline, loads nothing, and has less than 15 MB. It names each missing part and the job that makes it.
    `config.report` sets how much it shows. Raises RunError if the folder holds no run.
    """
    data = read_run(run, config)
    location = join(absolute_uri(run), "report", "index.html")
    write_bytes(location, render_within(data, config.report))
    return location


def render_within(data: RunData, limits: Report, most: int = SIZE_LIMIT) -> bytes:
    """Return the page as UTF-8, halving how much it shows until it has at most `most` bytes or nothing is left to cut."""
    page = render(data, limits).encode()
    smaller = Report(
        max_points=max(10, limits.max_points // 2),
        sample_videos=limits.sample_videos // 2,
        max_rows=max(1, limits.max_rows // 2),
        pictured_rows=limits.pictured_rows // 2,
        clusters=limits.clusters // 2,
    )
    return page if len(page) <= most or smaller == limits else render_within(data, smaller, most)


def render(data: RunData, limits: Report) -> str:
    """Return the page as HTML. Every name from outside is escaped, in the text and in the scripts' data."""
    rows = scores.sort_by_error(data.predictions, limits.max_rows) if data.predictions is not None else None
    pictured = rows.column("video_id").to_pylist()[: limits.pictured_rows] if rows is not None else []
    points = choose_points(data, limits.max_points, limits.clusters, pictured)
    samples = sample_videos(data, limits.sample_videos)
    score_list = scores.list_scores(data.metrics or {})
    drawn = draw_figures(data)
    script = "\n".join(read_asset(name) for name in SCRIPTS)
    plotly = read_plotly() if drawn or points else ""
    context = {
        "data": data,
        "sections": list_sections(data, samples, points, bool(score_list)),
        "absent": list_absent_parts(data, samples, points, bool(score_list)),
        "headline": scores.summarise_predictions(data.predictions)
        if is_prediction(data) and data.predictions is not None
        else scores.summarise_scores(
            score_list, (data.metrics or {}).get("videos"), are_few((data.metrics or {}).get("groups_by_class") or {})
        ),
        "scores": score_list,
        "subgroups": subgroups.list_subgroups(data.metrics or {}),
        "probe": subgroups.read_metadata_probe(data.metrics or {}),
        "geometry": subgroups.read_geometry_probe(data.metrics or {}),
        "probed": bool((data.metrics or {}).get("metadata_probe")),
        "examples": list_examples(data),
        "jobs": overview.list_jobs(data),
        "changed": overview.list_changed_settings(data.config),
        "statuses": overview.count_statuses(data),
        "broken": overview.list_broken_videos(data),
        "broken_rows": overview.BROKEN_ROWS,
        "video_labels": count_labels(data.manifest) if data.manifest is not None else None,
        "face_labels": count_labels(data.outcomes, "face_count") if data.outcomes is not None else None,
        "samples": samples,
        "points": points,
        "analysis": data.summaries.get("analyze", {}),
        "map_qualities": overview.list_map_qualities(read_quality(data)),
        "cluster_qualities": overview.list_cluster_qualities(read_quality(data)),
        "figures": drawn,
        "rows": rows,
        "pictured": len(pictured),
        "order": ORDERS[is_prediction(data)],
        "css": Markup(read_asset("page.css")),
        "plotly": Markup(plotly),
        "script": Markup(script),
        "script_hashes": [hash_script(text) for text in (plotly, script) if text],
        "islands": make_islands(data, points, drawn, rows, len(pictured)),
    }
    return make_environment().get_template("page.html.j2").render(context)


def list_examples(data: RunData) -> dict[str, list[tuple[str, list[str]]]]:
    """Return name and pictures of each thing that training does to faces, by its kind."""
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for one in data.examples[:EXAMPLES_AT_MOST]:
        pictures = [reencode_base64(text, EXAMPLE_PIXELS) for text in one.get("pictures", [])[:EXAMPLES_AT_MOST]]
        found.setdefault(str(one.get("kind", "")), []).append((str(one.get("name", "")), pictures))
    return found


def list_sections(data: RunData, samples: list[SampleVideo], points: Points | None, scored: bool) -> dict[str, str]:
    """Return the titles of the sections that have something to show, by their name, in their order."""
    present = {
        "run": True,
        "balance": data.manifest is not None,
        "faces": bool(samples),
        "map": points is not None,
        "examples": bool(data.examples),
        "training": bool(data.history),
        "scores": scored,
        "subgroups": bool((data.metrics or {}).get("subgroups") or (data.metrics or {}).get("metadata_probe")),
        "videos": data.predictions is not None,
        "broken": overview.list_broken_videos(data) is not None,
        "settings": True,
    }
    titles = {name: title for name, (title, _) in SECTIONS.items() if present[name]}
    return titles | ({"videos": "Which videos are likely FAKE?"} if is_prediction(data) and "videos" in titles else {})


def is_prediction(data: RunData) -> bool:
    """Return whether this is a folder of `predict`, whose videos have no labels."""
    return "predict" in data.summaries and "index" not in data.summaries


def list_absent_parts(data: RunData, samples: list[SampleVideo], points: Points | None, scored: bool) -> list[tuple[str, str]]:
    """Return the title and the job of each section that is missing and that a job could make.

    A section that is empty because its job found nothing to show is not listed.
    """
    if is_prediction(data):
        return []
    present = list_sections(data, samples, points, scored)
    done = {"preprocess": data.outcomes is not None}
    return [(title, job) for name, (title, job) in SECTIONS.items() if job and name not in present and not done.get(job, False)]


def draw_figures(data: RunData) -> dict[str, figures.Figure]:
    """Return the figures except the map, by the id of their place on the page."""
    drawn = figures.draw_training_curves(data.history) if data.history else {}
    if roc := (data.metrics or {}).get("roc"):
        drawn["roc"] = figures.draw_roc_curve(roc)
    if data.predictions is not None:
        found = {
            "reliability": figures.draw_reliability(data.predictions, (data.metrics or {}).get("reliability")),
            "histogram": figures.draw_histogram(data.predictions),
        }
        drawn |= {name: figure for name, figure in found.items() if figure}
    return drawn


def make_islands(
    data: RunData, points: Points | None, drawn: dict[str, figures.Figure], rows: pa.Table | None, pictured: int
) -> dict[str, Markup]:
    """Return the data of the page's scripts, as JSON, by the id of the element that carries it."""
    found: dict[str, Any] = {"figures-data": drawn}
    if points is not None:
        found["map-data"] = make_map_island(points, read_probabilities(data.predictions))
        found["map-data"]["videos"] = [shorten(name) for name in found["map-data"]["videos"]]
    if rows is not None:
        portraits = points.portraits if points is not None else {}
        found["table-data"] = scores.make_table_island(rows) | make_details_island(data, rows, pictured, portraits)
        found["table-data"]["video_id"] = [shorten(name) for name in found["table-data"]["video_id"]]
    return {name: as_json(value) for name, value in found.items()}


def read_quality(data: RunData) -> dict[str, float | None]:
    """Return the measures that `analyze` stored."""
    quality = data.summaries.get("analyze", {}).get("quality")
    return quality if isinstance(quality, dict) else {}


def read_probabilities(predictions: pa.Table | None) -> dict[str, object]:
    """Return the probability of FAKE of each video that has one."""
    if predictions is None:
        return {}
    pairs = zip(predictions.column("video_id").to_pylist(), predictions.column("probability").to_pylist(), strict=True)
    return {name: scores.round_for_json(value) for name, value in pairs if value is not None}


def as_json(value: object) -> Markup:
    """Return a value as JSON that cannot end, or begin, a script element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def hash_script(text: str) -> str:
    """Return the hash by which the page's security policy lets this script run."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def read_asset(name: str) -> str:
    """Return a file of the page's templates."""
    return files("dfd_ray.report").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def read_plotly() -> str:
    """Return plotly.js, which the Python package carries."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs()).replace("</script", "<\\/script").replace("\r", "")


def shorten(name: str) -> str:
    """Return a name, without its middle if it is longer than NAME_LENGTH."""
    half = (NAME_LENGTH - 1) // 2
    return name if len(name) <= NAME_LENGTH else f"{name[:half]}…{name[-half:]}"


def show_duration(seconds: float | None) -> str:
    """Return seconds as text in hours, minutes or seconds."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def show_thousands(value: float | None) -> str:
    """Return a whole number with a comma between thousands."""
    return "" if value is None else f"{value:,.0f}"


@cache
def make_environment() -> Environment:
    """Return the templates' environment, with everything escaped and nothing undefined."""
    found = Environment(
        loader=PackageLoader("dfd_ray.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(duration=show_duration, thousands=show_thousands, shorten=shorten)
    return found
