"""Embedding faces: the report's loop beside ours, and ours through Ray beside ours in a plain loop.

    python -m benchmarks.embed [FOLDER OF VIDEOS]

Without a folder, the benchmark makes the demo corpus. Our detector finds the faces. EfficientNet-B7 and B0 have random weights,
Lite0 has those of its pip package. Each way has one thread, the ways take turns, and CPU seconds of the process include
decoding the JPEGs:

- `report`: its code in 3.3.1.2, with timm's net: one image at a time, PIL, fp32.
- `fp32`, `bf16`: our embedder.

`ceiling` is the speed of a bare matrix product in each arithmetic, in GFLOP/s. Divided by the network's GFLOP per face, it is
the most faces per second of any implementation. Through Ray, the time is that for many faces minus that for a few, which leaves
out start-up.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import ToTensor

from benchmarks.machine import keep_result
from dfd_ray.arrays import Float32Array
from dfd_ray.config import Config, load_config
from dfd_ray.demo import make_demo_corpus
from dfd_ray.errors import VideoError
from dfd_ray.faces.crop import cut_face, encode_jpeg
from dfd_ray.faces.detector import FaceDetector
from dfd_ray.models.backbones import create_backbone
from dfd_ray.models.embedder import Precision, native_precision
from dfd_ray.pipelines.embed import embed
from dfd_ray.runtime.session import shared_session
from dfd_ray.stages.embed import VIDEOS_AT_ONCE, EmbedFaces
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.tables import read_metadata, with_metadata
from dfd_ray.video import decode_video

BACKBONES = {"tf_efficientnet_b7": 8, "tf_efficientnet_b0": 32, "tf_efficientnet_lite0": 32}
"""Networks, and the number of faces of each in a round."""
ROUNDS = 3
SIZE = 240
"""Pixels of a crop and of the networks' input. The report's loop takes the crops as they are."""
FACES, FACES_PER_VIDEO = 64, 8
RAY_BACKBONE, RAY_ONCE, RAY_MORE = "tf_efficientnet_b0", 4, 24
"""The network that runs through Ray, and how often the faces are repeated."""


def find_faces(folder: Path) -> list[bytes]:
    """Return crops as JPEG, from evenly chosen videos of a folder."""
    detector, faces = FaceDetector(), []
    videos = sorted(folder.rglob("*.mp4"))
    for video in videos[:: max(1, len(videos) // 30)]:
        try:
            frames = [frame.to_rgb() for frame in decode_video(str(video), 4).frames]
        except VideoError:
            continue
        for frame, found in zip(frames, detector.detect(frames), strict=True):
            crops = [cut_face(frame, box, 0.6, SIZE) for box in found.boxes[:1]]
            faces += [encode_jpeg(crop) for crop in crops if crop is not None]
    return [faces[i % len(faces)] for i in range(FACES)]


def embed_as_the_report(module: nn.Module, faces: list[bytes]) -> Float32Array:
    """Embed as the report does."""
    vectors = []
    with torch.no_grad():
        for face in faces:
            tensor = ToTensor()(Image.open(io.BytesIO(face))).unsqueeze(0)
            vectors.append(module(tensor).squeeze().cpu().tolist())
    return np.array(vectors, np.float32)


def make_table(faces: list[bytes]) -> pa.Table:
    """Return faces as rows of `faces/`, with FACES_PER_VIDEO per video."""
    rows = [
        {
            "video_id": f"{start:06}.mp4",
            "status": "ok",
            "faces": [
                {"frame_index": i, "face_index": 0, "image": face}
                for i, face in enumerate(faces[start : start + FACES_PER_VIDEO])
            ],
        }
        for start in range(0, len(faces), FACES_PER_VIDEO)
    ]
    return pa.Table.from_pylist(rows, SCHEMAS["faces"])


def make_config(backbone: str, more: Iterable[str] = ()) -> Config:
    """Return the configuration of a backbone."""
    weights = "package" if backbone.endswith("lite0") else "random"
    values = {"backbone": backbone, "weights": weights, "image_size": SIZE}
    return load_config(None, [*(f"embed.{name}={value}" for name, value in values.items()), *more])


def compare_directions(left: Float32Array, right: Float32Array) -> float:
    """Return the mean cosine similarity of two sets of vectors, row by row."""
    return float(((left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)).mean())


def compare(backbone: str, faces: list[bytes]) -> dict[str, Any]:
    """Return images per CPU second of the report's loop and of ours, and the similarity of our vectors to fp32."""
    config = make_config(backbone)
    plain, _ = create_backbone(backbone, weights=config.embed.weights, image_size=SIZE)
    plain = plain.to(memory_format=torch.contiguous_format)
    table = make_table(faces)
    precisions: list[Precision] = ["fp32", "bf16"] if native_precision("cpu") == "bf16" else ["fp32"]
    actors = {each: EmbedFaces(config.embed, each, config.resources.embed) for each in precisions}
    ways: dict[str, Callable[[], object]] = {"report": lambda: embed_as_the_report(plain, faces)}
    ways |= {each: partial(actor, table) for each, actor in actors.items()}
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.process_time()
            way()
            speeds[name].append(len(faces) / (time.process_time() - started))
    speed = {name: float(np.median(values)) for name, values in speeds.items()}
    pictures = [np.asarray(Image.open(io.BytesIO(face))) for face in faces]
    exact, *coarse = (actor.embedder(pictures) for actor in actors.values())
    return {
        "faces": len(faces),
        "images_per_cpu_second": speed,
        "times_the_report": {name: value / speed["report"] for name, value in speed.items()},
        "bf16_cosine_to_fp32": compare_directions(exact, coarse[0]) if coarse else None,
        "gflop_per_face": count_gflop(plain),
    }


