from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfd_ray import __version__
from dfd_ray.arguments import GROUPS, JOBS, SHELLS, create_parser
from dfd_ray.cli import main
from dfd_ray.config import describe_fields, load_config

PROJECT = Path(__file__).parent.parent


@pytest.mark.parametrize("job", JOBS)
def test_help_teaches_every_setting_of_the_job(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([job, "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())  # it is wrapped
    for section in JOBS[job].sections:
        for name, default, meaning in describe_fields(section):
            assert f"{name} {meaning} [{default}]" in text
    assert text.index("options:") < text.index("examples:")


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("job", ["preprocess", "pipeline", "plan", None])
def test_help_fits_the_terminal(
    job: str | None, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        main([*([job] if job else []), "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert job is None or max(map(len, lines)) > columns - 30


def test_the_help_groups_every_job_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    assert sorted(job for jobs in GROUPS.values() for job in jobs) == sorted([*JOBS, "plan"])
    for title, jobs in GROUPS.items():
        assert re.search(rf"^{title}:\n" + "".join(rf"  {job} .*\n(?:    .*\n)*" for job in jobs), text, re.MULTILINE), title


@pytest.mark.parametrize(("job", "example"), [(name, line) for name, job in JOBS.items() for line in job.examples])
def test_an_example_in_the_help_can_be_typed(job: str, example: str) -> None:
    options = create_parser().parse_args([job, *example.split()])
    load_config(PROJECT / options.config if options.config else None, options.set)


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "dfd_ray", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"dfd-ray {__version__}\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_completion_script_knows_jobs_flags_and_settings(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--print-completion", shell])
    assert stop.value.code == 0
    script = capsys.readouterr().out
    for word in (*JOBS, "corpus", "resources.detect.num_gpus=", "train.epochs="):
        assert word in script


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["dfd-ray", "pre"], ["predict", "preprocess"]),
        (["dfd-ray", "embed", "--co"], ["--config", "--corpus"]),
        (["dfd-ray", "embed", "--set", "embed.b"], ["embed.backbone=", "embed.batch_size="]),
    ],
)
def test_bash_completes(words: list[str], expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    with pytest.raises(SystemExit):
        main(["--print-completion", "bash"])
    script = tmp_path / "completion.bash"
    script.write_text(
        f"{capsys.readouterr().out}\n"
        f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}\n"
        f"_shtab_dfd_ray dfd-ray {shlex.join(words[-1:])} {shlex.join(words[-2:-1])}\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run([bash, str(script)], capture_output=True, text=True, check=True, timeout=60)
    assert sorted(set(done.stdout.split())) == expected


def test_help_loads_no_heavy_library() -> None:
    code = "import sys; from dfd_ray.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('ray', 'torch', 'cv2', 'pandas', 'sklearn') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip().endswith("[]")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["index", "--set", "preprocess.margn=1"], ["preprocess.margn", "preprocess.margin"]),
        (["index", "--set", "preprocess.margin=wide"], ["preprocess.margin", "'wide'", "number"]),
        (["index", "--set", "preprocess.margin=-1"], ["preprocess.margin", "-1", "greater than or equal to 0"]),
        (["index", "--set", "margin"], ["margin", "section.field=value"]),
        (["index", "--config", "nowhere.yaml"], ["nowhere.yaml", "No such file"]),
        (["index"], ["--corpus"]),
        (["preprocess"], ["dfd-ray index"]),
        (["embed"], ["dfd-ray index"]),
        (["analyze"], ["dfd-ray index"]),
        (["train"], ["dfd-ray index"]),
        (["evaluate"], ["dfd-ray index"]),
        (["report"], ["dfd-ray index"]),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    tmp_path: Path, arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([arguments[0], "--run", str(tmp_path / "run"), *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for word in words:
        assert word in error
    assert not (tmp_path / "run").exists()


def test_object_storage_that_cannot_be_reached_is_one_line_without_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {
        "ENDPOINT_URL": "http://127.0.0.1:9",
        "ACCESS_KEY_ID": "AKIAHUSH",
        "SECRET_ACCESS_KEY": "hush",
        "REGION": "us-east-1",
    }
    for name, value in facts.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("dfd_ray.store.storage.REQUESTS", 1)
    assert main(["index", "--run", "s3://bucket/run", "--corpus", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "dfd-ray index: s3://bucket/run/config.yaml: " in error
    assert "check the network, AWS_REGION and AWS_ENDPOINT_URL" in error
    assert "hush" not in error.lower()


def test_an_unknown_job_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["dance"])
    assert stop.value.code == 2
    assert "invalid choice: 'dance'" in capsys.readouterr().err


def test_b7_without_weights_or_network_names_the_flag_and_the_offline_way(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy_of(finished_run, tmp_path, ("manifest", "faces"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    settings = ["embed.backbone=tf_efficientnet_b7", "embed.weights=auto"]
    assert main(["embed", "--run", str(run), "--set", settings[0], "--set", settings[1]]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for word in ("tf_efficientnet_b7", "embed.weights", "tf_efficientnet_lite0"):
        assert word in error
    assert not (run / "embeddings").exists()
    assert time.monotonic() - started < 60


def test_training_with_one_class_is_refused(
    draw_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = draw_run(tmp_path / "run")
    for path in run.glob("*/*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.set_column(table.schema.get_field_index("label"), "label", pa.array(["REAL"] * len(table))), path)
    assert main(["train", "--run", str(run)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no FAKE one" in error
    assert not (tmp_path / "run" / "models").exists()


def copy_of(run: Path, tmp_path: Path, tables: tuple[str, ...]) -> Path:
    import shutil

    for table in tables:
        shutil.copytree(run / table, tmp_path / "run" / table)
    shutil.copy(run / "config.yaml", tmp_path / "run" / "config.yaml")
    return tmp_path / "run"
