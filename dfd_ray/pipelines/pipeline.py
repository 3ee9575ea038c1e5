"""pipeline: from a folder of videos to the report.

index ──▶ preprocess ──▶ embed ──▶ analyze ──▶ train ──▶ evaluate ──▶ report
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dfd_ray.pipelines.analyze import analyze
from dfd_ray.pipelines.embed import embed
from dfd_ray.pipelines.evaluate import evaluate
from dfd_ray.pipelines.index import index
from dfd_ray.pipelines.preprocess import preprocess
from dfd_ray.pipelines.prerequisites import check_ahead
from dfd_ray.pipelines.report import report
from dfd_ray.pipelines.train import train
from dfd_ray.runtime.resumable_table import is_complete
from dfd_ray.runtime.session import shared_session
from dfd_ray.runtime.terminal import say
from dfd_ray.store.run import Run
from dfd_ray.store.summary import Summary
from dfd_ray.store.tables import read_table

STEPS: tuple[Callable[[Run], Summary], ...] = (index, preprocess, embed, analyze, train, evaluate, report)


def pipeline(run: Run) -> Iterator[Summary]:
    """Run every job in turn on one Ray, and yield each one's summary; a job whose table is complete does nothing.

    Leaves out `train` and `evaluate`, and says so, for a corpus without labels.
    """
    with shared_session():
        for step in STEPS:
            if step is preprocess and not is_complete(run, "faces"):
                check_ahead(["embed", "train", "evaluate"] if has_labels(run) else ["embed"], run)
            if step in (train, evaluate) and not has_labels(run):
                if step is train:
                    say("\nno video has a label, so there is nothing to learn from: train and evaluate are left out")
                continue
            yield step(run)


def has_labels(run: Run) -> bool:
    """Return whether any video of the manifest has a label."""
    labels = read_table(run.location, "manifest", ["label"]).column("label")
    return bool(labels.null_count < len(labels))
