"""pipeline: the whole way, from a folder of videos to the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dfd_ray.pipelines.analyze import analyze
from dfd_ray.pipelines.embed import embed
from dfd_ray.pipelines.evaluate import evaluate
from dfd_ray.pipelines.index import index
from dfd_ray.pipelines.preprocess import preprocess
from dfd_ray.pipelines.report import report
from dfd_ray.pipelines.train import train
from dfd_ray.runtime.session import shared_session
from dfd_ray.runtime.terminal import say
from dfd_ray.store.run import Run
from dfd_ray.store.summary import Summary
from dfd_ray.store.tables import read_table

STEPS: tuple[Callable[[Run], Summary], ...] = (index, preprocess, embed, analyze, train, evaluate, report)


def pipeline(run: Run) -> Iterator[Summary]:
    """Run every job in turn on one Ray, and yield each one's summary; what is complete is not done again.

    Of a corpus without labels there is nothing to learn or to score: those two jobs are left out, and it is said.
    """
    with shared_session():
        for step in STEPS:
            if step in (train, evaluate) and not has_labels(run):
                if step is train:
                    say("\nno video has a label, so there is nothing to learn from: train and evaluate are left out")
                continue
            yield step(run)


def has_labels(run: Run) -> bool:
    """Tell whether any video of the manifest is known to be REAL or FAKE."""
    labels = read_table(run.location, "manifest", ["label"]).column("label")
    return bool(labels.null_count < len(labels))
