"""Our face detector beside facenet-pytorch's MTCNN, whose weights it uses: does it find the same faces, and how much faster?

    python -m benchmarks.detection [FOLDER OF DFDC-SHAPED PARTS]

Without a folder, the benchmark makes the demo corpus. It takes the frames that `preprocess` samples of every video, with one
thread, and counts CPU seconds of the process. facenet-pytorch's `MTCNN(keep_all=True)` gets one full-size frame at a time. Ours
runs as in `preprocess`: once with every frame searched whole, and once with one frame in eight searched and faces followed.

A face of the reference counts if its probability is at least 0.95 and its side at least 1/24 of the frame's shorter side. It
is found if one of ours overlaps it by half (IoU). The error of landmarks is the mean distance of the five, as a share of the
face's width. A face of ours with at least 0.9 is `unseen` if it overlaps no face of the reference, whatever its probability,
by half.
"""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from facenet_pytorch import MTCNN
from torchvision.ops import box_iou

from benchmarks.machine import keep_result
from dfd_ray.config import Config
from dfd_ray.corpus.manifest import build_manifest
from dfd_ray.demo import make_demo_corpus
from dfd_ray.errors import VideoError
from dfd_ray.faces.detector import FaceDetector, Faces
from dfd_ray.faces.following import find_faces
from dfd_ray.stages.detect import split_combs
from dfd_ray.stages.extract import frames_wanted
from dfd_ray.video import decode_video

SETTINGS = Config().preprocess
WAYS = (SETTINGS.search_every, 1)
"""One frame in this many is searched whole."""
PROBABLE, SMALLEST, SURE, OVERLAP = 0.95, 1 / 24, 0.9, 0.5


class Agreement:
    """How the faces found compare to the reference's, over many frames."""

    def __init__(self) -> None:
        self.best: list[float] = []
        """The largest overlap (IoU) of each face of the reference."""
        self.landmark_errors: list[float] = []
        """Of each face found, as a share of its width."""
        self.reported = self.unseen = 0

    def add(self, frame: npt.NDArray[np.uint8], reference: Faces, found: Faces) -> None:
        """Compare the faces of a frame (h, w, 3)."""
        sides = (reference.boxes[:, 2:] - reference.boxes[:, :2]).min(axis=1)
        wanted = (reference.probabilities >= PROBABLE) & (sides >= min(frame.shape[:2]) * SMALLEST)
        shared = box_iou(torch.from_numpy(reference.boxes), torch.from_numpy(found.boxes)).numpy()
        for number in np.flatnonzero(wanted):
            self.best.append(float(shared[number].max(initial=0.0)))
            if self.best[-1] >= OVERLAP:
                off = found.landmarks[shared[number].argmax()] - reference.landmarks[number]
                self.landmark_errors.append(float(np.linalg.norm(off, axis=1).mean() / np.ptp(reference.boxes[number, ::2])))
        sure = found.probabilities >= SURE
        self.reported += int(sure.sum())
        self.unseen += int((shared[:, sure].max(axis=0, initial=0.0) < OVERLAP).sum())

    def summary(self) -> dict[str, float]:
        """Return the counts and means."""
        met = [overlap for overlap in self.best if overlap >= OVERLAP]
        return {
            "found": len(met),
            "mean_iou": float(np.mean(met)),
            "landmarks_off": float(np.mean(self.landmark_errors)),
            "landmarks_off_99th_percentile": float(np.quantile(self.landmark_errors, 0.99)),
            "reported": self.reported,
            "unseen": self.unseen,
        }


def find_reference_faces(stock: MTCNN, frame: npt.NDArray[np.uint8]) -> Faces:
    """Return what facenet-pytorch finds in a frame, the most probable first."""
    with torch.inference_mode():
        boxes, probabilities, landmarks = stock.detect(frame, landmarks=True)
    if boxes is None:
        return Faces(np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32), np.empty(0, np.float32))
    order = np.argsort(-probabilities.astype(float), kind="stable")
    return Faces(*(values[order].astype(np.float32) for values in (boxes, landmarks, probabilities)))


def measure(folder: str) -> dict[str, Any]:
    """Return agreement and speed on the videos of a folder."""
    torch.set_num_threads(1)
    stock, ours = MTCNN(keep_all=True), FaceDetector("cpu", SETTINGS.smallest_face)
    seconds, frames = dict.fromkeys(("facenet-pytorch", *WAYS), 0.0), 0
    agreements = {way: Agreement() for way in WAYS}
    for row in build_manifest(folder, Config())[0].to_pylist():
        try:
            count = frames_wanted(row["label"], SETTINGS)
            decoded = decode_video(row["uri"], count, comb=SETTINGS.comb, most=SETTINGS.most_frames).frames
        except VideoError:
            continue
        for pictures in ([frame.to_rgb() for frame in comb] for comb in split_combs(decoded)):
            clock = time.process_time()
            reference = [find_reference_faces(stock, picture) for picture in pictures]
            seconds["facenet-pytorch"] += time.process_time() - clock
            for way in WAYS:
                clock = time.process_time()
                looks = list(find_faces(ours, [partial(np.asarray, picture) for picture in pictures], way))
                seconds[way] += time.process_time() - clock
                for position, picture, found in looks:
                    agreements[way].add(picture, reference[position], found)
            frames += len(pictures)
    return {
        "frames": frames,
        "reference_faces": len(agreements[1].best),
        "search_every": {str(way): agreement.summary() for way, agreement in agreements.items()},
        "cpu_ms_per_frame": {str(name): 1000 * value / frames for name, value in seconds.items()},
        "times_faster": seconds["facenet-pytorch"] / seconds[1],
    }


def main() -> None:
    """Measure, print, and keep the result."""
    with tempfile.TemporaryDirectory() as scratch:
        corpus = sys.argv[1] if len(sys.argv) > 1 else str(make_demo_corpus(Path(scratch) / "demo-corpus"))
        keep_result("detection", measure(str(Path(corpus).absolute())))


if __name__ == "__main__":
    main()
