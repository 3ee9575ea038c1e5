from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from dfd_ray.store.summary import Summary, count_statuses


def test_a_job_that_went_on_has_the_rate_of_what_it_did(tmp_path: Path) -> None:
    summary = Summary("preprocess", "faces", rows=100, there_before=90, seconds=5.0)
    assert ("seconds", "5.0 (2.00 rows/s)") in summary.lines()
    summary.save(str(tmp_path))
    assert json.loads((tmp_path / "summaries" / "preprocess.json").read_text())["rows_per_second"] == 2.0


def test_every_row_is_in_one_of_the_counts() -> None:
    statuses = ["ok", "ok", "no_face", "in_training", "error"]
    errors = [None, None, None, None, "empty: 0 bytes"]
    lines = dict(count_statuses(Summary("evaluate", "predictions"), pa.table({"status": statuses, "error": errors})).lines())
    counts = [lines[name] for name in ("ok", "no_face", "in_training", "error: empty")]
    assert sum(map(int, counts)) == int(lines["rows"]) == 5
