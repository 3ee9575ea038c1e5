"""demo: make the small labelled corpus, and run the pipeline on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from dfd_ray.demo import make_demo_corpus
from dfd_ray.errors import ConfigurationError
from dfd_ray.pipelines.pipeline import pipeline
from dfd_ray.runtime.progress import Bar
from dfd_ray.store.run import Run
from dfd_ray.store.summary import Summary

CORPUS = "demo-corpus"
"""Folder of the corpus, inside the run's. By this name the report knows that it shows the demo, and warns about its numbers."""


def demo(run: Run) -> Iterator[Summary]:
    """Make the corpus in `<run>/demo-corpus`, then do as `pipeline` does."""
    if "://" in run.location:
        raise ConfigurationError(f"--run {run.location}: the demo makes its clips on a local disk")
    with closing(Bar("making the demo corpus", "clip")) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.show(done)

        corpus = make_demo_corpus(Path(run.location) / CORPUS, progress=advance)
    yield from pipeline(replace(run, config=run.config.model_copy(update={"corpus": str(corpus)})))
