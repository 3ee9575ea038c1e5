"""Write the page of all results, `docs/benchmarks.md`, from `benchmarks/results/*.json` and `benchmarks/notes/*.md`.

python -m benchmarks.page
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS

Result = dict[str, Any]
"""What one benchmark kept: its command, its machine, and fields of its own."""
Row = tuple[str, ...]
"""The formatted cells of one line of a table."""

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
NOTES = Path(__file__).parent / "notes"
"""Text written by hand: `NAME.md` goes above the tables of the benchmark NAME, `start.md` and `end.md` around all sections."""
LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Table:
    """A table of formatted cells, with one name for each column."""

    columns: Row
    rows: list[Row] = field(default_factory=list)

    def markdown(self) -> list[str]:
        """Return the lines of the table."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return [f"| {' | '.join(line)} |" for line in lines]


def format_number(value: float) -> str:
    """Return a number with three significant digits or more: 0.673, 21.9, 146.4, 1,073."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 100 else f"{value:.3g}"


def format_ratio(ours: float, theirs: float, *, less_is_better: bool = False) -> str:
    """Return how many times better ours is."""
    return format_number(theirs / ours if less_is_better else ours / theirs)


def tabulate_seconds(what: str, seconds: dict[str, float], *, unit: str = "seconds", less_is_better: bool = True) -> Table:
    """Return a table of the time of each method, with ours as the first."""
    ours = next(iter(seconds.values()))
    rows: list[Row] = [
        (method, format_number(value), format_ratio(ours, value, less_is_better=less_is_better) if index else "")
        for index, (method, value) in enumerate(seconds.items())
    ]
    return Table((what, unit, "ratio"), rows)


def tabulate_speeds(what: str, speeds: dict[str, float]) -> Table:
    """Return a table of the faces per second of each method, with ours as the first."""
    return tabulate_seconds(what, speeds, unit="faces/s", less_is_better=False)


def tabulate_preprocess(result: Result) -> list[Table]:
    """Compare the job with the report's recipe, a plain loop, and bare decoding."""
    seconds, by_height = result["seconds"], result["seconds_by_height"]
    clips = f"{result['frames']} frames of {sum(result['videos'].values())} clips"
    methods = {
        "`dfd-ray preprocess` through Ray": seconds["ray"],
        "the same functions in a plain loop": seconds["loop"],
        "the report's recipe": seconds["recipe"],
        "nothing but decoding": seconds["floor"],
    }
    heights = Table(("height", "clips", "our plain loop, s", "the report's recipe, s", "ratio"))
    for height, count in result["videos_by_height"].items():
        ours, theirs = by_height["loop"][height], by_height["recipe"][height]
        ratio = format_ratio(ours, theirs, less_is_better=True)
        heights.rows.append((height, str(count), format_number(ours), format_number(theirs), ratio))
    return [tabulate_seconds(clips, methods), heights]


def tabulate_detection(result: Result) -> list[Table]:
    """Compare the search for faces with facenet-pytorch's, every frame searched whole and as `preprocess` runs it."""
    times, faces = result["cpu_ms_per_frame"], result["reference_faces"]
    table = Table(
        (
            "`preprocess.search_every`", "faces found", "mean IoU", "landmarks off, mean", "99th percentile",
            "faces the reference does not see", "CPU ms a frame", "ratio",
        )
    )  # fmt: skip
    for way, one in result["search_every"].items():
        table.rows.append(
            (
                way,
                f"{one['found']:,} of {faces:,} ({one['found'] / faces:.1%})",
                f"{one['mean_iou']:.4f}",
                f"{one['landmarks_off'] * 100:.2g}%",
                f"{one['landmarks_off_99th_percentile'] * 100:.2g}%",
                f"{one['unseen']} of {one['reported']:,}",
                format_number(times[way]),
                format_ratio(times[way], times["facenet-pytorch"], less_is_better=True),
            )
        )
    table.rows.append(("facenet-pytorch 2.5.3", "", "", "", "", "", format_number(times["facenet-pytorch"]), ""))
    return [table]


def tabulate_detectors(result: Result) -> list[Table]:
    """Compare ours with each detector at each size, and the ways to read every tenth frame."""
    table = Table(("size", "detector", "frames", "with a face", "facenet-pytorch's faces found", "frames/s", "ratio"))
    for size, detectors in result["sizes"].items():
        ours = detectors["dfd_ray"]["frames_per_second"]
        for name, one in detectors.items():
            if "missing" in one:
                continue
            table.rows.append(
                (
                    size,
                    name,
                    str(one["frames"]),
                    f"{one['accuracy']:.1%}",
                    f"{one['agreement']['of_reference']:.1%}",
                    format_number(one["frames_per_second"]),
                    format_ratio(ours, one["frames_per_second"]) if name != "dfd_ray" else "",
                )
            )
    reading = {
        name if name == "dfd_ray" else f"OpenCV, {name}": result["reading"][name]["seconds"]
        for name in ("dfd_ray", "read", "grab and retrieve")
    }
    frames = result["reading"]["dfd_ray"]["frames"]
    return [table, tabulate_seconds(f"every tenth frame of ten videos, {frames} frames", reading)]


