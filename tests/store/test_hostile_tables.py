"""Tables and checkpoints that came from somebody else: reading them runs nothing and writes nowhere else.

Each case holds a canary: a pickle that makes a folder when it is loaded.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.data  # noqa: F401  (registers the extension types that the jobs' processes have registered)
import torch

from dfd_ray.cli import main
from dfd_ray.config import Config
from dfd_ray.errors import RunError
from dfd_ray.pipelines.export import write_folder
from dfd_ray.stages import train_loop
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.tables import count_rows, iterate_batches, read_metadata, read_table


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def as_extension(field: pa.Field, name: str, parameters: bytes = b"") -> pa.Field:
    return field.with_metadata({b"ARROW:extension:name": name.encode(), b"ARROW:extension:metadata": parameters})


def pickled_values(pickled: bytes) -> pa.Table:
    field = as_extension(pa.field("label", pa.large_binary()), "ray.data.arrow_pickled_object")
    return pa.table(
        [["a.mp4"], ["/a.mp4"], [pickled]], schema=pa.schema([("video_id", pa.string()), ("uri", pa.string()), field])
    )


def nested_values(pickled: bytes) -> pa.Table:
    inner = as_extension(pa.field("label", pa.large_binary()), "ray.data.arrow_pickled_object")
    kind = pa.list_(pa.struct([inner]))
    return pa.table({"video_id": ["a.mp4"], "uri": ["/a.mp4"], "label": pa.array([[{"label": pickled}]], kind)})


def pickled_parameters(name: str) -> Any:
    def make(pickled: bytes) -> pa.Table:
        field = as_extension(pa.field("label", pa.list_(pa.int64())), name, pickled)
        schema = pa.schema([("video_id", pa.string()), ("uri", pa.string()), field])
        return pa.table([["a.mp4"], ["/a.mp4"], [[1]]], schema=schema)

    return make


CASES = {
    "values": pickled_values,
    "nested values": nested_values,
    "tensor": pickled_parameters("ray.data.arrow_tensor"),
    "tensor v2": pickled_parameters("ray.data.arrow_tensor_v2"),
    "tensor of variable shape": pickled_parameters("ray.data.arrow_variable_shaped_tensor"),
}


@pytest.fixture(params=CASES)
def hostile_run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    run = tmp_path / "run"
    (run / "manifest").mkdir(parents=True)
    table = CASES[request.param](pickle.dumps(Canary(tmp_path / "canary")))
    pq.write_table(table, run / "manifest" / "part-0.parquet")
    return run


def test_the_canary_sings_for_who_trusts_it(tmp_path: Path) -> None:
    pq.write_table(pickled_values(pickle.dumps(Canary(tmp_path / "canary"))), tmp_path / "file.parquet")
    pq.read_table(tmp_path / "file.parquet").to_pylist()
    assert (tmp_path / "canary").exists()


def test_no_way_to_read_a_table_loads_a_pickle(hostile_run: Path, tmp_path: Path) -> None:
    for read in (
        lambda: read_table(str(hostile_run), "manifest").to_pylist(),
        lambda: read_table(str(hostile_run), "manifest", ["label"]).to_pylist(),
        lambda: [batch.to_pylist() for batch in iterate_batches(str(hostile_run), "manifest")],
        lambda: count_rows(str(hostile_run), "manifest"),
        lambda: read_metadata(str(hostile_run), "manifest"),
    ):
        with pytest.raises(RunError, match=r"part-0\.parquet has a column"):
            read()
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("job", ["preprocess", "embed", "train", "evaluate", "analyze"])
def test_a_job_on_such_a_run_is_refused_in_one_line(
    hostile_run: Path, tmp_path: Path, job: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([job, "--run", str(hostile_run)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "part-0.parquet has a column" in error
    assert not (tmp_path / "canary").exists()


def test_a_pickle_in_a_training_checkpoint_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    torch.save({"fold": 0, "history": Canary(tmp_path / "canary")}, folder / "state.pt")
    checkpoint = train_loop.Checkpoint.from_directory(str(folder))
    monkeypatch.setattr(train_loop.ray.train, "get_checkpoint", lambda: checkpoint)
    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        train_loop.restore({}, 0, 0)
    assert not (tmp_path / "canary").exists()


def test_a_label_that_is_a_path_writes_no_file_outside_the_export(tmp_path: Path) -> None:
    face = {"frame_index": 0, "time": 0.0, "face_index": 0, "probability": 1.0, "image": b"x"}
    face |= {"box": [0.0, 0.0, 1.0, 1.0], "landmarks": [0.0] * 10}
    row = {
        "video_id": "a.mp4",
        "label": "../../outside",
        "group": "a.mp4",
        "status": "ok",
        "seconds_spent": 0.0,
        "faces": [face],
    }
    run = tmp_path / "run"
    (run / "faces").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([row], schema=SCHEMAS["faces"]), run / "faces" / "part-0.parquet")
    with pytest.raises(RunError, match="outside"):
        write_folder(Run(str(run), Config()), str(tmp_path / "deep" / "export"))
    assert not list(tmp_path.rglob("*.jpg"))
