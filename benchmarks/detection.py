"""Our cascade beside facenet-pytorch's own MTCNN, whose weights it runs: the same faces? how much faster?

    python -m benchmarks.detection [FOLDER OF VIDEOS]

Without a folder the demo corpus is made. One frame at a time, one thread, CPU seconds of the process, the two in turn on
every frame. A face of the reference counts if its probability is 0.95 or more and its side 1/24 of the frame's shorter side.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from facenet_pytorch import MTCNN
from torchvision.ops import box_iou

from benchmarks.machine import report
from dfd_ray.demo import make_demo_corpus
from dfd_ray.errors import VideoError
from dfd_ray.faces.detector import FaceDetector
from dfd_ray.video import decode_video

FRAMES_PER_VIDEO = 2
VIDEOS = 24


def measure(folder: Path) -> dict[str, Any]:
    """Return agreement and speed on evenly chosen videos of a folder."""
    torch.set_num_threads(1)
    stock, ours = MTCNN(keep_all=True), FaceDetector()
    videos = sorted(folder.rglob("*.mp4"))
    seconds = {"facenet-pytorch": 0.0, "dfd_ray": 0.0}
    overlaps: list[float] = []
    frames = reference = found = extra = 0
    for video in videos[:: max(1, len(videos) // VIDEOS)]:
        try:
            pictures = [frame.to_rgb() for frame in decode_video(str(video), FRAMES_PER_VIDEO).frames]
        except VideoError:
            continue
        for picture in pictures:
            clock = time.process_time()
            boxes, probabilities = stock.detect(picture)
            seconds["facenet-pytorch"] += time.process_time() - clock
            clock = time.process_time()
            faces = ours.detect([picture])[0]
            seconds["dfd_ray"] += time.process_time() - clock
            frames += 1
            boxes = np.empty((0, 4)) if boxes is None else boxes.astype(np.float32)
            large = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=1e9) >= min(picture.shape[:2]) / 24
            wanted = large & (np.array([p or 0 for p in probabilities][: len(boxes)], float) >= 0.95)
            overlap = box_iou(torch.from_numpy(boxes).float(), torch.from_numpy(faces.boxes)).numpy()
            best = overlap.max(axis=1, initial=0.0)[wanted]
            reference, found = reference + len(best), found + int((best >= 0.5).sum())
            overlaps += best[best >= 0.5].tolist()
            extra += int((overlap.max(axis=0, initial=0.0)[faces.probabilities >= 0.9] < 0.5).sum())
    return {
        "frames": frames,
        "reference_faces": reference,
        "found": found,
        "mean_iou": float(np.mean(overlaps)) if overlaps else None,
        "faces_the_reference_does_not_see": extra,
        "cpu_ms_per_frame": {name: 1000 * value / max(frames, 1) for name, value in seconds.items()},
        "times_faster": seconds["facenet-pytorch"] / max(seconds["dfd_ray"], 1e-9),
    }


def main() -> None:
    """Measure, print, and keep the result."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else make_demo_corpus(Path(scratch) / "demo-corpus")
        report("detection", measure(folder))


if __name__ == "__main__":
    main()