def tabulate_embed(result: Result) -> list[Table]:
    """Compare each network with the report's loop, in each precision, and Ray with a plain loop."""
    table = Table(
        ("network", "the report's loop, fp32", "ours, fp32", "ratio", "ours, bf16", "ratio", "cosine of bf16 to fp32")
    )
    for name, found in result["backbones"].items():
        speed = found["images_per_cpu_second"]
        cells = [name, format_number(speed["report"])]
        for precision in ("fp32", "bf16"):
            cells += [format_number(speed[precision]), format_ratio(speed[precision], speed["report"])]
        table.rows.append((*cells, f"{found['bf16_cosine_to_fp32']:.4f}"))
    ray = result["ray"]
    ways = {"through Ray": ray["faces_per_second"]["ray"], "in a plain loop": ray["faces_per_second"]["loop"]}
    return [table, tabulate_speeds(f"{ray['backbone']}, {ray['precision']}", ways)]


def tabulate_pca(result: Result) -> list[Table]:
    """Compare merged moments with scikit-learn in memory."""
    seconds = {"merged moments": result["seconds"]["total"], "scikit-learn, all in memory": result["scikit_learn_seconds"]}
    streamed = result["streamed"]
    row: Row = (f"{streamed['rows']:,}", format_number(streamed["seconds"]), format_number(streamed["peak_gib"]))
    return [
        tabulate_seconds(f"{result['rows']:,} rows of 2,560 to 50", seconds),
        Table(("rows of which only the moments are merged", "seconds", "memory at most, GiB"), [row]),
    ]


def tabulate_face_map(result: Result) -> list[Table]:
    """List the time of each step of `analyze`, and compare the sum with the time that the report gives."""
    seconds = result["seconds"]
    steps = {
        f"all steps, {result['faces']:,} faces": seconds["total"],
        "PCA": seconds["pca"],
        f"{result['tsne']['dimensions']}-D t-SNE": seconds["tsne"],
        "HDBSCAN of faces": seconds["hdbscan"],
        "HDBSCAN of videos": seconds["hdbscan_videos"],
        "measuring how good they are": seconds["quality"],
    }
    rows: list[Row] = [(step, format_number(value), "") for step, value in steps.items()]
    ratio = format_ratio(seconds["total"], result["report_seconds"], less_is_better=True)
    return [
        Table(("step", "seconds", "ratio"), [*rows, ("the report, as it says", format_number(result["report_seconds"]), ratio)])
    ]


def tabulate_scale(result: Result) -> list[Table]:
    """Compare the cost of a video in the smallest corpus with that in larger ones, one column a corpus."""
    corpora = result["results"]
    first = corpora[0]

    def compare(name: str) -> list[str]:
        return ["", *(format_ratio(one[name], first[name], less_is_better=True) for one in corpora[1:])]

    lines = {
        "CPU time of a video, ms": [format_number(one["cpu_ms_per_row"]) for one in corpora],
        "ratio of the CPU time": compare("cpu_ms_per_row"),
        "videos a second": [format_number(one["rows_per_second"]) for one in corpora],
        "memory of all processes at most, GiB": [format_number(one["peak_gib"]) for one in corpora],
        "ratio of the memory": compare("peak_gib"),
        "memory of the driver at most, GiB": [format_number(one["driver_peak_gib"]) for one in corpora],
        "spilled, MiB": [str(one["spilled_mib"]) for one in corpora],
        "videos in the table when killed": [f"{one['committed_when_killed']:,}" for one in corpora],
        "first new video after the restart, s": [
            format_number(one["seconds_to_go_on"]) if one["seconds_to_go_on"] is not None else "none was left"
            for one in corpora
        ],
        "end after the restart, s": [format_number(one["resume_seconds"]) for one in corpora],
    }
    columns = ("", *(f"{one['rows']:,} videos" for one in corpora))
    return [Table(columns, [(what, *cells) for what, cells in lines.items()])]


def tabulate_curves(ours: str, measures: dict[str, str]) -> Callable[[Result], list[Table]]:
    """Return a function that compares a method with each other one at the most points that both finished.

    Args:
        ours: the name of our method.
        measures: the heading of a column by the field of a point that it shows.
    """

    def tabulate(result: Result) -> list[Table]:
        done = {
            name: {point["points"]: point for point in curve if "stopped" not in point}
            for name, curve in result["curves"].items()
        }
        headings = [heading for title in measures.values() for heading in (title, f"{title}, ours")]
        table = Table(("method", "points", "seconds", "seconds, ours", "ratio", *headings))
        for name, points in done.items():
            if name != ours and (common := points.keys() & done[ours].keys()):
                theirs, own = points[max(common)], done[ours][max(common)]
                ratio = format_ratio(own["seconds"], theirs["seconds"], less_is_better=True)
                quality = [f"{point[measure]:.3f}" for measure in measures for point in (theirs, own)]
                seconds = (format_number(theirs["seconds"]), format_number(own["seconds"]))
                table.rows.append((name, f"{max(common):,}", *seconds, ratio, *quality))
        return [table]

    return tabulate


