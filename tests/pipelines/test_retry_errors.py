from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfd_ray.cli import main
from dfd_ray.errors import Reason, reason_of
from dfd_ray.store import tables
from dfd_ray.store.tables import METADATA_KEY, read_table


def copy_with_corpus(made: Path, small_corpus: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Copy a run and its corpus, in which one file is empty and one is cut off; return both copies, the corpus first."""
    corpus, run = (Path(shutil.copytree(one, tmp_path / name)) for one, name in ((small_corpus, "corpus"), (made, "run")))
    for path in (run / "manifest").glob("*.parquet"):
        table = pq.read_table(path)
        places = [str(corpus / name) for name in table.column("video_id").to_pylist()]
        facts = json.loads(table.schema.metadata[METADATA_KEY]) | {"corpus": str(corpus)}
        table = table.set_column(table.schema.get_field_index("uri"), "uri", pa.array(places))
        pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(facts)}), path)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace(str(small_corpus), str(corpus)))
    return corpus, run


def faces_of(run: Path) -> dict[str, dict[str, Any]]:
    rows = read_table(str(run), "faces").to_pylist()
    assert len({row["video_id"] for row in rows}) == len(rows)
    return {row["video_id"]: row for row in rows}


def pick(rows: dict[str, dict[str, Any]]) -> tuple[str, str, str, str]:
    """Return the names of the empty video, of the one that is cut off, and of two good ones."""
    failed = {reason_of(row["error"]): name for name, row in rows.items() if row["status"] == "error"}
    first, second, *_ = (name for name, row in rows.items() if row["status"] == "ok" and row["label"] == "FAKE")
    return failed[Reason.EMPTY], failed[Reason.NOT_A_VIDEO], first, second


def test_only_what_failed_is_read_again_and_replaced(finished_run: Path, small_corpus: Path, tmp_path: Path) -> None:
    corpus, run = copy_with_corpus(finished_run, small_corpus, tmp_path)
    before = faces_of(run)
    empty, cut, good, other = pick(before)
    for name in (empty, cut, other):
        shutil.copy(corpus / good, corpus / name)
    assert main(["retry-errors", "--run", str(run), "--reason", "empty"]) == 0
    after = faces_of(run)
    assert after.keys() == before.keys()
    assert after[empty]["status"] == "ok"
    assert after[empty]["faces"] == after[good]["faces"]
    assert {name for name in after if after[name] != before[name]} == {empty}
    for derived in ("embeddings", "projection", "models", "scores", "predictions"):
        assert not (run / derived).exists(), derived
    assert not (run / "retry").exists()
    assert main(["preprocess", "--run", str(run)]) == 0
    assert json.loads((run / "summaries" / "retry-errors.json").read_text())["ok"] == 22


@pytest.mark.slow
def test_a_kill_while_rows_are_replaced_leaves_each_once(
    preprocessed_run: Path, small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, run = copy_with_corpus(preprocessed_run, small_corpus, tmp_path)
    before = faces_of(run)
    empty, cut, good, _ = pick(before)
    for name in (empty, cut):
        shutil.copy(corpus / good, corpus / name)
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
    assert all(row == before[name] for name, row in halfway.items() if row["status"] == "error" or name not in (empty, cut))
    monkeypatch.undo()
    assert main(["retry-errors", "--run", str(run)]) == 0
    after = faces_of(run)
    assert after.keys() == before.keys()
    assert {row["status"] for row in after.values()} == {"ok", "no_face"}
    (run / "retry").mkdir()  # as a kill at the very end leaves it
    assert main(["retry-errors", "--run", str(run)]) == 0
    assert not (run / "retry").exists()


def test_an_unknown_reason_is_refused(finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retry-errors", "--run", str(finished_run), "--reason", "bad luck"]) == 2
    assert "known reasons" in capsys.readouterr().err
