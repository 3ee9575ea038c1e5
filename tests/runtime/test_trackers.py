from __future__ import annotations

from pathlib import Path

import pytest

from dfd_ray.config import load_config
from dfd_ray.errors import ConfigurationError
from dfd_ray.runtime.trackers import check_trackers, log_epoch
from dfd_ray.store.run import Run


@pytest.mark.parametrize("tracker", ["tensorboard=true", "mlflow=http://localhost:5000"])
def test_without_a_tracker_it_is_said_how_to_get_it(tracker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    name = tracker.partition("=")[0]
    with pytest.raises(ConfigurationError, match=rf"pip install {name}$"):
        check_trackers(load_config(None, [f"train.{tracker}"]).train)


def test_credentials_do_not_come_into_a_run_by_the_address_of_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    with pytest.raises(ConfigurationError, match="credentials do not belong in a URI"):
        check_trackers(load_config(None, ["train.mlflow=http://me:secret@server"]).train)


def log_two_epochs(run: Path, *settings: str) -> None:
    for epoch in (1, 2):
        log_epoch(
            Run(str(run), load_config(None, settings)), 3, {"epoch": epoch, "train_loss": 0.5 / epoch, "validation_auc": None}
        )


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="an extra: pip install -e '.[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_two_epochs(tmp_path, "train.tensorboard=true")
    found = EventAccumulator(str(tmp_path / "tensorboard" / "fold-3"))
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("train_loss")] == [(1, 0.5), (2, 0.25)]
    assert found.Tags()["scalars"] == ["train_loss"]


def test_mlflow_has_a_run_a_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="an extra: pip install -e '.[mlflow]'")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # as a server stores, too, but without SQL
    store = (tmp_path / "mlflow").as_uri()
    log_two_epochs(tmp_path / "run", f"train.mlflow={store}")
    client = mlflow.MlflowClient(store)
    [run] = client.search_runs([client.get_experiment_by_name("dfd_ray").experiment_id])
    assert run.info.run_name == "run, fold 3"
    assert run.data.params["optimiser"] == "adamw"
    assert [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "train_loss")] == [
        (1, 0.5),
        (2, 0.25),
    ]


def test_an_mlflow_that_does_not_answer_costs_its_curve_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow", reason="an extra: pip install -e '.[mlflow]'")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    log_two_epochs(tmp_path, "train.mlflow=http://127.0.0.1:1")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dfd-ray train")]
    assert [line.partition("MLflow")[0] for line in lines] == [
        f"dfd-ray train: epoch {epoch} was not logged to " for epoch in (1, 2)
    ]
