"""Which classifier scores which face: the one that never saw its video's fold, and of no fold all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from dfd_ray.config import load_config
from dfd_ray.faces.crop import decode_jpeg
from dfd_ray.labels import TRAIN_ONLY
from dfd_ray.models.backbones import create_backbone
from dfd_ray.models.classifier import FAKE, score_faces
from dfd_ray.models.fine_tuning import start_head
from dfd_ray.stages.score import ScoreFaces
from dfd_ray.store.model_files import export_model
from dfd_ray.store.run import Run
from dfd_ray.store.tables import read_table


def test_a_video_is_scored_by_the_model_without_its_fold_and_a_new_one_by_all(
    draw_run: Callable[..., Path], tmp_path: Path
) -> None:
    folder = draw_run(tmp_path / "run", videos=2, faces=3)
    run = Run(str(folder), load_config(folder / "config.yaml"))
    videos = read_table(run.location, "faces", ["video_id", "fold", "status", "error_stage", "error", "faces"])
    fold = [0, 1, 2, None, TRAIN_ONLY, 1, None, 0]
    videos = videos.set_column(1, "fold", pa.array(fold, pa.int32()))
    pictures = [[decode_jpeg(face["image"]) for face in faces] for faces in videos.column("faces").to_pylist()]
    scores = {}
    for one in range(3):
        torch.manual_seed(one)
        module, spec = create_backbone("test_efficientnet", weights="random", num_classes=2, image_size=64)
        start_head(module)
        module.get_classifier().bias.data[FAKE] = 3**one  # so that no two, nor the mean, score a face nearly alike
        export_model(run, one, module, spec, [])
        scores[one] = np.array([score_faces(module, spec, faces) for faces in pictures])
    assert min(np.abs(scores[one] - scores[other]).min() for one, other in [(0, 1), (0, 2), (1, 2)]) > 1
    scores |= {None: np.mean(list(scores.values()), axis=0), TRAIN_ONLY: np.zeros_like(scores[0])}
    scored = ScoreFaces(run, "cpu", 4)(videos)
    expected = np.array([scores[one][row] for row, one in enumerate(fold)])
    np.testing.assert_allclose(scored.column("log_odds").to_pylist(), expected, atol=1e-4)
    assert scored.column("status").to_pylist() == ["in_training" if one == TRAIN_ONLY else "ok" for one in fold]
    each = scored.column("log_odds_by_model").to_pylist()
    assert [one is not None for one in each] == [one is None for one in fold], "one model's are in log_odds"
    for row in (3, 6):
        np.testing.assert_allclose(each[row], [scores[one][row] for one in range(3)], atol=1e-4)
    assert scored.column("video_id").to_pylist() == videos.column("video_id").to_pylist()
