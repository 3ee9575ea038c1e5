"""report: from all tables of a run to one page."""

from __future__ import annotations

from dfd_ray.errors import RunError
from dfd_ray.report import build_report
from dfd_ray.store.run import Run
from dfd_ray.store.summary import Summary, time_job
from dfd_ray.store.tables import count_rows


@time_job
def report(run: Run) -> Summary:
    """Write `report/index.html` from the tables that the run has; RunError if it has none."""
    rows = count_rows(run.location, "manifest")
    if not rows:
        raise RunError(f"--run {run.location} holds no manifest; run `dfd-ray index` first")
    page = build_report(run.location, run.config)
    return Summary(job="report", table=page, rows=rows, ok=rows)