def tabulate_capacity(result: Result) -> list[Table]:
    """Compare the time that `dfd-ray plan` and a simulation predict with the time that the job took."""
    table = Table(("nodes", "measured, s", "as planned, s", "ratio", "as simulated, s", "ratio"))
    for one in result["results"]:
        seconds = one["seconds"]
        cells = [str(one["nodes"]), format_number(seconds["measured"])]
        for name in ("plan", "simulated"):
            cells += [format_number(seconds[name]), format_ratio(seconds["measured"], seconds[name], less_is_better=True)]
        table.rows.append(tuple(cells))
    return [table]


def tabulate_train(result: Result) -> list[Table]:
    """Compare training with each of its halves, and two workers with one."""
    speed = result["faces_per_second"]
    training = {
        "training": speed["together"],
        "its steps alone, fed from memory": speed["step"],
        "its input alone": speed["input"],
    }
    workers = {"two workers": speed["step_2"], "one worker": speed["step"]}
    return [tabulate_speeds("one worker", training), tabulate_speeds("the steps alone, fed from memory", workers)]


SECTIONS: dict[str, tuple[str, Callable[[Result], list[Table]] | None]] = {
    "preprocess": ("Preprocessing", tabulate_preprocess),
    "detection": ("Detection", tabulate_detection),
    "detectors": ("Face detectors", tabulate_detectors),
    "embed": ("Embedding", tabulate_embed),
    "pca": ("PCA", tabulate_pca),
    "face_map": ("The map of all faces", tabulate_face_map),
    "reduction": (
        "Maps",
        tabulate_curves("PCA + t-SNE", {"trustworthiness": "trustworthiness", "neighbour_preservation": "neighbours kept"}),
    ),
    "clustering": ("Clusters", tabulate_curves("HDBSCAN (dfd_ray)", {"adjusted_rand_index": "adjusted Rand index"})),
    "scale": ("Scale", tabulate_scale),
    "capacity": ("Capacity", tabulate_capacity),
    "train": ("Training", tabulate_train),
    "ablations": ("What training needs", None),
    "transfer": ("What carries over", None),
}
"""Title of each benchmark's section, and the function of its tables; None if the result holds its own table."""


PICTURES = {
    "detectors": "Frames a second of each detector at each size",
    "reduction": "Time and quality of each method by the number of points",
    "clustering": "Time and quality of each method by the number of points",
}
"""What the picture of a benchmark shows."""


def describe(machine: Result) -> str:
    """Return one line about a machine."""
    processor = f"{machine['processor']} ({machine['instructions'] or 'no AVX'})"
    return f"{machine['cores']} cores of {processor}, {machine['memory_gib']} GiB, Python {machine['python']}"


def label_machines(results: list[Result]) -> tuple[dict[str, str], list[str]]:
    """Name each machine of the results by a letter.

    Returns:
        The letter by the description of a machine, and the lines of a list with the package versions on each.
    """
    packages: dict[str, dict[str, list[str]]] = {}
    for result in results:
        for one in result.values():
            versions = packages.setdefault(describe(one["machine"]), {})
            for package, number in one["machine"]["packages"].items():
                if number not in versions.setdefault(package, []):
                    versions[package].append(number)
    letters = dict(zip(packages, LABELS, strict=False))
    lines = []
    for machine, versions in packages.items():
        named = ", ".join(f"{package} {' and '.join(numbers)}" for package, numbers in versions.items())
        lines.append(f"- **{letters[machine]}**: {machine}; {named}.")
    return letters, lines


def read_note(name: str) -> str:
    """Return the text written by hand for a section, empty if there is none."""
    path = NOTES / f"{name}.md"
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def make_page(results: list[Result]) -> str:
    """Return the page for the results of some machines, each a dictionary by benchmark."""
    letters, machines = label_machines(results)
    blocks = [read_note("start")]
    for name, (title, tabulate) in SECTIONS.items():
        blocks += [f"## {title}", read_note(name)]
        found = [result[name] for result in results if name in result]
        if not found:
            blocks.append(f"`python -m benchmarks.{name}` has not been run to its end yet.")
        for result in found:
            blocks.append(f"`{result['command']}`, [machine {letters[describe(result['machine'])]}](#machines):")
            tables = [table.markdown() for table in tabulate(result)] if tabulate else [result["table"]]
            blocks += ["\n".join(lines) for lines in tables]
        if found and name in PICTURES:
            blocks.append(f"![{PICTURES[name]}](images/{name}.png)")
    blocks += [read_note("end"), "## Machines", "\n".join(machines)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(
        make_page([json.loads(path.read_text()) for path in sorted(RESULTS.glob("*-cores.json"))]), encoding="utf-8"
    )
    print(PAGE)


if __name__ == "__main__":
    main()
