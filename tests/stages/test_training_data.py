from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray.train import DataConfig

from dfd_ray.config import load_config
from dfd_ray.errors import TrainingError
from dfd_ray.faces.crop import decode_jpeg, encode_jpeg
from dfd_ray.labels import TRAIN_ONLY
from dfd_ray.pipelines.train import keep_order
from dfd_ray.stages import train_loop
from dfd_ray.stages.training_data import (
    Labelled,
    announce_epoch,
    augment,
    change_fakes,
    choose_folds,
    load_training_faces,
    plan_fold,
    read_labelled,
    repeat_faces,
)
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS

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
        row |= {"group": f"g{row['fold']}", "width": 640, "height": 480}
    return pa.Table.from_pylist(rows, schema=SCHEMAS["faces"])


@pytest.fixture
def run(table: pa.Table, tmp_path: Path) -> Run:
    folder = tmp_path / "faces"
    folder.mkdir()
    for i in range(0, len(table), 3):
        pq.write_table(table.slice(i, 3), folder / f"part-{i}.parquet")
    settings = ["preprocess.crop_size=32", "train.augmentation=none"]
    made = Run(str(tmp_path), load_config(None, settings))
    announce_epoch(made, 0)
    return made


def greys(run: Run, fold: int) -> list[tuple[str, int, int]]:
    """Return name, label and grey of each face that may be learnt from when a fold is held out."""
    rows = pq.read_table(run.path("faces")).to_pylist()
    return [
        (row["video_id"], int(row["label"] == "FAKE"), round(decode_jpeg(one["image"]).mean()))
        for row in rows
        if row["label"] and row["fold"] != fold
        for one in row["faces"]
    ]


SLOWLY = [pytest.param(workers, marks=pytest.mark.slow) for workers in (1, 3)]


