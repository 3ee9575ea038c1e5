"""What each job reads, and which jobs have to run before it, so that a job makes what its run lacks."""

from __future__ import annotations

from collections.abc import Collection

from dfd_ray.corpus.changes import refuse_changed_corpus, refuse_other_corpus
from dfd_ray.errors import ConfigurationError, CorpusError, RunError
from dfd_ray.runtime.resumable_table import is_complete
from dfd_ray.store.model_files import find_untrained_folds
from dfd_ray.store.run import Run
from dfd_ray.store.sources import refuse_changed
from dfd_ray.store.storage import absolute_uri, exists
from dfd_ray.store.tables import WRITER, count_faces, count_rows

RESULTS = {job: table for table, job in WRITER.items() if job != "index"} | {"export": "faces", "explore": "projection"}
"""The table that a job writes, or of those that write none, the one it reads."""
NEEDS = {"faces": "manifest", "embeddings": "faces", "projection": "embeddings", "models": "faces", "predictions": "models"}
"""By table, the one that it is made from."""


def find_missing_tables(job: str, run: Run) -> list[str]:
    """Return the tables that have to be made before a job can run, in their order; none where its own result is complete.

    Raises RunError if that takes a corpus and there is none, or if the run is of another corpus or a table of another
    configuration.
    """
    if count_rows(run.location, "manifest"):
        refuse_other_corpus(run)
    missing: list[str] = []
    table: str | None = RESULTS[job]
    while table and not is_made(table, run):
        missing.insert(0, table)
        table = NEEDS.get(table)
    if "manifest" in missing and run.config.corpus is None:
        raise RunError(f"--run {run.location} holds no manifest: give --corpus FOLDER, or run `dfd-ray index` first")
    return [table for table in missing if WRITER[table] != job]


def describe_changed_corpus(run: Run) -> str | None:
    """Return what has changed in a run's corpus since it was indexed; None if nothing has, or if it cannot be reached."""
    if run.config.corpus is None or not count_rows(run.location, "manifest"):
        return None
    try:
        refuse_changed_corpus(run, absolute_uri(run.config.corpus))
    except (RunError, CorpusError) as error:
        return str(error)
    except ConfigurationError:  # a bucket that is closed by now: the faces are there
        return None
    return None


def check_ahead(jobs: Collection[str], run: Run) -> None:
    """Refuse, before the hours that finding faces takes, what one of the jobs that follow would refuse then.

    Raises WeightsError for weights that cannot be had, ConfigurationError for an unknown backbone or a package that is missing.
    """
    from dfd_ray.models.backbones import create_backbone  # here: torch takes seconds, and most calls have nothing to check
    from dfd_ray.models.grad_cam import check_grad_cam
    from dfd_ray.runtime.trackers import check_trackers

    for name, section in (("embed", run.config.embed), ("train", run.config.train)):
        if name in jobs:
            create_backbone(section.backbone, weights=section.weights, image_size=section.image_size, field=f"{name}.weights")
    if "train" in jobs:
        check_trackers(run.config.train)
    if "evaluate" in jobs and run.config.evaluate.explain:
        check_grad_cam()


def is_made(table: str, run: Run) -> bool:
    """Return whether a table is complete. Without a manifest to compare with, a map that has faces can be shown."""
    if not count_rows(run.location, "manifest"):
        return table == "projection" and count_rows(run.location, table) > 0
    match table:
        case "manifest":
            return True
        case "projection":
            refuse_changed(run, table)  # complete without faces to compare with, too: they may have been deleted to save space
            rows = count_rows(run.location, table)
            return rows > 0 and (not count_rows(run.location, "faces") or rows == count_faces(run.location, "faces"))
        case "models":
            return not find_untrained_folds(run)
        case "predictions":
            return is_complete(run, table) and exists(run.path("evaluation", "metrics.json"))
        case _:
            return is_complete(run, table)
