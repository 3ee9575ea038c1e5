"""The page of all results, `docs/benchmarks.md`, made from `benchmarks/results/*.json`.

python -m benchmarks.page
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Made by `python -m benchmarks.page` from what is kept in `benchmarks/results/`; `make bench` runs every benchmark on the machine
that it is called on, and then makes this page. Ours and its peers are measured in the same run. A ratio above 1 is how many
times better ours is.
"""


@dataclass(frozen=True)
class Row:
    """One comparison: our value, a peer's value, and whether less is better."""

    what: str
    unit: str
    ours: float
    peer: str
    theirs: float
    less_is_better: bool = False

    def markdown(self) -> str:
        """Return the row of a table."""
        ratio = self.theirs / self.ours if self.less_is_better else self.ours / self.theirs
        return f"| {self.what} | {self.ours:.3g} {self.unit} | {self.peer} | {self.theirs:.3g} {self.unit} | {ratio:.3g} |"


def preprocess_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Compare the job with the report's recipe, a plain loop, and bare decoding."""
    seconds = result["seconds"]
    for name, peer in [
        ("recipe", "the report's recipe"),
        ("loop", "the same functions in a plain loop"),
        ("floor", "nothing but decoding"),
    ]:
        yield Row(
            f"{result['frames']} frames of {sum(result['videos'].values())} clips",
            "s",
            seconds["ray"],
            peer,
            seconds[name],
            True,
        )
    by_height = result["seconds_by_height"]
    for height, clips in result["videos_by_height"].items():
        ours, theirs = by_height["loop"][height], by_height["recipe"][height]
        yield Row(f"{clips} clips of {height}, without Ray", "s", ours, "the report's recipe", theirs, True)


def embed_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Compare each network with the report's loop, in each precision."""
    for name, found in result["backbones"].items():
        speed = found["images_per_cpu_second"]
        for precision in ("fp32", "bf16"):
            what = f"{name}, {precision}" + (f", cosine {found['bf16_cosine_to_fp32']:.4f}" if precision == "bf16" else "")
            yield Row(what, "images/CPU s", speed[precision], "the report's loop, fp32", speed["report"])
    ray = result["ray"]["faces_per_second"]
    yield Row(f"{result['ray']['backbone']} through Ray", "faces/s", ray["ray"], "the same in a plain loop", ray["loop"])


def detection_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Compare the search for faces with facenet-pytorch's, every frame searched whole and as `preprocess` runs it."""
    times = result["cpu_ms_per_frame"]
    for way, one in result["search_every"].items():
        what = (
            f"{result['frames']} frames, one in {way} searched whole: {one['found']} of {result['reference_faces']} faces "
            f"found, IoU {one['mean_iou']:.3f}, landmarks off {one['landmarks_off']:.1%}, "
            f"{one['unseen']} of {one['reported']} unseen"
        )
        yield Row(what, "CPU ms/frame", times[way], "facenet-pytorch 2.5.3", times["facenet-pytorch"], True)


def detectors_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Compare ours with each detector at each size, and the ways to read every tenth frame."""
    for size, detectors in result["sizes"].items():
        ours = detectors["dfd_ray"]
        for name, theirs in detectors.items():
            if name != "dfd_ray" and "missing" not in theirs:
                what = f"{size}, {describe_accuracy('ours', ours)}, {describe_accuracy('peer', theirs)}"
                yield Row(what, "frames/s", ours["frames_per_second"], name, theirs["frames_per_second"])
    reading = result["reading"]
    for name in ("read", "grab and retrieve"):
        what = f"every tenth frame of ten videos, {reading['dfd_ray']['frames']}"
        yield Row(what, "s", reading["dfd_ray"]["seconds"], f"OpenCV, {name}", reading[name]["seconds"], True)


def describe_accuracy(whose: str, detector: dict[str, Any]) -> str:
    """Say in how many of its frames a detector finds a face, and how many of facenet-pytorch's faces it finds."""
    met = detector["agreement"]["of_reference"]
    return f"{whose} finds a face in {detector['accuracy']:.1%} of {detector['frames']} and {met:.1%} of facenet-pytorch's"


def pca_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Compare merged moments with scikit-learn in memory."""
    yield Row(
        f"{result['rows']:,} rows of 2,560 to 50", "s", result["seconds"]["total"], "scikit-learn, all in memory",
        result["scikit_learn_seconds"], True,
    )  # fmt: skip


def face_map_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Compare the time of `analyze` with the time that the report gives."""
    what = f"PCA, {result['tsne']['dimensions']}-D t-SNE and HDBSCAN of {result['faces']:,} faces, and how good they are"
    yield Row(what, "s", result["seconds"]["total"], "the report, as it says", result["report_seconds"], True)


