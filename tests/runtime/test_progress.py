from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from ray.exceptions import RpcError

from dfd_ray.corpus.manifest import write_manifest
from dfd_ray.runtime import progress
from dfd_ray.runtime.progress import Bar, ProgressBar, describe_stall, list_begun, report_done, show_progress, try_video
from dfd_ray.runtime.ray_internals import identify, write_note
from dfd_ray.store.schemas import SCHEMAS


@pytest.fixture
def run(tmp_path: Path) -> str:
    rows = [{"video_id": f"{i}.mp4", "uri": f"/{i}.mp4", "part": "", "bytes": 1} for i in range(10)]
    write_manifest(str(tmp_path), pa.Table.from_pylist(rows, schema=SCHEMAS["manifest"]))
    return str(tmp_path)


def test_a_line_counts_how_many_videos_ended_how(ray: None, run: str, capfd: pytest.CaptureFixture[str]) -> None:
    with show_progress("preprocess", run, "faces") as counter:
        report_done(counter, ["ok", "ok", "error"])
        report_done(counter, ["no_face"])
        time.sleep(3 * progress.INTERVAL)
    line = capfd.readouterr().err
    assert re.fullmatch(r"preprocess: 4/10 videos, \d+\.\d\d videos/s, \d\d:\d\d left, ok=2, error=1, no_face=1\n", line)


def test_videos_tried_again_do_not_take_the_bar_past_its_end(ray: None, run: str, capfd: pytest.CaptureFixture[str]) -> None:
    with show_progress("embed", run, "embeddings") as counter:
        report_done(counter, ["ok"] * 12)
        time.sleep(3 * progress.INTERVAL)
    assert "10/10" in capfd.readouterr().err.splitlines()[-1]


