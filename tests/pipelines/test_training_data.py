from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfd_ray.config import Config, load_config
from dfd_ray.errors import TrainingError
from dfd_ray.faces.crop import decode_jpeg, encode_jpeg
from dfd_ray.pipelines.train import Labelled, folds_to_train, labelled_videos, plan_fold
from dfd_ray.pipelines.training_data import augment, replace_fakes, shown_faces, training_faces
from dfd_ray.schemas import SCHEMAS, TRAIN_ONLY

SIZE = 32
FACES = {("REAL", 0): [3, 4], ("REAL", 1): [5, 2], ("FAKE", 0): [2, 9], ("FAKE", 1): [6, 13, 0]}
"""Faces of each video, by label and fold."""


def face(colour: int) -> dict[str, object]:
    image = np.full((SIZE, SIZE, 3), colour, np.uint8)
    return {
        "frame_index": colour,
        "time": 0.0,
        "face_index": 0,
        "box": [100.0, 100.0, 200.0, 200.0],
        "landmarks": [130.0, 140.0, 170.0, 140.0, 150.0, 160.0, 135.0, 180.0, 165.0, 180.0],
        "probability": 1.0,
        "image": encode_jpeg(image),
    }


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """Faces of one grey each, so that a face is known again by its pixels; and a video without a label."""
    rows, colour = [], 0
    for (label, fold), lengths in [*FACES.items(), ((None, 0), [2])]:
        for length in lengths:
            faces = [face(colour + 5 * i) for i in range(length)]
            colour += 5 * length
            rows.append({"video_id": f"{len(rows)}.mp4", "label": label, "fold": fold, "status": "ok", "faces": faces})
    for row in rows:
        row |= {"width": 640, "height": 480}
    return pa.Table.from_pylist(rows, schema=SCHEMAS["faces"])


@pytest.fixture
def config(table: pa.Table, tmp_path: Path) -> Config:
    folder = tmp_path / "faces"
    folder.mkdir()
    for i in range(0, len(table), 3):
        pq.write_table(table.slice(i, 3), folder / f"part-{i}.parquet")
    settings = ["preprocess.crop_size=32", "train.augmentation=none"]
    return load_config(None, settings, run=str(tmp_path))


def greys(config: Config, fold: int) -> list[tuple[str, int, int]]:
    """Return name, label and grey of each face that may be learnt from when a fold is held out."""
    rows = pq.read_table(f"{config.run}/faces").to_pylist()
    return [
        (row["video_id"], int(row["label"] == "FAKE"), round(decode_jpeg(one["image"]).mean()))
        for row in rows
        if row["label"] and row["fold"] != fold
        for one in row["faces"]
    ]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_an_epoch_shows_every_face_once_to_one_worker(config: Config, ray: None, workers: int) -> None:
    faces = training_faces(config, 0, SIZE, {"REAL": 1.0, "FAKE": 1.0})
    orders = []
    for _ in range(2):
        shards = faces.streaming_split(workers, equal=False)
        rows = [(row["video_id"], int(row["label"]), round(row["image"].mean())) for shard in drain(shards) for row in shard]
        assert Counter(rows) == Counter(greys(config, 0))
        orders.append(rows)
    assert len(orders[0]) == 26


