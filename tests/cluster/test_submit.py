"""The jobs as a user submits them: `ray job submit` to a Ray that asks for a token."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from ray.job_submission import JobStatus

from dfd_ray.store.tables import count_rows, read_table

from .conftest import TOKEN, Head

pytestmark = pytest.mark.slow


def rows_of(run: Path, table: str, columns: list[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_table(str(run), table, columns).to_pylist()
    return sorted(rows, key=lambda row: str(row["video_id"]))


@pytest.fixture(scope="module")
def submitted_run(head: Head, small_corpus: Path, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Submit `index` and `preprocess`, the first with the settings, the second with nothing but the run."""
    run = tmp_path_factory.mktemp("submitted") / "run"
    for job, arguments in (("index", ["--corpus", str(small_corpus), *flags]), ("preprocess", [])):
        name, said = head.submit(job, "--run", str(run), *arguments)
        assert said.returncode == 0, said.stdout + said.stderr
        assert head.client().get_job_status(name) == JobStatus.SUCCEEDED
        words = head.client().get_job_logs(name).split()
        assert words[words.index("result") + 1].startswith(str(run))
    return run


def test_submitted_jobs_write_every_row(head: Head, submitted_run: Path) -> None:
    manifest = rows_of(submitted_run, "manifest", ["video_id"])
    faces = rows_of(submitted_run, "faces", ["video_id", "status", "faces"])
    assert [row["video_id"] for row in faces] == [row["video_id"] for row in manifest]
    assert {row["status"] for row in faces} == {"ok", "no_face", "error"}
    name, said = head.submit("embed", "--run", str(submitted_run))
    assert said.returncode == 0, said.stdout + said.stderr
    embeddings = rows_of(submitted_run, "embeddings", ["video_id", "faces"])
    counts = [[(row["video_id"], len(row["faces"])) for row in table] for table in (embeddings, faces)]
    assert counts[0] == counts[1]
    assert "faces_per_second" in head.client().get_job_logs(name)


def test_a_finished_job_submitted_again_does_nothing_and_says_so(head: Head, submitted_run: Path) -> None:
    name, said = head.submit("preprocess", "--run", str(submitted_run))
    assert said.returncode == 0
    assert "already complete; nothing done" in head.client().get_job_logs(name)


def test_a_job_that_fails_ends_as_failed_with_its_one_line(head: Head, tmp_path: Path) -> None:
    run = tmp_path / "run"
    name, said = head.submit("preprocess", "--run", str(run), "--set", "preprocess.margn=1")
    assert said.returncode != 0
    assert head.client().get_job_status(name) == JobStatus.FAILED
    logs = head.client().get_job_logs(name)
    reason = "dfd-ray preprocess: unknown field 'preprocess.margn'; did you mean 'preprocess.margin'?"
    assert [line for line in logs.splitlines() if line.startswith("dfd-ray")] == [reason]
    assert "Traceback" not in logs
    assert reason in head.client().get_job_info(name).message
    assert not run.exists()


def test_a_submission_stopped_and_submitted_again_goes_on(
    head: Head, submitted_run: Path, small_corpus: Path, flags: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    _, said = head.submit("index", "--run", str(run), "--corpus", str(small_corpus), *flags)
    assert said.returncode == 0
    name, _ = head.submit("preprocess", "--run", str(run), wait=False)
    deadline = time.monotonic() + 300
    total = count_rows(str(run), "manifest")
    while not 0 < count_rows(str(run), "faces") < total:
        assert not head.client().get_job_status(name).is_terminal(), head.client().get_job_logs(name)
        assert time.monotonic() < deadline
        time.sleep(0.1)
    head.client().stop_job(name)
    assert head.wait(name) == JobStatus.STOPPED
    kept = {path.name for path in (run / "faces").glob("*.parquet")}
    assert 0 < count_rows(str(run), "faces") < total
    _, said = head.submit("preprocess", "--run", str(run))
    assert said.returncode == 0, said.stdout + said.stderr
    columns = ["video_id", "status", "faces"]
    assert rows_of(run, "faces", columns) == rows_of(submitted_run, "faces", columns)
    assert kept & {path.name for path in (run / "faces").glob("*.parquet")}  # what was committed was not done again


@pytest.mark.parametrize(("token", "code"), [(None, 401), ("f" * 64, 403), (TOKEN, 200)])
def test_the_job_api_answers_only_who_has_the_token(head: Head, token: str | None, code: int) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{head.dashboard}/api/jobs/", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == code
    except urllib.error.HTTPError as error:
        assert error.code == code


def test_a_job_with_a_wrong_token_is_not_submitted(head: Head, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("f" * 64)
    before = len(head.client().list_jobs())
    said = head.command("job", "submit", "--", "python", "-c", "print('in')", token_file=wrong, limit=60)
    assert said.returncode != 0
    assert "token" in (said.stdout + said.stderr).lower()
    assert len(head.client().list_jobs()) == before


def test_a_driver_with_a_wrong_token_gets_no_work_done(head: Head, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("f" * 64)
    code = f"import ray; ray.init('{head.gcs}', log_to_driver=False); print('in')"
    said = subprocess.run(
        [sys.executable, "-c", code], env=head.environment(wrong), capture_output=True, text=True, timeout=120
    )
    assert said.returncode != 0
    assert "in\n" not in said.stdout
    assert "AuthenticationError" in said.stderr
    assert TOKEN not in said.stdout + said.stderr
