"""Measure methods of analysis by number of points, each in its own process and with a time limit, and draw the results."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from dfd_ray.arrays import Float32Array, Int64Array

SIZES = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 130_000)
DIMENSIONS = 50
VIDEOS, FACES = 25, 10
"""Videos of a person and faces of a video."""
BLOCK = 1_500
"""Vectors at once: about the faces of 128 videos."""

Result = dict[str, float | None]
Method = Callable[[Float32Array, Int64Array], Result]
"""Takes points (n, 50) and the person of each (n,). Returns its measurements, `seconds` among them."""


def make_faces(count: int) -> tuple[Float32Array, Int64Array]:
    """Return points (n, 50) shaped like PCA's scores of faces, and the person of each (n,).

    Faces of a video are near-duplicates, videos scatter around their person, and later components have less variance.
    """
    rng = np.random.default_rng(0)
    face = np.arange(count)
    video, person = face // FACES, face // (FACES * VIDEOS)
    people = rng.normal(size=(person[-1] + 1, DIMENSIONS))
    videos = rng.normal(size=(video[-1] + 1, DIMENSIONS)) * 0.5
    points = people[person] + videos[video] + rng.normal(size=(count, DIMENSIONS)) * 0.25
    return (points / np.sqrt(1 + np.arange(DIMENSIONS))).astype(np.float32), person


def widen(points: Float32Array, width: int) -> Iterator[Float32Array]:
    """Yield points (n, d) as vectors of `width` dimensions, like a network's, block by block and always the same.

    The points are rotated into all dimensions, and every dimension gets noise.
    """
    rng = np.random.default_rng(1)
    turned, _ = np.linalg.qr(rng.normal(size=(width, points.shape[1])))
    for start in range(0, len(points), BLOCK):
        part = points[start : start + BLOCK]
        yield (part @ turned.T + rng.normal(size=(len(part), width)) * 0.02).astype(np.float32)


def measure(methods: dict[str, Method], sizes: Sequence[int], limit: float) -> dict[str, list[dict[str, Any]]]:
    """Run every method on more and more points, until one run takes longer than `limit` seconds or fails."""
    curves: dict[str, list[dict[str, Any]]] = {}
    for name, method in methods.items():
        curves[name] = []
        for size in sizes:
            result = run_limited(method, size, limit)
            curves[name].append({"points": size, **result})
            print(name, curves[name][-1], flush=True)
            if "stopped" in result:
                break
    return curves


def run_limited(method: Method, size: int, limit: float) -> dict[str, Any]:
    """Return the measurements of a method, or the reason under `stopped`."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_run, args=(method, size, sender))
    child.start()
    sender.close()
    try:
        receiver.recv()  # ready
        return dict(receiver.recv()) if receiver.poll(limit) else {"stopped": f"after {limit:.0f} s"}
    except EOFError:
        return {"stopped": "failed"}
    finally:
        child.kill()
        child.join()


def _run(method: Method, size: int, sender: Connection) -> None:
    method(*make_faces(300))  # imports, and compiles what is compiled at first use
    points = make_faces(size)
    sender.send("ready")
    sender.send(method(*points))


def time_call(run: Callable[[], Any]) -> tuple[Any, float]:
    """Return what `run` returns and the seconds it took."""
    started = time.perf_counter()
    result = run()
    return result, time.perf_counter() - started


def parse_options(purpose: str) -> argparse.Namespace:
    """Read the options that both benchmarks have."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument(
        "--limit", type=float, default=600.0, help="most seconds of a method, with its measures of quality, without start-up"
    )
    parser.add_argument("--most", type=int, default=SIZES[-1], help="most points")
    options = parser.parse_args()
    options.sizes = [size for size in SIZES if size <= options.most]
    return options


def draw(name: str, curves: dict[str, list[dict[str, Any]]], qualities: Sequence[str]) -> None:
    """Write `docs/images/<name>.png`: seconds, and each quality, against the number of points."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 1 + len(qualities), figsize=(5.5 * (1 + len(qualities)), 4.5), layout="constrained")
    for axis, value in zip(axes, ("seconds", *qualities), strict=True):
        for number, (method, rows) in enumerate(curves.items()):
            known = [row for row in rows if row.get(value) is not None]
            axis.plot(
                [row["points"] for row in known], [row[value] for row in known], marker="os^vD<>P"[number % 8], label=method
            )
        axis.set(xlabel="points", title=value.replace("_", " "), xscale="log", yscale="log" if value == "seconds" else "linear")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize="small")
    figure.savefig(Path(__file__).parent.parent / "docs" / "images" / f"{name}.png", dpi=100)
