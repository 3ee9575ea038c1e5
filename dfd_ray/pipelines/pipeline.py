"""pipeline: the whole way, from a folder of videos to the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dfd_ray.config import Config
from dfd_ray.pipelines.analyze import analyze
from dfd_ray.pipelines.cluster import shared_session
from dfd_ray.pipelines.embed import embed
from dfd_ray.pipelines.evaluate import evaluate
from dfd_ray.pipelines.index import index
from dfd_ray.pipelines.preprocess import preprocess
from dfd_ray.pipelines.report import report
from dfd_ray.pipelines.summary import Summary
from dfd_ray.pipelines.train import train

STEPS: tuple[Callable[[Config], Summary], ...] = (index, preprocess, embed, analyze, train, evaluate, report)


def pipeline(config: Config) -> Iterator[Summary]:
    """Run every job in turn on one Ray, and yield each one's summary; what is complete is not done again."""
    with shared_session():
        for step in STEPS:
            yield step(config)
