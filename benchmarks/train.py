"""Training: the input pipeline alone, the step alone, and both together; two workers of one core beside one.

    python -m benchmarks.train [RUN]

Without a run, one is drawn: faces of noise, as many as 60 REAL and 60 FAKE videos give. Its faces are read, shuffled,
augmented and batched as `train` does (the recipe `best`, self-blended faces among them), by Lite0 at 160 pixels, 16 faces a
step.

- `input`: the batches are taken and thrown away;
- `step`: one batch is learnt from, again and again;
- `together`: what `train` does;
- `workers_2`: the same with two workers, of a batch of 16 each, beside the one of `together`.

All in Ray Train, one epoch as a warm-up and `EPOCHS` measured, start-up left out; faces a second, of all workers together.
The bars: together at least 0.9 of the slower of input and step, two workers at least 1.7 times one.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray.train
import torch
from ray.train import DataConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device, prepare_model

from benchmarks.machine import report
from dfd_ray.config import Config, load_config
from dfd_ray.faces.crop import encode_jpeg
from dfd_ray.models.backbones import create_backbone
from dfd_ray.models.fine_tuning import create_optimiser, freeze_layers, set_training, start_head
from dfd_ray.pipelines.cluster import ray_session, shared_session
from dfd_ray.pipelines.train import labelled_videos, ordered_ingest, plan_fold
from dfd_ray.pipelines.train_loop import batches, loss_of
from dfd_ray.pipelines.training_data import FoldPlan, training_faces
from dfd_ray.schemas import SCHEMAS
from dfd_ray.tables import with_metadata

EPOCHS = 2
VIDEOS, FACES = 60, 16
"""Of each class, and faces of each, where a run is drawn."""
CROP, SIZE = 200, 160
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
"""Of a face, as shares of its box."""


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
    """Run some epochs one way, on a worker; the first one writes seconds and faces of each but the first."""
    config, plan, way = cast(Config, job["config"]), cast(FoldPlan, job["plan"]), job["way"]
    torch.set_num_threads(1)
    settings, rank, device = config.train, ray.train.get_context().get_world_rank(), get_device()
    module, spec = create_backbone(settings.backbone, num_classes=2, image_size=settings.image_size)
    start_head(module)
    freeze_layers(module, settings.frozen_layers)
    model = prepare_model(module)
    optimiser = create_optimiser(module, settings.optimiser, 1e-5, settings.weight_decay)
    set_training(model, settings.freeze_norm)
    seconds = []
    for epoch in range(1 + EPOCHS):
        source: Iterator[dict[str, Any]] = batches(config, plan, epoch, rank)
        if way == "step":
            first = next(source)
            source.close()  # type: ignore[attr-defined]
            source = iter([first] * plan.steps)
        started = time.perf_counter()
        for batch in source:
            if way != "input":
                loss_of(model, batch, spec, device, settings).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                optimiser.zero_grad()
        seconds.append(time.perf_counter() - started)
    if rank == 0:
        Path(job["result"]).write_text(json.dumps(seconds[1:]))


def faces_a_second(config: Config, way: str, workers: int) -> float:
    """Return the speed of one way."""
    config = config.model_copy(update={"train": config.train.model_copy(update={"workers": workers})})
    run = cast(str, config.run)
    plan = plan_fold(config, 1, labelled_videos(run))
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "seconds.json"
        TorchTrainer(
            measure,
            train_loop_config={"config": config, "plan": plan, "way": way, "result": str(result)},
            scaling_config=ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(name=way, storage_path=folder),
            dataset_config=DataConfig(execution_options=ordered_ingest()),
            datasets={f"fold-{plan.fold}": training_faces(config, plan, SIZE)},
        ).fit()
        seconds = json.loads(result.read_text())
    return EPOCHS * plan.steps * plan.batch_size * workers / sum(seconds)


def main() -> None:
    """Measure, print, and keep the result."""
    with tempfile.TemporaryDirectory() as scratch, shared_session():
        run = sys.argv[1] if len(sys.argv) > 1 else str(Path(scratch) / "run")
        if len(sys.argv) == 1:
            draw_run(Path(run))
        config = load_config(None, SETTINGS, run=run)
        with ray_session(config):
            speed = {way: faces_a_second(config, way, 1) for way in ("input", "step", "together")}
            speed["workers_2"] = faces_a_second(config, "together", 2)
    slower = min(speed["input"], speed["step"])
    ratios = {"together_over_slower": speed["together"] / slower, "two_over_one": speed["workers_2"] / speed["together"]}
    report("train", {"faces_per_second": speed, **ratios})


if __name__ == "__main__":
    main()
