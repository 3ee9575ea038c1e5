from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dfd_ray.cli import main
from dfd_ray.errors import RunError
from dfd_ray.store.lock import LOCK, lock_run

HOLD = "import sys, time\nfrom dfd_ray.store.lock import lock_run\n"
HOLD += "with lock_run(sys.argv[1], create=True):\n    print('held', flush=True)\n    time.sleep(60)"


def test_a_second_job_on_the_same_run_is_refused_until_the_first_is_dead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE, text=True)
    with first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        assert main(["preprocess", "--run", str(run)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"{run} is in use by another job" in error
        first.send_signal(signal.SIGKILL)
    assert main(["preprocess", "--run", str(run)]) == 2
    assert "dfd-ray index" in capsys.readouterr().err


def test_it_is_let_go_of_when_the_job_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError), lock_run(str(tmp_path), create=False):
        raise KeyError
    with lock_run(str(tmp_path), create=False):
        pass


def test_a_folder_that_cannot_be_made_or_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot be written"), lock_run(str(tmp_path / "file" / "run"), create=True):
        pass
    # /sys takes no files, not even root's.
    with pytest.raises(RunError, match="cannot be written"), lock_run("/sys/kernel", create=False):
        pass


def test_a_folder_that_is_not_there_is_made_only_when_asked(tmp_path: Path) -> None:
    with lock_run(str(tmp_path / "a"), create=False):
        assert not (tmp_path / "a").exists()
    with lock_run(str(tmp_path / "a"), create=True):
        assert (tmp_path / "a" / LOCK).exists()
        (tmp_path / "a" / "manifest").mkdir()
    assert (tmp_path / "a" / "manifest").exists()


def test_a_job_that_wrote_nothing_leaves_no_folder(tmp_path: Path) -> None:
    with lock_run(str(tmp_path / "a"), create=True):
        pass
    assert not (tmp_path / "a").exists()
