"""What a run lacks for a job is known before anything starts, and is made in the pipeline's order."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dfd_ray import cli
from dfd_ray.arguments import JOBS
from dfd_ray.config import load_config
from dfd_ray.errors import ConfigurationError, DfdError, RunError
from dfd_ray.pipelines import prerequisites
from dfd_ray.pipelines.pipeline import pipeline
from dfd_ray.pipelines.prerequisites import NEEDS, RESULTS, check_ahead, find_missing_tables
from dfd_ray.store.lock import lock_run
from dfd_ray.store.run import Run
from dfd_ray.store.summary import Summary
from dfd_ray.store.tables import WRITER

TINY = [f"{section}.{field}" for section in ("embed", "train") for field in ("backbone=test_efficientnet", "weights=random")]


def test_every_job_starts_by_itself_or_has_a_result() -> None:
    assert set(RESULTS) | set(cli.STARTERS) == set(JOBS)
    assert not set(RESULTS) & set(cli.STARTERS)
    assert set(NEEDS) <= set(WRITER)
    assert set(cli.READERS) == {job for job, table in RESULTS.items() if WRITER[table] != job}


@pytest.mark.parametrize(
    ("job", "tables"),
    [
        ("preprocess", []),
        ("embed", []),
        ("analyze", ["embeddings"]),
        ("train", []),
        ("evaluate", ["models"]),
        ("export", []),
        ("explore", ["embeddings", "projection"]),
    ],
)
def test_of_a_run_with_faces_only_what_follows_is_missing(
    job: str, tables: list[str], draw_run: Callable[..., Path], tmp_path: Path
) -> None:
    run = draw_run(tmp_path / "run")
    config = load_config(run / "config.yaml", run=str(run))
    assert find_missing_tables(job, Run(str(run), config)) == tables
    other = load_config(run / "config.yaml", ["preprocess.margin=0.3"], run=str(run))
    with pytest.raises(RunError, match=r"preprocess\.margin"):
        find_missing_tables(job, Run(str(run), other))


def test_without_a_manifest_a_corpus_is_asked_for(tmp_path: Path) -> None:
    run = Run(str(tmp_path), load_config(None, run=str(tmp_path), corpus="/videos"))
    assert find_missing_tables("preprocess", run) == ["manifest"]
    assert find_missing_tables("evaluate", run) == ["manifest", "faces", "models"]
    with pytest.raises(RunError, match="give --corpus FOLDER, or run `dfd-ray index` first"):
        find_missing_tables("evaluate", Run(str(tmp_path), load_config(None, run=str(tmp_path))))


def test_what_is_finished_needs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its models may have been deleted to save space."""
    monkeypatch.setattr(prerequisites, "is_made", lambda table, run: table in ("manifest", "predictions"))
    assert find_missing_tables("evaluate", Run(str(tmp_path), load_config(None, run=str(tmp_path)))) == []


def test_a_map_is_complete_without_the_faces_it_was_made_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = {"manifest": 2, "projection": 3, "faces": 0}
    monkeypatch.setattr(prerequisites, "count_rows", lambda location, table: rows[table])
    monkeypatch.setattr(prerequisites, "count_faces", lambda location, table: 4)
    run = Run(str(tmp_path), load_config(None, run=str(tmp_path)))
    assert prerequisites.is_made("projection", run)
    rows["faces"] = 2
    assert not prerequisites.is_made("projection", run), "it is of other faces"


