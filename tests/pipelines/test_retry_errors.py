from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dfd_ray.cli import main
from dfd_ray.store import tables
from dfd_ray.store.tables import read_table


@pytest.fixture(scope="module")
def made(clips_with_faces: list[Path], ray: None, flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Preprocess three good clips, an empty file and a text, and keep a copy of it all."""
    folder = tmp_path_factory.mktemp("errors")
    part = folder / "work" / "corpus" / "part"
    part.mkdir(parents=True)
    for number, clip in enumerate(clips_with_faces[:3]):
        shutil.copy(clip, part / f"good{number}.mp4")
    (part / "empty.mp4").touch()
    (part / "text.mp4").write_text("no video")
    for name in ("index", "preprocess"):
        assert main([name, "--run", str(folder / "work" / "run"), "--corpus", str(part.parent), *flags]) == 0
    shutil.copytree(folder / "work", folder / "kept")
    return folder


@pytest.fixture
def run_with_errors(made: Path) -> tuple[Path, Path]:
    """Put corpus and run back as they were made: the manifest holds their place."""
    shutil.rmtree(made / "work")
    shutil.copytree(made / "kept", made / "work")
    return made / "work" / "corpus" / "part", made / "work" / "run"


def faces_of(run: Path) -> dict[str, dict]:
    rows = read_table(str(run), "faces").to_pylist()
    assert len({row["video_id"] for row in rows}) == len(rows)
    return {row["video_id"]: row for row in rows}


def test_only_what_failed_is_read_again_and_replaced(run_with_errors: tuple[Path, Path]) -> None:
    corpus, run = run_with_errors
    before = faces_of(run)
    assert {row["status"] for name, row in before.items() if "good" not in name} == {"error"}
    for name in ("empty.mp4", "text.mp4", "good1.mp4"):
        shutil.copy(corpus / "good0.mp4", corpus / name)
    (run / "predictions").mkdir()
    assert main(["retry-errors", "--run", str(run), "--reason", "empty"]) == 0
    after = faces_of(run)
    assert after.keys() == before.keys()
    assert after["part/empty.mp4"]["status"] == "ok"
    assert after["part/empty.mp4"]["faces"] == after["part/good0.mp4"]["faces"]
    assert after["part/text.mp4"] == before["part/text.mp4"]
    assert after["part/good1.mp4"] == before["part/good1.mp4"]
    assert not (run / "predictions").exists()
    assert not (run / "retry").exists()
    assert main(["preprocess", "--run", str(run)]) == 0
    assert json.loads((run / "summaries" / "retry-errors.json").read_text())["ok"] == 4


@pytest.mark.slow
def test_a_kill_while_rows_are_replaced_leaves_each_once(
    run_with_errors: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, run = run_with_errors
    before = faces_of(run)
    for name in ("empty.mp4", "text.mp4"):
        shutil.copy(corpus / "good0.mp4", corpus / name)
    write, written = tables.write_bytes, []

    def die_at_the_second(location: str, data: bytes) -> None:
        if "/faces/" in location:
            if written:
                raise KeyboardInterrupt
            written.append(location)
        write(location, data)

    monkeypatch.setattr(tables, "write_bytes", die_at_the_second)
    main(["retry-errors", "--run", str(run)])
    halfway = faces_of(run)
    assert halfway.keys() == before.keys()
    assert all(row == before[name] for name, row in halfway.items() if row["status"] == "error" or "good" in name)
    monkeypatch.undo()
    assert main(["retry-errors", "--run", str(run)]) == 0
    after = faces_of(run)
    assert after.keys() == before.keys()
    assert {row["status"] for row in after.values()} == {"ok"}
    (run / "retry").mkdir()  # as a kill at the very end leaves it
    assert main(["retry-errors", "--run", str(run)]) == 0
    assert not (run / "retry").exists()


def test_an_unknown_reason_is_refused(run_with_errors: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retry-errors", "--run", str(run_with_errors[1]), "--reason", "bad luck"]) == 2
    assert "known reasons" in capsys.readouterr().err