def count_gflop(module: nn.Module) -> float:
    """Return the multiplications and additions of a network for one face, in 10^9."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, 3, SIZE, SIZE))
    return float(counter.get_total_flops()) / 1e9


def measure_ceiling() -> dict[str, float]:
    """Return the GFLOP/s of a product of two 1024 x 1024 matrices."""
    best = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = torch.randn(2, 1024, 1024).to(dtype)
        seconds = []
        for _ in range(20):
            started = time.process_time()
            left @ right
            seconds.append(time.process_time() - started)
        best[name] = 2 * 1024**3 / min(seconds) / 1e9
    return best


def time_job(faces: list[bytes], scratch: Path) -> dict[str, Any]:
    """Return faces per second, by wall clock, of one actor through Ray and of the same class in a plain loop."""
    seconds: dict[str, float] = {}
    with shared_session():
        for name, times in (("warm-up", 1), ("once", RAY_ONCE), ("more", RAY_MORE)):
            config = make_config(RAY_BACKBONE, ["resources.cpus=1"])
            table = make_table(faces * times)
            manifest = [{"video_id": video, "uri": "/none"} for video in table.column("video_id").to_pylist()]
            for part, rows in (("manifest", pa.Table.from_pylist(manifest, SCHEMAS["manifest"])), ("faces", table)):
                (scratch / name / part).mkdir(parents=True)
                schema = with_metadata(SCHEMAS[part], part, config)
                pq.write_table(rows.cast(schema), scratch / name / part / "part.parquet")
            started = time.perf_counter()
            embed(Run(str(scratch / name), config))
            seconds[name] = time.perf_counter() - started
    precision = read_metadata(str(scratch / "more"), "embeddings")["precision"]
    actor = EmbedFaces(config.embed, precision, config.resources.embed)
    started = time.perf_counter()
    for start in range(0, len(table), VIDEOS_AT_ONCE):
        actor(table.slice(start, VIDEOS_AT_ONCE))
    loop = len(faces) * RAY_MORE / (time.perf_counter() - started)
    ray = len(faces) * (RAY_MORE - RAY_ONCE) / (seconds["more"] - seconds["once"])
    return {
        "backbone": RAY_BACKBONE,
        "precision": precision,
        "faces_per_second": {"ray": ray, "loop": loop},
        "ray_over_loop": ray / loop,
    }


def main() -> None:
    """Measure, print, and keep the result."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else make_demo_corpus(Path(scratch) / "demo-corpus")
        faces = find_faces(folder)
        compared = {name: compare(name, faces[:count]) for name, count in BACKBONES.items()}
        keep_result("embed", {"ceiling": measure_ceiling(), "backbones": compared, "ray": time_job(faces, Path(scratch))})


if __name__ == "__main__":
    main()