@pytest.mark.parametrize("workers", [2, *SLOWLY])
def test_an_epoch_shows_a_face_once_to_one_worker_and_leaves_out_less_than_a_batch_a_worker(
    run: Run, ray: None, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    settings = ["train.batch_size=5", "train.augmentation=none", f"train.workers={workers}"]
    run = Run(run.location, load_config(None, settings))
    plan, faces = plan_fold(run.config, 0, read_labelled(run)), Counter(greys(run, 0))
    data = {"fold-0": load_training_faces(run, plan, SIZE)}
    shards = DataConfig(execution_options=keep_order()).configure(data, workers, None, None)  # as Ray Train calls it
    own = threading.local()
    monkeypatch.setattr(train_loop.ray.train, "get_dataset_shard", lambda name: own.shard[name])

    def learn(rank: int, epoch: int) -> list[dict[str, np.ndarray]]:
        own.shard = shards[rank]
        return list(train_loop.batches(run, plan, epoch, rank))

    left_out = []
    for epoch in range(2):
        with ThreadPoolExecutor(workers) as pool:
            seen = list(pool.map(learn, range(workers), [epoch] * workers))
        assert [[len(batch["label"]) for batch in batches] for batches in seen] == [[5] * plan.steps] * workers
        shown = Counter(face for batches in seen for batch in batches for face in name_faces(batch))
        assert not shown - faces, "shown twice, or of the fold held out"
        left_out.append(faces - shown)
        assert left_out[-1].total() == plan.shown - 5 * workers * plan.steps < 5 * workers
    assert left_out[0] != left_out[1]


def name_faces(batch: dict[str, np.ndarray]) -> list[tuple[str, int, int]]:
    """Return name, label and grey of each face of a batch."""
    columns = zip(batch["video_id"], batch["label"], batch["image"], strict=True)
    return [(name, int(label), round(image.mean())) for name, label, image in columns]


def drain(shards: list[object]) -> list[list[dict[str, object]]]:
    """Read all shards at once, as workers do: the split hands out blocks to whoever asks."""
    with ThreadPoolExecutor(len(shards)) as pool:
        return list(pool.map(lambda shard: list(shard.iter_rows()), shards))


def test_an_epoch_has_its_own_order_and_has_it_again_and_workers_get_equal_shares(run: Run, ray: None) -> None:
    from ray.data import DataContext

    plan = plan_fold(load_config(None, ["train.workers=2", "train.batch_size=4"]), 0, read_labelled(run))
    assert (plan.shown, plan.steps) == (26, 3)
    faces = load_training_faces(run, plan, SIZE)
    faces.context.execution_options.preserve_order = True  # as `train` has it
    assert not DataContext.get_current().execution_options.preserve_order
    names = []
    for epoch in (0, 1, 0):
        announce_epoch(run, epoch)
        shards = drain(faces.streaming_split(2, equal=True))
        assert [len(shard) // plan.batch_size for shard in shards] == [plan.steps, plan.steps]
        names.append([[(str(row["video_id"]), round(row["image"].mean())) for row in shard] for shard in shards])
    assert names[0] == names[2] != names[1]


def test_balanced_classes_are_shown_equally_often_and_the_driver_knows_how_often(run: Run, table: pa.Table) -> None:
    train = run.config.train.model_copy(update={"balance": True, "batch_size": 2})
    balanced = Run(run.location, run.config.model_copy(update={"train": train}))
    plan = plan_fold(balanced.config, 0, read_labelled(run))
    others = table.filter(np.array([row["fold"] == 1 for row in table.to_pylist()]))
    shown = repeat_faces(others, balanced, plan.rates)
    label = shown.column("label").to_numpy()
    assert plan.steps == len(shown) // 2
    assert label.sum() == 19
    assert abs((label == 0).sum() - 19) <= 1
    assert {colour for _, _, colour in greys(run, 0)} == {
        round(decode_jpeg(i).mean()) for i in shown.column("image").to_pylist()
    }


def test_landmarks_are_those_of_the_crop(run: Run, table: pa.Table) -> None:
    shown = repeat_faces(table.slice(0, 1), run, {"REAL": 1.0})
    left, right, nose, *_ = np.array(shown.column("landmarks").to_pylist()[0]).reshape(5, 2)
    # The box of 100 pixels with margin 0.6 begins at 70 and is 160 wide.
    np.testing.assert_allclose([left, right, nose], np.array([(60, 70), (100, 70), (80, 90)]) * 32 / 160, atol=1e-5)


def test_equal_batches_are_augmented_alike_and_other_seeds_otherwise(run: Run, table: pa.Table) -> None:
    shown = repeat_faces(table.slice(0, 4), run, {"REAL": 1.0})
    settings = [run.config.train.model_copy(update={"augmentation": "best", "seed": seed}) for seed in (0, 0, 1)]
    first, second, other = (augment(shown, SIZE, each)["image"] for each in settings)
    assert first.shape == (14, SIZE, SIZE, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


POINTS = np.array([(26, 27), (38, 27), (32, 33), (27, 39), (37, 39)], np.float32)


def drawn(label: list[int], group: list[str]) -> tuple[pa.Table, list[np.ndarray]]:
    """Return faces of noise, one picture a class, as rows for `change_fakes`."""
    noise = list(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8))
    landmarks = [POINTS.ravel().tolist()] * len(label)
    rows = pa.table({"label": label, "group": group, "landmarks": pa.array(landmarks, pa.list_(pa.float32(), 10))})
    return rows, [noise[one] for one in label]


def test_a_share_of_the_fakes_is_made_of_real_faces() -> None:
    faces, images = drawn([0] + [1] * 400, ["a"] * 401)
    for share in (0.0, 0.5, 1.0):
        settings = load_config(None, [f"train.self_blending={share}"]).train
        result, label = change_fakes(faces, images, settings, np.random.default_rng(1))
        assert result[0] is images[0]
        assert label.tolist() == [0.0] + [1.0] * 400
        made = [image for image in result[1:] if image is not images[1]]
        assert len(made) / 400 == pytest.approx(share, abs=0.08)
        assert all((image[:4] == images[0][:4]).all() and (image != images[0]).any() for image in made)
    alone, images = drawn([1] * 3, ["a"] * 3)
    assert change_fakes(alone, images, settings, np.random.default_rng(1))[0] == images


def test_mixed_fakes_have_the_share_that_their_label_says_and_a_real_face_of_their_group() -> None:
    faces, images = drawn([0, 0] + [1] * 60, ["a", "b"] + ["b"] * 60)
    images[0] = np.zeros_like(images[0])  # of another group
    settings = load_config(None, ["train.mixup=1"]).train
    result, label = change_fakes(faces, images, settings, np.random.default_rng(1))
    assert label[:2].tolist() == [0.0, 0.0]
    assert 0.4 < label[2:].mean() < 0.6
    for image, share in zip(result[2:], label[2:], strict=True):
        expected = share * images[2].astype(float) + (1 - share) * images[1].astype(float)
        np.testing.assert_allclose(image, expected, atol=1.01)


def test_videos_that_are_only_trained_on_are_in_every_models_faces_and_held_out_by_none() -> None:
    both = {"REAL": 4, "FAKE": 4}
    counts = {0: both, 1: {"REAL": 0, "FAKE": 4}, TRAIN_ONLY: {"REAL": 9, "FAKE": 0}}
    assert choose_folds(load_config(), counts) == [0, 1]
    with pytest.raises(TrainingError, match=r"fold -1; this run has \[0, 1\]"):
        choose_folds(load_config(None, ["train.folds=[-1]"]), counts)
    with pytest.raises(TrainingError, match="at least two groups"):
        choose_folds(load_config(), {0: both, TRAIN_ONLY: both})
    videos = [Labelled(str(fold), label, fold, count) for fold, one in counts.items() for label, count in one.items()]
    assert [plan_fold(load_config(None, ["train.batch_size=2"]), fold, videos).steps for fold in (0, 1)] == [6, 8]
