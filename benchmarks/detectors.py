"""The report's table 3.1: face detectors on 300 frames of 540 x 960, 720 x 1280 and 1080 x 1920, how fast and how well.

    make bench-peers && python -m benchmarks.detectors [FOLDER OF VIDEOS] [--limit SECONDS]

Without a folder, the benchmark makes the demo corpus. It takes ten consecutive frames of each of thirty evenly chosen videos,
scales them to each size, and takes one of each video in turn. A detector stops after the given seconds and reports how many
frames it has searched. dlib, TensorFlow's MTCNN and OpenCV's Haar cascades have their own environment (`.venv-peers`). A
detector that is not installed is a row that says so.

- `agreement`: on the frames that both have searched, the share of faces with a probability of 0.95 or more in unbatched
  facenet-pytorch that a detector finds, and the number per frame that it finds and facenet-pytorch does not. Boxes agree from
  an overlap (IoU) of 0.3 on, because detectors frame a face differently.
- `accuracy`: the share of frames with a face found, as in the report's section 3.2.2.2. DFDC and FaceForensics++ chose their
  videos so that a face is visible throughout. One video of the demo has none.

Then it repeats the report's experiment of section 3.2.2.3 on every tenth frame of ten videos: OpenCV's `read`, its `grab` and
`retrieve`, and ours, which decodes only the groups of pictures that it needs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torchvision.ops import box_iou

from benchmarks.detect_one import DETECTORS
from benchmarks.machine import keep_result
from dfd_ray.demo import make_demo_corpus
from dfd_ray.errors import VideoError
from dfd_ray.video import decode_video

SIZES = ((540, 960), (720, 1280), (1080, 1920))
FRAMES, RUN = 300, 10
FIGURE = Path(__file__).parent.parent / "docs" / "images" / "detectors.png"
PEERS = Path(__file__).parent.parent / ".venv-peers" / "bin" / "python"
OF_PEERS = {"dlib, HOG", "dlib, CNN", "mtcnn on TensorFlow", "OpenCV, Haar"}
REFERENCE = "facenet-pytorch"
SURE, SEEN, OVERLAP = 0.95, 0.9, 0.3
"""Least probability of a face of the reference and of a face found, and least overlap of two boxes of one face."""
EVERY, VIDEOS = 10, 10


def list_readable(folder: Path) -> list[Path]:
    """Return the videos that have enough frames."""
    found = []
    for path in sorted(folder.rglob("*.mp4")):
        capture = cv2.VideoCapture(str(path))
        if capture.get(cv2.CAP_PROP_FRAME_COUNT) > 3 * RUN:
            found.append(path)
        capture.release()
    return found


def read_frames(videos: list[Path], height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return FRAMES frames (n, height, width, 3) RGB of evenly chosen videos: the first of each, then the second of each."""
    runs = FRAMES // RUN
    chosen = [videos[i * len(videos) // runs] for i in range(runs)]
    frames = []
    for path in chosen:
        capture = cv2.VideoCapture(str(path))
        capture.set(cv2.CAP_PROP_POS_FRAMES, RUN)
        for _ in range(RUN):
            frames.append(cv2.cvtColor(cv2.resize(capture.read()[1], (width, height)), cv2.COLOR_BGR2RGB))
        capture.release()
    return np.stack([frames[number] for start in range(RUN) for number in range(start, FRAMES, RUN)])


def run(name: str, frames: Path, limit: float) -> dict[str, Any]:
    """Return the result of a detector, or the reason under `missing`."""
    python = str(PEERS) if name in OF_PEERS else sys.executable
    if not Path(python).exists():
        return {"missing": "not installed; `make bench-peers` installs it"}
    script = str(Path(__file__).parent / "detect_one.py")
    done = subprocess.run([python, script, name, str(frames), str(limit)], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"missing": (done.stderr.strip().splitlines() or ["failed"])[-1]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(found: list[list[list[float]]], reference: list[list[list[float]]]) -> dict[str, float | None]:
    """Return how well a detector's boxes agree with the reference's on the frames that both have searched."""
    wanted = met = extra = 0
    both = min(len(found), len(reference))
    for ours, theirs in zip(found, reference, strict=False):
        one, other = (torch.tensor(boxes, dtype=torch.float32).reshape(-1, 5) for boxes in (ours, theirs))
        one = one[one[:, 4] >= SEEN]
        overlap = box_iou(one[:, :4], other[:, :4])
        sure = other[:, 4] >= SURE
        wanted += int(sure.sum())
        if len(one):
            met += int((overlap.max(dim=0).values[sure] >= OVERLAP).sum()) if len(other) else 0
            extra += int((overlap.max(dim=1).values < OVERLAP).sum()) if len(other) else len(one)
    return {"frames_compared": both, "of_reference": met / wanted if wanted else None, "others_a_frame": extra / max(both, 1)}


def measure_size(videos: list[Path], size: tuple[int, int], limit: float) -> dict[str, dict[str, Any]]:
    """Return frames per second, agreement and accuracy of each detector at one size."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "frames.npy"
        np.save(path, read_frames(videos, *size))
        done = {name: run(name, path, limit) for name in DETECTORS}
    rows: dict[str, dict[str, Any]] = {}
    for name, result in done.items():
        if "missing" in result:
            rows[name] = result
            continue
        boxes = result["boxes"]
        rows[name] = {
            "frames": result["frames"],
            "frames_per_second": result["frames"] / result["seconds"],
            "accuracy": sum(any(box[4] >= SEEN for box in frame) for frame in boxes) / len(boxes),
        }
        if "boxes" in done[REFERENCE]:
            rows[name]["agreement"] = compare(boxes, done[REFERENCE]["boxes"])
        print(f"{size[0]} x {size[1]}", name, rows[name], flush=True)
    return rows


def read_all(path: Path) -> int:
    """Decode and convert every frame, and keep every tenth, as the report's first loop does."""
    capture, kept, number = cv2.VideoCapture(str(path)), 0, 0
    while capture.read()[0]:
        kept += number % EVERY == 0
        number += 1
    return kept


def grab_and_retrieve(path: Path) -> int:
    """Decode every frame, and convert every tenth, as the report's improved loop does."""
    capture, kept, number = cv2.VideoCapture(str(path)), 0, 0
    while capture.grab():
        if number % EVERY == 0:
            kept += capture.retrieve()[0]
        number += 1
    return kept


def sample(path: Path) -> int:
    """Decode the same number of evenly spaced frames with ours."""
    count = -(-int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT)) // EVERY)
    try:
        return len([frame.to_rgb() for frame in decode_video(str(path), count).frames])
    except VideoError:
        return 0


def measure_reading(videos: list[Path]) -> dict[str, dict[str, float]]:
    """Return the seconds and frames of each way to read ten videos, one after the other."""
    chosen = videos[:: max(1, len(videos) // VIDEOS)][:VIDEOS]
    result = {}
    for name, read in (("read", read_all), ("grab and retrieve", grab_and_retrieve), ("dfd_ray", sample)):
        started = time.perf_counter()
        frames = sum(read(path) for path in chosen)
        result[name] = {"seconds": time.perf_counter() - started, "frames": frames}
        print(name, result[name], flush=True)
    return result


def draw(sizes: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Write `docs/images/detectors.png`, the report's figure 3.1: frames a second of each detector at each size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in DETECTORS if any("missing" not in detectors[name] for detectors in sizes.values())]
    figure, axis = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    height = 0.8 / len(sizes)
    for number, (size, detectors) in enumerate(sizes.items()):
        places = np.arange(len(names)) + (number - (len(sizes) - 1) / 2) * height
        bars = axis.barh(places, [detectors[name].get("frames_per_second", 0.0) for name in names], height, label=size)
        axis.bar_label(bars, fmt="%.2g", fontsize="small", padding=2)
    axis.set(yticks=range(len(names)), yticklabels=names, xscale="log", xlabel="frames a second")
    axis.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=len(sizes), fontsize="small")
    figure.savefig(FIGURE, dpi=100)


def main() -> None:
    """Measure, print, draw, and keep the result."""
    parser = argparse.ArgumentParser(description="Face detectors on 300 frames of three sizes")
    parser.add_argument("folder", nargs="?", type=Path, help="videos; default the demo corpus")
    parser.add_argument("--limit", type=float, default=60.0, help="most seconds of a detector for a size")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        videos = list_readable(options.folder or make_demo_corpus(Path(scratch) / "demo-corpus"))
        sizes = {f"{height} x {width}": measure_size(videos, (height, width), options.limit) for height, width in SIZES}
        keep_result("detectors", {"limit_seconds": options.limit, "sizes": sizes, "reading": measure_reading(videos)})
        draw(sizes)


if __name__ == "__main__":
    main()
