"""index: from a folder of videos to the manifest.

corpus ──list──▶ videos and labels ──link──▶ groups ──split──▶ folds ──▶ manifest/
"""

from __future__ import annotations

import time
from collections.abc import Callable

from dfd_ray.corpus.changes import digest_corpus, refuse_changed_corpus, refuse_other_corpus
from dfd_ray.corpus.manifest import build_manifest, read_videos, write_manifest
from dfd_ray.labels import TRAIN_ONLY
from dfd_ray.runtime.terminal import warn
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.storage import absolute_uri
from dfd_ray.store.summary import NOTHING_DONE, Summary, time_job
from dfd_ray.store.tables import check_compatible, count_rows, read_metadata, read_table, with_metadata

LINE_SECONDS = 10.0
"""Seconds between two lines on how far the comparing of files is."""


@time_job
def index(run: Run) -> Summary:
    """Write `manifest/` for the corpus that the configuration names, or say that it is already there.

    Raises CorpusError when the corpus is missing or empty, or its metadata contradict it; nothing is written then. Raises
    RunError when the corpus is not as it was when the manifest was made.
    """
    assert run.config.corpus is not None
    corpus = absolute_uri(run.config.corpus)
    if count_rows(run.location, "manifest"):
        refuse_other_corpus(run)
        check_compatible(run, "manifest")
        return summarise(run, [NOTHING_DONE, *refuse_changed_corpus(run, corpus)])
    read = read_videos(corpus, run.config)
    made_from = digest_corpus(read.entries, read.extra, run.config)
    manifest, notes = build_manifest(corpus, run.config, report_comparing(), read)
    facts = {"corpus": corpus, "made_from": made_from, "layout": read.layout}
    schema = with_metadata(SCHEMAS["manifest"], "manifest", run.config, **facts)
    write_manifest(run.location, manifest.cast(schema))
    return summarise(run, notes)


def report_comparing() -> Callable[[int, int], None]:
    """Return a function that prints, every `LINE_SECONDS`, how many files of equal size have been compared."""
    printed = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal printed
        if time.monotonic() - printed >= LINE_SECONDS:
            printed = time.monotonic()
            warn(f"index: {done} of {total} files of equal size compared")

    return report


def summarise(run: Run, notes: list[str]) -> Summary:
    """Count the videos, groups and folds of the manifest."""
    manifest = read_table(run.location, "manifest", ["label", "group", "fold", "part", "bytes"])
    stored = read_metadata(run.location, "manifest")
    labels, folds = (manifest.column(name).to_pylist() for name in ("label", "fold"))
    return Summary(
        job="index",
        table=run.path("manifest"),
        rows=len(labels),
        ok=len(labels),
        notes=notes,
        details={
            "layout": stored.get("layout"),
            "videos": {name: labels.count(label) for name, label in [("REAL", "REAL"), ("FAKE", "FAKE"), ("unlabelled", None)]},
            "groups": len(set(manifest.column("group").to_pylist())),
            "folds": len({fold for fold in folds if fold not in (None, TRAIN_ONLY)}),
            "only trained on": folds.count(TRAIN_ONLY),
            "gigabytes": round(sum(size or 0 for size in manifest.column("bytes").to_pylist()) / 1e9, 3),
            "demo": stored.get("corpus", "").endswith("demo-corpus"),
        },
    )
