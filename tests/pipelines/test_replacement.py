"""The swap at the end of `retry-errors`, killed before, in the middle of and after each thing that it does to the disk."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dfd_ray.pipelines import resume, retry_errors
from dfd_ray.pipelines.resume import finish_replacement
from dfd_ray.pipelines.retry_errors import replace_rows, write_table
from dfd_ray.tables import SCHEMAS, read_table

VIDEOS = [f"part/{number}.mp4" for number in range(6)]
FAILED = {VIDEOS[1], VIDEOS[4]}
STEPS = ("write_table", "write_json", "delete_folder", "delete_file", "move_folder")


class Killed(BaseException):
    """Ends the work at once; nothing catches it."""


def make_run(folder: Path) -> Path:
    """Write a run of six videos of which two failed, what was made from its faces, and the two read again, well."""
    run = folder / "run"
    rows = [{"video_id": name, "uri": name} for name in VIDEOS]
    write_table(str(run), "manifest", 0, pa.Table.from_pylist(rows, schema=SCHEMAS["manifest"]))
    for number, names in enumerate((VIDEOS[:3], VIDEOS[3:])):
        write_table(str(run), "faces", number, faces({name: "error" if name in FAILED else "ok" for name in names}))
    write_table(str(run / "retry"), "faces", 0, faces(dict.fromkeys(FAILED, "no_face")))
    for name in ("one", "two"):
        (run / "predictions").mkdir(exist_ok=True)
        (run / "predictions" / name).touch()
    return run


def faces(statuses: dict[str, str]) -> pa.Table:
    rows = [
        {"video_id": name, "status": status, "error": "empty: " if status == "error" else None, "faces": []}
        for name, status in statuses.items()
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["faces"])


def state_of(run: Path) -> tuple[set[str], bool, bool]:
    """Return how the failed videos stand in the table, whether all others are there once, and whether scores are there."""
    rows = read_table(str(run), "faces", ["video_id", "status"]).to_pylist()
    whole = sorted(row["video_id"] for row in rows) == VIDEOS
    return {row["status"] for row in rows if row["video_id"] in FAILED}, whole, (run / "predictions" / "two").exists()


OLD = ({"error"}, True, True)
NEW = ({"no_face"}, True, False)


def kill_at(moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the work killed at its n-th moment, each step having two: before and after; a deletion one more, in its middle."""
    moments = itertools.count()

    def reach() -> None:
        if next(moments) == moment:
            raise Killed

    def wrap(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            reach()
            if name == "delete_folder":
                for path in sorted(Path(arguments[0]).rglob("*"))[:1]:
                    if path.is_file():
                        path.unlink()
                reach()
            result = step(*arguments)
            reach()
            return result

        return wrapped

    for module, name in itertools.product((resume, retry_errors), STEPS):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, wrap(name, getattr(module, name)))


def test_killed_anywhere_it_leaves_the_old_table_or_the_new(tmp_path: Path) -> None:
    ends = []
    for moment in itertools.count():
        run = make_run(tmp_path / str(moment))
        with pytest.MonkeyPatch.context() as patch:
            kill_at(moment, patch)
            try:
                replace_rows(str(run), str(run / "retry"), FAILED)
                break
            except Killed:
                pass
        finish_replacement(str(run))
        ends.append(state_of(run))
        assert ends[-1] in (OLD, NEW), moment
        assert not (run / "retry").exists()
    assert state_of(run) == NEW
    assert ends == sorted(ends, key=[OLD, NEW].index)
    assert ends.count(OLD) > 5
    assert ends.count(NEW) > 5


def test_killed_again_and_again_while_finishing_it_still_gets_there(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(retry_errors, "finish_replacement", lambda run: (_ for _ in ()).throw(Killed))
        replace_rows(str(run), str(run / "retry"), FAILED)
    assert state_of(run) == OLD
    for moment in itertools.count():
        with pytest.MonkeyPatch.context() as patch:
            kill_at(moment, patch)
            try:
                resume.finish_replacement(str(run))
                break
            except Killed:
                pass
    assert moment > 5
    assert state_of(run) == NEW
