"""A job on a run whose inputs have changed says so before it starts anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dfd_ray.cli import main
from dfd_ray.config import load_config
from dfd_ray.errors import RunError
from dfd_ray.models.backbones import create_backbone
from dfd_ray.models.fine_tuning import start_head
from dfd_ray.pipelines.predict import index_new, read_calibration
from dfd_ray.pipelines.train import name_attempt
from dfd_ray.report.data import read_run
from dfd_ray.runtime import resumable_table
from dfd_ray.store.model_files import export_model, is_trained
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.sources import digest_manifest, digest_sources
from dfd_ray.store.storage import read_json
from dfd_ray.store.tables import METADATA_KEY, table_files, with_metadata, write_file


def set_metadata(path: str, **facts: object) -> None:
    rows = pq.read_table(path)
    stored = json.loads(rows.schema.metadata[METADATA_KEY]) | facts
    pq.write_table(rows.replace_schema_metadata({METADATA_KEY: json.dumps(stored)}), path)


def set_label(run: Run, label: str = "FAKE") -> None:
    """Make the manifest anew, with another label for its first video."""
    digest_manifest.cache_clear()  # a test writes it anew within the same tick of the clock
    path = table_files(run.location, "manifest")[0]
    old = pq.read_table(path)
    rows = old.to_pylist()
    rows[0]["label"] = label
    pq.write_table(pa.Table.from_pylist(rows, schema=old.schema), path)


@pytest.fixture
def run(draw_run: Callable[..., Path], tmp_path: Path) -> Run:
    """Draw a run whose faces know what they were made from."""
    folder = draw_run(tmp_path / "run", videos=2, faces=2)
    run = Run(str(folder), load_config(folder / "config.yaml", run=str(folder)))
    for path in table_files(run.location, "faces"):
        set_metadata(path, made_from=digest_sources(run, "faces"))
    return run


@pytest.mark.parametrize("job", ["preprocess", "embed", "analyze", "train", "evaluate", "export", "explore", "retry-errors"])
def test_faces_of_other_labels_are_refused_by_every_job(
    run: Run, job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_label(run)
    flags = ["--out", str(tmp_path / "out"), "--format", "folder"] if job == "export" else []
    assert main([job, "--run", run.location, *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{run.path('faces')} was made from other labels than {run.path('manifest')} has now" in error
    assert "1 of 8 videos differ, such as part/00.mp4: FAKE, was REAL" in error
    assert "delete it and run `dfd-ray preprocess` again" in error
    assert not Path(run.path("logs")).exists(), "Ray was not started"


def test_faces_that_a_killed_job_has_begun_are_not_mixed_with_others(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    Path(table_files(run.location, "faces")[1]).unlink()
    Path(run.path("checkpoints", "faces")).mkdir(parents=True)
    set_label(run)
    assert main(["preprocess", "--run", run.location]) == 2
    assert "other labels" in capsys.readouterr().err


def test_nothing_is_said_where_nothing_has_changed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    set_label(run, "REAL")  # the same file, written anew
    assert main(["preprocess", "--run", run.location]) == 0
    assert "nothing done" in capsys.readouterr().out


def test_the_checkpoints_of_a_table_that_was_deleted_are_not_resumed_from(run: Run) -> None:
    """Its rows would be left out as made, and the table never be whole."""
    shutil.rmtree(run.path("faces"))
    Path(run.path("checkpoints", "faces")).mkdir(parents=True)
    with resumable_table._keep_checkpoints(run, "faces"):
        assert not Path(run.path("checkpoints", "faces")).exists()


def export(run: Run, fold: int, made_from: dict[str, str] | None) -> None:
    torch.manual_seed(fold)
    module, spec = create_backbone("test_efficientnet", weights="random", num_classes=2, image_size=64)
    start_head(module)
    export_model(run, fold, module, spec, [], made_from)


def test_a_model_that_learnt_from_other_faces_or_labels_is_refused(run: Run) -> None:
    export(run, 0, digest_sources(run, "models"))
    export(run, 1, None)
    assert is_trained(run, 0) and is_trained(run, 1)
    set_label(run)
    with pytest.raises(RunError, match=r"run/models was made from other labels .*; delete it and run `dfd-ray train` again"):
        is_trained(run, 0)
    assert is_trained(run, 1), "a version before this one trained it: not known"


def test_initial_weights_that_have_changed_under_their_name_are_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "first.pth"
    file.write_bytes(b"one")
    other = Run(run.location, load_config(run.path("config.yaml"), [f"train.weights={file}"]))
    export(other, 0, digest_sources(other, "models"))
    assert is_trained(other, 0)
    file.write_bytes(b"another")
    with pytest.raises(RunError, match=rf"was made with other weights than train\.weights = {file} holds now"):
        is_trained(other, 0)
    file.unlink()
    assert is_trained(other, 0), "it is not needed any more"


def test_a_killed_training_goes_on_only_where_nothing_has_changed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    first = name_attempt(run, digest_sources(run, "models"))
    assert name_attempt(run, digest_sources(run, "models")) == first
    location = run.path("training", "making.json")
    begun = read_json(location)
    del begun["configuration"]["train.mixup"]  # begun before there was that setting
    begun["fingerprint"] = "another"
    Path(location).write_text(json.dumps(begun))
    assert name_attempt(run, digest_sources(run, "models")) == first
    set_label(run)
    assert name_attempt(run, digest_sources(run, "models")) != first
    assert "training starts over" in capsys.readouterr().out
    shutil.rmtree(run.path("training"))
    old = run.config.fingerprint("models")
    Path(run.path("training", old)).mkdir(parents=True)
    assert name_attempt(run, digest_sources(run, "models")) == old, "versions before this one named it so"
    set_label(run, "REAL")
    assert name_attempt(run, digest_sources(run, "models")) != old


def test_a_new_video_that_was_replaced_is_not_taken_for_scored(tmp_path: Path) -> None:
    new, videos = Run(str(tmp_path / "out"), load_config()), tmp_path / "videos"
    videos.mkdir()
    (videos / "a.mp4").write_text("one")
    index_new(new, str(videos))
    index_new(new, str(videos))
    (videos / "a.mp4").write_text("another")
    with pytest.raises(RunError, match=r"1 of 1 videos differ, such as a\.mp4: 7, was 3; use another --out"):
        index_new(new, str(videos))


def test_a_calibration_of_other_models_is_refused(run: Run) -> None:
    export(run, 0, None)
    Path(run.path("evaluation")).mkdir()
    Path(run.path("evaluation", "calibration.json")).write_text('{"calibration": null, "aggregation": "mean"}')
    rows = [{"video_id": "part/00.mp4", "status": "ok", "faces_used": 1}]
    schema = with_metadata(SCHEMAS["predictions"], "predictions", run.config, made_from=digest_sources(run, "predictions"))
    write_file(run.path("predictions", "part-0.parquet"), pa.Table.from_pylist(rows, schema=schema))
    assert read_calibration(run) is not None
    export(run, 0, {"faces": "others"})
    with pytest.raises(RunError, match=r"calibration\.json is of other classifiers than .*/models holds now; delete"):
        read_calibration(run)


def test_the_report_says_which_tables_do_not_fit(run: Run) -> None:
    assert read_run(run.location, run.config).remarks == []
    set_label(run)
    [remark] = read_run(run.location, run.config).remarks
    assert remark.startswith("faces/ was made from other labels")
