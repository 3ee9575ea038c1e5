"""report: the page of a run."""

from __future__ import annotations

import time
from typing import cast

from dfd_ray.config import Config
from dfd_ray.errors import RunError
from dfd_ray.report import build_report
from dfd_ray.store.summary import Summary, elapsed
from dfd_ray.store.tables import count_rows


def report(config: Config) -> Summary:
    """Write `report/index.html` from whatever tables the run has; RunError when it has none."""
    started = time.monotonic()
    rows = count_rows(cast(str, config.run), "manifest")
    if not rows:
        raise RunError(f"--run {config.run} holds no manifest; run `dfd-ray index` first")
    page = build_report(cast(str, config.run), config)
    return Summary(job="report", table=page, rows=rows, ok=rows, seconds=elapsed(started))