def scale_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Compare the cost of a video in the smallest corpus with that in larger ones."""
    first, *others = result["results"]
    for other in others:
        what, peer = f"a video of {other['rows']:,}", f"of {first['rows']:,}"
        yield Row(f"CPU time of {what}", "ms", other["cpu_ms_per_row"], peer, first["cpu_ms_per_row"], True)
        yield Row(f"memory at most, {what}", "GiB", other["peak_gib"], peer, first["peak_gib"], True)
        if other["seconds_to_go_on"] is not None:
            what = f"killed at 99 % of {other['rows']:,}: until it goes on"
            yield Row(what, "s", other["seconds_to_go_on"], "to its end", other["resume_seconds"], True)


def curve_rows(ours: str) -> Callable[[dict[str, Any]], Iterator[Row]]:
    """Return a function that compares a method with each other one at the most points that both finished."""

    def rows(result: dict[str, Any]) -> Iterator[Row]:
        done = {
            name: {point["points"]: point["seconds"] for point in curve if "stopped" not in point}
            for name, curve in result["curves"].items()
        }
        for name, times in done.items():
            if name != ours and (common := times.keys() & done[ours].keys()):
                size = max(common)
                yield Row(f"{ours}, {size:,} points", "s", done[ours][size], name, times[size], True)

    return rows


def capacity_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Compare the time that `dfd-ray plan` and a simulation predict with the time that the job took."""
    for one in result["results"]:
        seconds = one["seconds"]
        for name, peer in (("plan", "as planned"), ("simulated", "as simulated")):
            what = f"{result['videos']} videos, nodes: {one['nodes']}"
            yield Row(what, "s", seconds["measured"], peer, seconds[name], True)


def train_rows(result: dict[str, Any]) -> Iterator[Row]:
    """Compare training with its slower half, and two workers with one."""
    speed = result["faces_per_second"]
    slower = min("input", "step", key=lambda name: speed[name])
    yield Row("training", "faces/s", speed["together"], f"its slower half alone, the {slower}", speed[slower])
    yield Row("steps of two workers of a core, fed from memory", "faces/s", speed["step_2"], "one", speed["step"])


SECTIONS: dict[str, tuple[str, Callable[[dict[str, Any]], Iterator[Row]] | None]] = {
    "preprocess": ("Preprocessing", preprocess_rows),
    "detection": ("Detection", detection_rows),
    "detectors": ("Face detectors", detectors_rows),
    "embed": ("Embedding", embed_rows),
    "pca": ("PCA", pca_rows),
    "face_map": ("The map of all faces", face_map_rows),
    "reduction": ("Maps", curve_rows("PCA + t-SNE")),
    "clustering": ("Clusters", curve_rows("HDBSCAN (dfd_ray)")),
    "scale": ("Scale", scale_rows),
    "capacity": ("Capacity", capacity_rows),
    "train": ("Training", train_rows),
    "ablations": ("What training needs", None),
    "transfer": ("What carries over", None),
}
"""Title of each benchmark's section, and the function of its rows; None if the result holds its own table."""


TABLE_HEAD = ("| | ours | peer | peer's | ratio |", "|---|---|---|---|---|")
PICTURES = {
    "detectors": "Frames a second of each detector at each size",
    "reduction": "Time and quality of each method by the number of points",
    "clustering": "Time and quality of each method by the number of points",
}
"""What the picture of a benchmark shows."""


def describe(machine: dict[str, Any]) -> str:
    """Return one line about a machine and the versions on it."""
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    processor = f"{machine['processor']} ({machine['instructions'] or 'no AVX'})"
    return f"{machine['cores']} cores of {processor}, {machine['memory_gib']} GiB; Python {machine['python']}, {packages}"


def make_page(results: list[dict[str, Any]]) -> str:
    """Return the page for the results of some machines, each a dictionary by benchmark."""
    parts = [HEAD]
    for name, (title, rows) in SECTIONS.items():
        parts.append(f"\n## {title}\n")
        found = [result[name] for result in results if name in result]
        if not found:
            parts.append(f"\n`python -m benchmarks.{name}` has not been run to its end yet.\n")
        for result in found:
            table = [*TABLE_HEAD, *(row.markdown() for row in rows(result))] if rows else result["table"]
            parts.append("\n".join([f"\n`{result['command']}`\n", *table, ""]))
            parts.append(f"\n{describe(result['machine'])}.\n")
        if found and name in PICTURES:
            parts.append(f"\n![{PICTURES[name]}](images/{name}.png)\n")
    return "".join(parts)


def main() -> None:
    """Write the page."""
    PAGE.write_text(
        make_page([json.loads(path.read_text()) for path in sorted(RESULTS.glob("*-cores.json"))]), encoding="utf-8"
    )
    print(PAGE)


if __name__ == "__main__":
    main()