class Screen(io.StringIO):
    """A terminal, as far as a bar asks."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_that_is_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    bar = Bar("embed", "video", total=4)
    bar.show(2, "ok=2")
    bar.write("dfd-ray embed: a warning")
    bar.show(4, "ok=4")
    bar.close()
    shown = screen.getvalue()
    assert shown.count("\n") == 2  # below the warning and below the bar
    assert "\rdfd-ray embed: a warning\n" in re.sub(r" {2,}\r", "", shown)
    assert "embed: 100%" in shown.split("\r")[-1]
    assert "4/4" in shown.split("\r")[-1]


def test_elsewhere_a_line_follows_after_ten_seconds_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now))
    bar = Bar("train", "epoch", total=4)
    for seconds in range(1, 26):
        now = 100.0 + seconds
        bar.show(seconds // 10, "fold 0")
    bar.close()
    bar = Bar("making the demo corpus", "clip")
    bar.total = 48
    now += 24
    bar.show(48)
    bar.close()
    assert capsys.readouterr().err.splitlines() == [
        "train: 1/4 epochs, 0.10 epochs/s, 00:30 left, fold 0",
        "train: 2/4 epochs, 0.10 epochs/s, 00:20 left, fold 0",
        "train: 2/4 epochs, 12 s/epoch, 00:25 left, fold 0",
        "making the demo corpus: 48/48 clips, 2.00 clips/s, in 00:24",
        "making the demo corpus: 48/48 clips, 2.00 clips/s, in 00:24",
    ]


def test_what_an_earlier_start_did_is_not_part_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now))
    bar = Bar("preprocess", "video", total=100, done=60)
    now += 10
    bar.show(80)
    assert bar.describe() == "preprocess: 80/100 videos, 2.00 videos/s, 00:10 left"


def test_a_counter_that_died_does_not_end_the_job_and_is_told_of_once(
    ray: None, run: str, capfd: pytest.CaptureFixture[str]
) -> None:
    import ray as library

    with show_progress("embed", run, "embeddings") as counter:
        library.kill(counter)
        report_done(counter, ["ok"])
        time.sleep(3 * progress.INTERVAL)
    assert capfd.readouterr().err.count("the process that counts videos died; the bar stands still, the job goes on\n") == 1


@pytest.mark.parametrize("dead", [False, True])
def test_a_video_that_kills_its_workers_is_refused_whether_the_counter_lives_or_not(ray: None, run: str, dead: bool) -> None:
    import ray as library

    def die(counter: Any, video: str) -> bool:
        """Return whether the video may be tried, and never reach the end."""
        attempt = try_video(counter, video, attempts=2)
        started.append(attempt)
        return attempt.__enter__()

    started = list[Any]()
    with show_progress("preprocess", run, "faces") as counter:
        first = die(counter, "part/1.mp4")
        if dead:
            library.kill(counter)
        assert [first, *(die(counter, "part/1.mp4") for _ in range(4))] == [True, True, False, False, False]
        with try_video(counter, "part/1", 2) as allowed:  # the start of another's name
            assert allowed
        for _ in range(4):
            with try_video(counter, "part/2.mp4", 2) as allowed:
                assert allowed
        here = library.get_runtime_context().get_node_id()
        assert list_begun(counter) == {"part/1.mp4": here}
    assert list_begun(counter) == {}


def test_workers_that_died_with_their_node_do_not_count(ray: None, run: str) -> None:
    with show_progress("preprocess", run, "faces") as counter:
        write_note(f"{identify(counter)}/1.mp4", " ".join(["0" * 56] * 5))
        with try_video(counter, "1.mp4", 2) as allowed:
            assert allowed


def test_a_start_that_cannot_be_noted_is_no_error_of_the_video(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: str) -> str:
        raise RpcError("the server does not answer")

    for name in ("read_note", "write_note", "delete_note"):
        monkeypatch.setattr(progress, name, fail)
    monkeypatch.setattr(progress, "identify", lambda counter: "1")
    with try_video(SimpleNamespace(), "1.mp4", 2) as allowed:
        assert allowed


class Answers:
    """A counter that answers at once, without Ray, what has been done."""

    def __init__(self, done: dict[str, int]) -> None:
        self.read = SimpleNamespace(remote=lambda: done)


@pytest.fixture
def stalled(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, int]], ProgressBar]:
    """Return a bar of ten videos that loses patience after a tenth of a second, and what makes it move."""
    monkeypatch.setattr(progress.ray, "get", lambda answer, timeout: answer)
    monkeypatch.setattr(progress, "PATIENCE", 0.1 / progress.read_wait_limit())
    monkeypatch.setattr(progress, "list_begun", lambda counter: {"1.mp4": "12345678abcdef"})
    return lambda done: ProgressBar("preprocess", Answers(done), total=10, before=0)


def warnings_of(capfd: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in re.split(r"[\r\n]", capfd.readouterr().err) if "no video done in" in line]


def test_a_job_in_which_nothing_is_done_for_long_is_warned_of_once_with_what_is_at_work(
    stalled: Callable[[dict[str, int]], ProgressBar], capfd: pytest.CaptureFixture[str]
) -> None:
    done: dict[str, int] = {}
    bar = stalled(done)
    bar.warn()
    assert not warnings_of(capfd)  # too soon
    time.sleep(0.15)
    for _ in range(3):
        bar.show()
        bar.warn()
    [line] = warnings_of(capfd)
    assert line.startswith("dfd-ray preprocess: no video done in")
    assert "at work on faces of 1.mp4 (node 12345678). After" in line
    done["ok"] = 3
    bar.show()
    bar.warn()
    assert not warnings_of(capfd)  # it moves again
    time.sleep(0.15)
    bar.warn()
    assert len(warnings_of(capfd)) == 1


def test_a_job_that_has_done_all_videos_is_not_warned_of(
    stalled: Callable[[dict[str, int]], ProgressBar], capfd: pytest.CaptureFixture[str]
) -> None:
    bar = stalled({"ok": 9, "error": 1})
    bar.show()
    time.sleep(0.15)
    bar.warn()
    assert not warnings_of(capfd)


def test_a_server_of_ray_s_that_does_not_answer_costs_the_warning_its_names_and_nothing_else(
    stalled: Callable[[dict[str, int]], ProgressBar], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(counter: object) -> dict[str, str]:
        raise RpcError("unavailable")

    bar = stalled({})
    time.sleep(0.15)
    monkeypatch.setattr(progress, "list_begun", fail)
    bar.warn()
    [line] = warnings_of(capfd)
    assert "at work on faces" not in line


def test_a_warning_names_few_of_many_videos() -> None:
    said = describe_stall(300.0, {f"{number:02}.mp4": "node" for number in range(12)})
    assert said.startswith("no video done in 5 minutes; at work on faces of 00.mp4 (node node), 01.mp4")
    assert "04.mp4 (node node), 7 more. After" in said
    assert "05.mp4" not in said
    assert describe_stall(300.0, {}).startswith("no video done in 5 minutes. After")


def test_without_a_counter_nothing_is_told() -> None:
    nobody: Any = None
    report_done(nobody, ["ok"])