def test_an_export_that_cannot_be_written_makes_no_tables(
    jobs_run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = [(["--format", "bogus", "--out", "new"], "--format bogus: expected"), (["--out", str(tmp_path)], "already")]
    for words, said in refused:
        assert cli.main(["export", "--run", str(tmp_path / "run"), "--corpus", str(tmp_path), *words]) == 2
        assert said in capsys.readouterr().err
    assert jobs_run == []


@pytest.fixture
def jobs_run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have jobs that do nothing; the list has the names of those that ran, and which of them held the run."""
    names: list[str] = []

    def run_job(name: str, run: Run) -> list[Summary]:
        try:
            with lock_run(run.location, create=False):
                names.append(name)
        except RunError:
            names.append(f"{name}, alone")
        return [Summary(name, run.path(name), rows=1, ok=1)]

    monkeypatch.setattr(cli, "_run_job", run_job)
    monkeypatch.setattr(prerequisites, "is_made", lambda table, run: False)
    return names


@pytest.mark.parametrize(
    ("job", "line", "expected"),
    [
        ("preprocess", "preprocess needs the manifest: running index first", ["index, alone", "preprocess, alone"]),
        (
            "evaluate",
            "evaluate needs the models: running index, preprocess and train first",
            ["index, alone", "preprocess, alone", "train, alone", "evaluate, alone"],
        ),
        (
            "explore",
            "explore needs the projection: running index, preprocess, embed and analyze first",
            ["index, alone", "preprocess, alone", "embed, alone", "analyze, alone", "explore"],
        ),
    ],
)
def test_a_job_says_what_it_will_make_and_makes_it(
    job: str, line: str, expected: list[str], jobs_run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [part for setting in TINY for part in ("--set", setting)]
    assert cli.main([job, "--run", str(tmp_path / "run"), "--corpus", str(tmp_path), *settings]) == 0
    assert jobs_run == expected
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == line
    assert [text for text in shown[1:] if text and not text.startswith(" ")] == [name.split(",")[0] for name in expected]


@pytest.mark.parametrize("job", ["preprocess", "embed", "evaluate", "export"])
def test_another_corpus_than_the_run_s_is_refused(
    job: str, draw_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, words = draw_run(tmp_path / "run"), ["--format", "parquet", "--out", str(tmp_path / "faces.parquet")]
    manifest = run / "manifest" / "part-0.parquet"
    table = pq.read_table(manifest)
    facts = json.loads(table.schema.metadata[b"dfd_ray"]) | {"corpus": "/videos"}
    pq.write_table(table.replace_schema_metadata({"dfd_ray": json.dumps(facts)}), manifest)
    command = [job, "--run", str(run), *(words if job == "export" else []), "--corpus"]
    assert cli.main([*command, "/others"]) == 2
    assert "is of the corpus /videos, not /others; use another --run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("train.weights=/none/b7.safetensors", "train.weights=/none/b7.safetensors: there is no such file"),
        ("embed.weights=/none/b7.safetensors", "embed.weights=/none/b7.safetensors: there is no such file"),
        ("train.backbone=efficentnet_b7", "efficentnet_b7"),
        ("train.mlflow=http://me:secret@server", "credentials do not belong in a URI"),
    ],
)
def test_what_a_later_job_would_refuse_is_refused_at_once(setting: str, said: str, tmp_path: Path) -> None:
    run = Run(str(tmp_path), load_config(None, [*TINY, setting], run=str(tmp_path)))
    with pytest.raises(DfdError, match=re.escape(said)):
        check_ahead(["preprocess", "embed", "train"], run)
    check_ahead(["preprocess"], run)


def test_a_heat_map_asks_for_its_package_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("dfd_ray.models.grad_cam.importlib.util.find_spec", lambda name: None)
    run = Run(str(tmp_path), load_config(None, [*TINY, "evaluate.explain=3"], run=str(tmp_path)))
    with pytest.raises(ConfigurationError, match="pip install grad-cam"):
        check_ahead(["evaluate"], run)


def test_a_pipeline_refuses_before_it_looks_for_faces(
    draw_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, done = draw_run(tmp_path / "run"), list[str]()
    shutil.rmtree(folder / "faces")
    module = importlib.import_module("dfd_ray.pipelines.pipeline")

    def preprocess(run: Run) -> Summary:
        done.append("preprocess")
        return Summary("preprocess", "", rows=1, ok=1)

    monkeypatch.setattr(module, "preprocess", preprocess)
    monkeypatch.setattr(module, "STEPS", (preprocess,))
    wrong, right = (load_config(None, [*TINY, *more], run=str(folder)) for more in (["train.weights=/none.pth"], []))
    with pytest.raises(DfdError, match="there is no such file"):
        list(pipeline(Run(str(folder), wrong)))
    assert done == []
    list(pipeline(Run(str(folder), right)))
    assert done == ["preprocess"]


def test_a_corpus_that_has_changed_is_told_by_every_job_that_goes_on_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, run = tmp_path / "corpus", tmp_path / "run"
    corpus.mkdir()
    for number in range(4):
        (corpus / f"{number}.mp4").write_text("x")

    def write_labels(*labels: str) -> None:
        rows = [f"{number}.mp4,{label}" for number, label in enumerate(labels)]
        (corpus / "labels.csv").write_text("\n".join(["filename,label", *rows]))

    write_labels("REAL", "FAKE", "REAL", "FAKE")
    assert cli.main(["index", "--run", str(run), "--corpus", str(corpus)]) == 0
    monkeypatch.setattr(cli, "_run_job", lambda name, run, *more: [Summary(name, "", rows=1, ok=1)])
    capsys.readouterr()
    assert cli.main(["preprocess", "--run", str(run)]) == 0
    assert capsys.readouterr().err == ""
    write_labels("FAKE", "FAKE", "REAL", "FAKE")
    assert cli.main(["preprocess", "--run", str(run)]) == 0
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "the labels of 1 of 4 videos differ, such as 0.mp4: FAKE, was REAL; delete" in said
    assert said.endswith("This job goes on with the manifest as it is\n")
    (corpus / "labels.csv").write_text("filename,label\n0.mp4,perhaps")
    assert cli.main(["preprocess", "--run", str(run)]) == 0
    assert "'perhaps'" in capsys.readouterr().err
    shutil.rmtree(corpus)
    assert cli.main(["preprocess", "--run", str(run)]) == 0
    assert capsys.readouterr().err == ""
