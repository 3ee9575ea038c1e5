"""Training: the input pipeline alone, the step alone, and both together; two workers of one core beside one.

    python -m benchmarks.train [RUN]

Without a run, the benchmark makes one with faces of noise, from 40 REAL and 40 FAKE videos. Faces are read, shuffled, augmented
and batched as in `train` (the recipe `best`, with self-blended faces), for Lite0 at 160 pixels with 16 faces per step.

- `input`: takes the batches and drops them;
- `step`: learns from one batch again and again;
- `together`: does what `train` does;
- `step_2`: like `step`, with two workers of one core, each with its own batch of 16, which share their gradients.

All run in Ray Train, with one epoch to warm up and `EPOCHS` measured ones, each from its first batch on. Speeds are faces per
second of all workers together. `epoch_start_seconds` is the time until the first batch, because the faces are reordered first.
`input` has more than one batch ready by then, so it looks faster than it stays.
The targets: `together` reaches at least 0.9 of the slower of `input` and `step`, and two workers at least 1.7 times one. The
two workers take their batch from memory: other processes augment faces, and a machine of two cores has none left for them.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray.train
import torch
from ray.train import DataConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device, prepare_model

from benchmarks.machine import keep_result
from dfd_ray.config import load_config
from dfd_ray.faces.crop import encode_jpeg
from dfd_ray.models.backbones import create_backbone
from dfd_ray.models.fine_tuning import create_optimiser, freeze_layers, set_training, start_head
from dfd_ray.pipelines.train import KEEP_MEMORY, keep_order
from dfd_ray.runtime.session import ray_session, shared_session
from dfd_ray.stages.train_loop import batches, compute_loss
from dfd_ray.stages.training_data import FoldPlan, load_training_faces, plan_fold, read_labelled
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.tables import with_metadata

EPOCHS = 2
VIDEOS, FACES = 40, 16
"""Videos of each class and faces of each video, if the benchmark makes the run."""
CROP, SIZE = 200, 160
WAYS = [("input", "input", 1), ("step", "step", 1), ("together", "together", 1), ("step_2", "step", 2)]
"""Name, way, and number of workers."""
SETTINGS = [
    f"preprocess.crop_size={CROP}",
    "train.backbone=tf_efficientnet_lite0",
    f"train.image_size={SIZE}",
    "train.batch_size=16",
    "train.augmentation=best",
    "train.self_blending=0.5",
    "train.frozen_layers=4",
]
LANDMARKS = [0.32, 0.36, 0.68, 0.36, 0.5, 0.56, 0.36, 0.76, 0.64, 0.76]
"""Landmarks of a face, as shares of its box."""


def draw_run(run: Path) -> None:
    """Write `faces/` of two folds."""
    random, rows = np.random.default_rng(0), []
    box = [100.0, 100.0, 200.0, 200.0]
    landmarks = [100 + 100 * value for value in LANDMARKS]
    for number in range(2 * VIDEOS):
        pictures = [random.integers(0, 256, (CROP // 8, CROP // 8, 3), dtype=np.uint8) for _ in range(FACES)]
        images = [encode_jpeg(picture.repeat(8, 0).repeat(8, 1)) for picture in pictures]
        names = {"time": 0.0, "face_index": 0, "box": box, "landmarks": landmarks, "probability": 1.0}
        faces = [{"frame_index": i, "image": image, **names} for i, image in enumerate(images)]
        facts = {"video_id": f"{number}.mp4", "label": ("REAL", "FAKE")[number % 2], "group": str(number // 2)}
        rows.append(
            facts | {"fold": int(number >= 2 * VIDEOS - 4), "status": "ok", "width": 640, "height": 480, "faces": faces}
        )
    (run / "faces").mkdir(parents=True)
    schema = with_metadata(SCHEMAS["faces"], "faces", load_config(None, SETTINGS))
    for part in range(4):
        pq.write_table(pa.Table.from_pylist(rows[part::4], schema=schema), run / "faces" / f"part-{part}.parquet")


def measure(job: dict[str, Any]) -> None:
    """Run epochs one way on a worker. The first one writes each measured epoch's seconds before and after its first batch."""
    run, plan, way = cast(Run, job["run"]), cast(FoldPlan, job["plan"]), job["way"]
    torch.set_num_threads(1)
    settings, rank, device = run.config.train, ray.train.get_context().get_world_rank(), get_device()
    module, spec = create_backbone(settings.backbone, num_classes=2, image_size=settings.image_size)
    start_head(module)
    freeze_layers(module, settings.frozen_layers)
    model = prepare_model(module)
    optimiser = create_optimiser(module, settings.optimiser, 1e-5, settings.weight_decay)
    set_training(model, settings.freeze_norm)
    seconds: list[tuple[float, float]] = []
    fixed = next(batches(run, plan, 0, rank)) if way == "step" else None
    for epoch in range(1 + EPOCHS):
        source = batches(run, plan, epoch, rank) if fixed is None else [fixed] * plan.steps
        started, begun = time.perf_counter(), 0.0
        for batch in source:
            begun = begun or time.perf_counter()
            if way != "input":
                compute_loss(model, batch, spec, device, settings).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                optimiser.zero_grad()
        seconds.append((begun - started, time.perf_counter() - begun))
    if rank == 0:
        Path(job["result"]).write_text(json.dumps(seconds[1:]))


def measure_way(run: Run, way: str, workers: int) -> tuple[float, float]:
    """Return the speed of one way in faces per second, and the seconds until an epoch's first batch."""
    settings = run.config.train.model_copy(update={"workers": workers})
    run = Run(run.location, run.config.model_copy(update={"train": settings}))
    plan = plan_fold(run.config, 1, read_labelled(run))
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "seconds.json"
        TorchTrainer(
            measure,
            train_loop_config={"run": run, "plan": plan, "way": way, "result": str(result)},
            scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(name=way, storage_path=folder, worker_runtime_env={"env_vars": KEEP_MEMORY}),
            dataset_config=DataConfig(execution_options=keep_order()),
            datasets={f"fold-{plan.fold}": load_training_faces(run, plan, SIZE)},
        ).fit()
        seconds = json.loads(result.read_text())
    first, after = np.sum(seconds, axis=0).tolist()
    # What is done before the first batch comes is the first batch's; on `input` there is nothing else to it.
    return EPOCHS * (plan.steps - (way == "input")) * plan.batch_size * workers / after, first / EPOCHS


def main() -> None:
    """Measure, print, and keep the result."""
    with tempfile.TemporaryDirectory() as scratch, shared_session():
        folder = sys.argv[1] if len(sys.argv) > 1 else str(Path(scratch) / "run")
        if len(sys.argv) == 1:
            draw_run(Path(folder))
        run = Run(folder, load_config(None, SETTINGS))
        with ray_session(run):
            speed, start = {}, {}
            for name, way, workers in WAYS:
                speed[name], start[name] = measure_way(run, way, workers)
                print(f"{name}: {speed[name]:.1f} faces/s", flush=True)
    slower = min(speed["input"], speed["step"])
    ratios = {"together_over_slower": speed["together"] / slower, "two_over_one": speed["step_2"] / speed["step"]}
    keep_result("train", {"faces_per_second": speed, "epoch_start_seconds": start["together"], **ratios})


if __name__ == "__main__":
    main()