def drain(shards: list[object]) -> list[list[dict[str, object]]]:
    """Read all shards at once, as workers do: the split hands out blocks to whoever asks."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(shards)) as pool:
        return list(pool.map(lambda shard: list(shard.iter_rows()), shards))


def test_epochs_differ_in_order_and_workers_get_equal_shares(config: Config, ray: None) -> None:
    plan = plan_fold(load_config(None, ["train.workers=2", "train.batch_size=4"]), 0, labelled_videos(str(config.run)))
    shards = training_faces(config, 0, SIZE, plan.rates).streaming_split(2, equal=True)
    epochs = [drain(shards) for _ in range(2)]
    for epoch in epochs:
        assert [len(shard) // plan.batch_size for shard in epoch] == [plan.steps, plan.steps] == [3, 3]
    names = [[str(row["video_id"]) for shard in epoch for row in shard] for epoch in epochs]
    assert names[0] != names[1]


def test_balanced_classes_are_shown_equally_often_and_the_driver_knows_how_often(config: Config, table: pa.Table) -> None:
    balanced = config.model_copy(update={"train": config.train.model_copy(update={"balance": True, "batch_size": 2})})
    plan = plan_fold(balanced, 0, labelled_videos(str(config.run)))
    others = table.filter(np.array([row["fold"] == 1 for row in table.to_pylist()]))
    shown = shown_faces(others, balanced.preprocess, plan.rates)
    label = shown.column("label").to_numpy()
    assert plan.steps == len(shown) // 2
    assert label.sum() == 19
    assert abs((label == 0).sum() - 19) <= 1
    assert {colour for _, _, colour in greys(config, 0)} == {
        round(decode_jpeg(i).mean()) for i in shown.column("image").to_pylist()
    }


def test_landmarks_are_those_of_the_crop(config: Config, table: pa.Table) -> None:
    shown = shown_faces(table.slice(0, 1), config.preprocess, {"REAL": 1.0})
    left, right, nose, *_ = np.array(shown.column("landmarks").to_pylist()[0]).reshape(5, 2)
    # The box of 100 pixels with margin 0.6 begins at 70 and is 160 wide.
    np.testing.assert_allclose([left, right, nose], np.array([(60, 70), (100, 70), (80, 90)]) * 32 / 160, atol=1e-5)


def test_equal_batches_are_augmented_alike_and_other_seeds_otherwise(config: Config, table: pa.Table) -> None:
    shown = shown_faces(table.slice(0, 4), config.preprocess, {"REAL": 1.0})
    settings = [config.train.model_copy(update={"augmentation": "best", "seed": seed}) for seed in (0, 0, 1)]
    first, second, other = (augment(shown, SIZE, each)["image"] for each in settings)
    assert first.shape == (14, SIZE, SIZE, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_a_share_of_the_fakes_is_made_of_real_faces() -> None:
    random = np.random.default_rng(0)
    noise = [random.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    label = np.array([0] + [1] * 400)
    images = [noise[0]] + [noise[1]] * 400
    landmarks = np.tile(np.array([(26, 27), (38, 27), (32, 33), (27, 39), (37, 39)], np.float32), (401, 1, 1))
    for share in (0.0, 0.5, 1.0):
        result = replace_fakes(images, label, landmarks, share, np.random.default_rng(1))
        assert result[0] is images[0]
        made = [image for image in result[1:] if image is not noise[1]]
        assert len(made) / 400 == pytest.approx(share, abs=0.08)
        assert all((image[:4] == noise[0][:4]).all() and (image != noise[0]).any() for image in made)
    assert replace_fakes(images[1:], label[1:], landmarks, 1.0, random) == images[1:]


def test_videos_that_are_only_trained_on_are_in_every_models_faces_and_held_out_by_none() -> None:
    both = {"REAL": 4, "FAKE": 4}
    counts = {0: both, 1: {"REAL": 0, "FAKE": 4}, TRAIN_ONLY: {"REAL": 9, "FAKE": 0}}
    assert folds_to_train(load_config(), counts) == [0, 1]
    with pytest.raises(TrainingError, match=r"fold -1; this run has \[0, 1\]"):
        folds_to_train(load_config(None, ["train.folds=[-1]"]), counts)
    with pytest.raises(TrainingError, match="at least two groups"):
        folds_to_train(load_config(), {0: both, TRAIN_ONLY: both})
    videos = [Labelled(str(fold), label, fold, count) for fold, one in counts.items() for label, count in one.items()]
    assert [plan_fold(load_config(None, ["train.batch_size=2"]), fold, videos).steps for fold in (0, 1)] == [6, 8]
