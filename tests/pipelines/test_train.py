from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from dfd_ray.cli import main
from dfd_ray.config import Config, load_config
from dfd_ray.errors import ResourceError, TrainingError
from dfd_ray.pipelines import train
from dfd_ray.stages import training_data
from dfd_ray.store.run import Run


def set_nodes(monkeypatch: pytest.MonkeyPatch, *nodes: dict[str, float]) -> None:
    """Have Ray hold these nodes."""
    totals = {name: sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU")}
    monkeypatch.setattr(train.ray, "nodes", lambda: [{"Alive": True, "Resources": node} for node in nodes])
    monkeypatch.setattr(train.ray, "cluster_resources", lambda: totals)


@pytest.fixture
def small_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    set_nodes(monkeypatch, {"CPU": 5.0, "GPU": 1.0})


def test_more_workers_than_the_machine_has_are_refused(small_cluster: None) -> None:
    train.check_room(load_config(None, ["train.workers=4"]))
    with pytest.raises(ResourceError, match=r"asks for 9 CPUs \(8 workers, and a task that feeds them\), Ray has 5; lower"):
        train.check_room(load_config(None, ["train.workers=8"]))
    with pytest.raises(ResourceError, match=r"asks for 2 GPUs .*, Ray has 1; lower"):
        train.check_room(load_config(None, ["train.workers=2", "resources.train.num_gpus=1"]))


def test_the_task_that_feeds_the_workers_has_the_cpus_of_extract(small_cluster: None) -> None:
    train.check_room(load_config(None, ["train.workers=3", "resources.extract.num_cpus=2"]))
    train.check_room(load_config(None, ["train.workers=4", "resources.extract.num_cpus=0.5"]))
    with pytest.raises(ResourceError, match=r"asks for 6 CPUs \(4 workers, and a task that feeds them\), Ray has 5"):
        train.check_room(load_config(None, ["train.workers=4", "resources.extract.num_cpus=2"]))
    with pytest.raises(ResourceError, match=r"asks for 5\.5 CPUs"):
        train.check_room(load_config(None, ["train.workers=3", "resources.train.num_cpus=1.5"]))


def test_a_worker_that_no_node_can_hold_is_said_though_the_nodes_together_could(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_nodes(monkeypatch, *[{"CPU": 4.0}] * 8)
    wide = load_config(None, ["train.workers=2", "resources.train.num_cpus=8"])
    with pytest.raises(ResourceError, match=r"train asks for 8 CPUs a worker, .* has 4; --set resources\.train\.num_cpus=4"):
        train.check_room(wide)
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    train.check_room(wide)
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("dfd-ray: train asks for 8 CPUs a worker, no node of the cluster has more than 4; waiting for one")
    train.check_room(load_config(None, ["train.workers=2", "resources.extract.num_cpus=8"]))
    assert "extract asks for 8 CPUs a worker, no node of the cluster has more than 4" in capsys.readouterr().err


def test_new_models_leave_nothing_of_earlier_ones(
    draw_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = draw_run(tmp_path / "run")
    earlier = [folder / name for name in ("scores", "predictions", "evaluation", "checkpoints/scores")]
    for path in earlier:
        path.mkdir(parents=True)

    def stop(*_: object) -> None:
        raise TrainingError("here the models would be trained")

    monkeypatch.setattr(train, "ray_session", lambda run: nullcontext())
    monkeypatch.setattr(train, "check_room", lambda config: None)
    monkeypatch.setattr(train, "fit", stop)
    with pytest.raises(TrainingError, match="here"):
        train.train(Run(str(folder), load_config(folder / "config.yaml", run=str(folder))))
    assert not any(path.exists() for path in earlier)


def test_of_a_cluster_it_is_said_at_once_since_nodes_may_come(
    small_cluster: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    train.check_room(load_config(None, ["train.workers=8"]))
    assert "dfd-ray: training asks for 9 CPUs" in capsys.readouterr().err
    train.check_room(load_config(None, ["train.workers=4"]))
    assert capsys.readouterr().err == ""


def test_a_kill_after_the_last_model_leaves_nothing_undone(finished_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    (run / "models" / "examples.json").unlink()
    (run / "training").mkdir()
    assert main(["train", "--run", str(run)]) == 0
    assert (run / "models" / "examples.json").exists()
    assert not (run / "training").exists()
    assert (run / "predictions").exists(), "they are of these models"


def test_a_class_that_is_in_one_fold_only_is_said(draw_run: Callable[..., Path], tmp_path: Path) -> None:
    videos = training_data.read_labelled(Run(str(draw_run(tmp_path / "run")), Config()))
    one_fold = [video for video in videos if video.label == "FAKE" or video.fold == 0]
    with pytest.raises(TrainingError, match="all REAL faces are in fold 0"):
        training_data.choose_folds(load_config(), training_data.count_by_fold(one_fold))
    fakes = [video for video in videos if video.label == "FAKE"]
    with pytest.raises(TrainingError, match="there is no REAL one"):
        training_data.choose_folds(load_config(), training_data.count_by_fold(fakes))
    assert training_data.choose_folds(load_config(), training_data.count_by_fold(videos)) == [0, 1]
