"""index: find the videos and their labels, put those that belong together into one group, and write the manifest."""

from __future__ import annotations

import io
import time
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq

from dfd_ray.config import Config
from dfd_ray.corpus.folds import assign_folds
from dfd_ray.corpus.groups import link_groups
from dfd_ray.corpus.listing import Entry, list_extra_real, read_entries, with_sizes
from dfd_ray.corpus.people import join_people
from dfd_ray.errors import ConfigurationError, CorpusError, RunError
from dfd_ray.labels import TRAIN_ONLY
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.storage import absolute_uri, delete_folder, join, write_bytes
from dfd_ray.store.summary import NOTHING_DONE, Summary
from dfd_ray.store.tables import check_compatible, count_rows, read_metadata, read_table, with_metadata


def index(run: Run) -> Summary:
    """Write `manifest/` for `run.config.corpus`, or say that it is already there.

    Raises CorpusError when the corpus is missing, empty, or its metadata contradict it; nothing is written then.
    """
    started = time.monotonic()
    assert run.config.corpus is not None
    corpus = absolute_uri(run.config.corpus)
    if count_rows(run.location, "manifest"):
        _refuse_other_corpus(run, corpus)
        check_compatible(run, "manifest")
        return summarise(run, started, [NOTHING_DONE])
    manifest, notes = build_manifest(corpus, run.config)
    schema = with_metadata(SCHEMAS["manifest"], "manifest", run.config, corpus=corpus)
    write_manifest(run.location, manifest.cast(schema))
    return summarise(run, started, notes)


def build_manifest(corpus: str, config: Config) -> tuple[pa.Table, list[str]]:
    """Return the manifest of a corpus, and remarks on videos that are left out and on folds, where one is due."""
    listed, left_out = read_entries(corpus)
    entries = with_sizes(corpus, sorted(listed, key=lambda entry: entry.video_id), config)
    parent, extra = "", list[Entry]()
    if config.index.extra_real is not None:
        parent, extra = list_extra_real(absolute_uri(config.index.extra_real))
    refuse_repeated(corpus, [*entries, *extra])
    groups, notes = [*link_groups(entries), *(entry.video_id for entry in extra)], []
    if config.index.people is not None:
        if config.index.same_person is None:
            raise ConfigurationError("index.people needs index.same_person: from which cosine two vectors are of one person")
        video_ids = [entry.video_id for entry in (*entries, *extra)]
        groups, joined = join_people(video_ids, groups, config.index.people, config.index.same_person)
        notes.append(joined)
    groups, groups_of_extra = groups[: len(entries)], groups[len(entries) :]
    folds, note = assign_folds([entry.label for entry in entries], groups, config.index.folds, config.index.seed)
    uris = [join(corpus, entry.video_id) for entry in entries]
    # Whoever is in the corpus, too, would be learnt from by the model that is tested on them.
    tested = set(groups)
    others = [(entry, group) for entry, group in zip(extra, groups_of_extra, strict=True) if group not in tested]
    if len(others) < len(extra):
        notes.append(f"{len(extra) - len(others)} videos of index.extra_real show people of the corpus and were left out")
    for entry, group in others:
        entries.append(entry)
        uris.append(join(parent, entry.video_id))
        groups.append(group)
        folds.append(TRAIN_ONLY)
    columns = {
        "video_id": [entry.video_id for entry in entries],
        "uri": uris,
        "part": [entry.part for entry in entries],
        "label": [entry.label for entry in entries],
        "original": [entry.original for entry in entries],
        "split": [entry.split for entry in entries],
        "method": [entry.method for entry in entries],
        "group": groups,
        "fold": folds,
        "bytes": [entry.bytes for entry in entries],
    }
    notes += [note] if note else []
    if left_out:
        notes.append(f"{len(left_out)} videos are in no metadata and were left out, such as '{left_out[0]}'")
    return pa.table(columns, schema=SCHEMAS["manifest"]), notes


def refuse_repeated(corpus: str, entries: list[Entry]) -> None:
    """Raise CorpusError if a video is listed twice."""
    for one, other in pairwise(sorted(entry.video_id for entry in entries)):
        if one == other:
            raise CorpusError(f"--corpus {corpus}: '{one}' is listed twice")


def write_manifest(folder: str, manifest: pa.Table) -> None:
    """Write the manifest as one Parquet file, which appears whole or not at all."""
    buffer = io.BytesIO()
    pq.write_table(manifest, buffer)
    write_bytes(join(folder, "manifest", "part-0.parquet"), buffer.getvalue())
    for table in ("faces", "embeddings", "scores"):  # left by a run whose manifest was deleted by hand
        delete_folder(join(folder, "checkpoints", table))


def summarise(run: Run, started: float, notes: list[str]) -> Summary:
    """Count what the manifest holds."""
    manifest = read_table(run.location, "manifest", ["label", "group", "fold", "part", "bytes"])
    labels, folds = (manifest.column(name).to_pylist() for name in ("label", "fold"))
    return Summary(
        job="index",
        table=run.path("manifest"),
        rows=len(labels),
        ok=len(labels),
        seconds=time.monotonic() - started,
        notes=notes,
        details={
            "videos": {name: labels.count(label) for name, label in [("REAL", "REAL"), ("FAKE", "FAKE"), ("unlabelled", None)]},
            "groups": len(set(manifest.column("group").to_pylist())),
            "folds": len({fold for fold in folds if fold not in (None, TRAIN_ONLY)}),
            "only trained on": folds.count(TRAIN_ONLY),
            "gigabytes": round(sum(size or 0 for size in manifest.column("bytes").to_pylist()) / 1e9, 3),
            "demo": read_metadata(run.location, "manifest").get("corpus", "").endswith("demo-corpus"),
        },
    )


def _refuse_other_corpus(run: Run, corpus: str) -> None:
    indexed = read_metadata(run.location, "manifest").get("corpus", corpus)
    if indexed != corpus:
        raise RunError(f"--run {run.location} is of the corpus {indexed}, not {corpus}; use another --run")
