"""What a running job reports: metrics for Prometheus, by Ray's endpoint on every node, and a line of JSON for each error.

Ray adds the prefix `ray_`, and to counters the suffix `_total`. It has metrics of its own about nodes, stores and queues;
deploy/grafana.json shows both. The lines are in the logs of Ray's workers.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from functools import cache

from ray.util.metrics import Counter, Gauge, Histogram, Metric

from dfd_ray.errors import reason_of

VIDEOS = "dfd_videos"
"""Counter: videos done, by `stage` and `status`."""
ERRORS = "dfd_errors"
"""Counter: videos that ended as an error row, by `stage` and `reason`."""
BUSY = "dfd_busy_seconds"
"""Counter: seconds that workers spent on videos, by `stage`; its rate is the number of busy workers."""
DURATION = "dfd_video_seconds"
"""Histogram: seconds a video took, by `stage`."""
LEFT = "dfd_videos_left"
"""Gauge of the driver: the job's unfinished videos, by the `stage` that counts them."""
COUNTING_STAGE = {"preprocess": "preprocess", "embed": "embed", "evaluate": "score", "predict": "preprocess"}
"""By job, the stage whose videos its progress counts, so that unfinished and finished videos have the same label."""
BOUNDARIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Seconds; a video ends at `preprocess.video_deadline`, 120 by default."""


@cache
def create_metrics() -> dict[str, Metric]:
    """Return this process's metrics, by name; it creates them once."""
    return {
        VIDEOS: Counter(VIDEOS, "videos done", ("stage", "status")),
        ERRORS: Counter(ERRORS, "videos that ended as an error row", ("stage", "reason")),
        BUSY: Counter(BUSY, "seconds of work on videos", ("stage",)),
        LEFT: Gauge(LEFT, "videos that are not done yet", ("stage",)),
        DURATION: Histogram(DURATION, "seconds a video took", list(BOUNDARIES), ("stage",)),
    }


def observe(stage: str, rows: Iterable[Mapping[str, object]], seconds: float) -> None:
    """Count finished videos: rows with `video_id`, `status` and, if there is one, `error`, after `seconds` of work in all."""
    found = list(rows)
    known = create_metrics()
    known[BUSY].inc(seconds, {"stage": stage})
    for row in found:
        known[VIDEOS].inc(1, {"stage": stage, "status": str(row["status"])})
        known[DURATION].observe(seconds / len(found), {"stage": stage})
        if error := row.get("error"):
            known[ERRORS].inc(1, {"stage": stage, "reason": reason_of(str(error))})
            print(format_error(stage, row), file=sys.stderr, flush=True)


def observe_left(job: str, videos: int) -> None:
    """Report how many videos of a job are not finished yet."""
    create_metrics()[LEFT].set(videos, {"stage": COUNTING_STAGE[job]})


def format_error(stage: str, row: Mapping[str, object]) -> str:
    """Return an error row as one line of JSON."""
    facts = {"time": time.time(), "stage": stage, "video_id": row["video_id"], "reason": reason_of(str(row["error"]))}
    return json.dumps(facts | {"error_stage": row.get("error_stage"), "error": row["error"]})
