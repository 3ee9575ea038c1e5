"""Digests of what a table is made from: what changes them, what does not, and what a table says of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_ray.config import load_config
from dfd_ray.errors import RunError
from dfd_ray.store import sources
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS, embeddings_schema
from dfd_ray.store.tables import METADATA_KEY, read_table, table_files, with_metadata


@pytest.fixture(autouse=True)
def forget() -> None:
    forget_files()


def forget_files() -> None:
    """Forget what was read of files: a test writes them anew within the same tick of the clock, which no job does."""
    for remembered in (sources.count_signed, sources.digest_manifest, sources.digest_files, sources.digest_rows):
        remembered.cache_clear()


MANIFEST = st.lists(
    st.fixed_dictionaries(
        {
            "video_id": st.text("abc/\n'é", min_size=1, max_size=4),
            "label": st.sampled_from(["REAL", "FAKE", None]),
            "group": st.sampled_from(["g", "h"]),
            "fold": st.sampled_from([None, -1, 0, 1]),
            "bytes": st.sampled_from([None, 0, 7, 2**40]),
        }
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda row: row["video_id"],
)
OTHER = {"video_id": "zz", "label": "OTHER", "group": "other", "fold": 9, "bytes": 1}
NAMED = {"video_id": "ids", "label": "labels", "group": "groups", "fold": "folds", "bytes": "sizes"}
FACE = {
    "frame_index": 3,
    "time": 0.1,
    "face_index": 0,
    "box": [1.0, 2.0, 3.0, 4.0],
    "landmarks": [1.0] * 10,
    "probability": 0.99,
    "image": b"jpeg",
}


def write(
    run: Path, table: str, rows: list[dict[str, Any]], files: int = 1, schema: pa.Schema | None = None, **facts: Any
) -> Run:
    """Write a table anew, its rows spread over some files."""
    forget_files()
    config = load_config(None, ["embed.weights=random", "train.weights=random"])
    shutil.rmtree(run / table, ignore_errors=True)
    (run / table).mkdir(parents=True)
    schema = with_metadata(schema or SCHEMAS[table], table, config, **facts)
    for part in range(files):
        pq.write_table(pa.Table.from_pylist(rows[part::files], schema=schema), run / table / f"{part}.parquet")
    return Run(str(run), config)


def videos(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"uri": "/none", **row} for row in rows]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(MANIFEST, st.randoms(use_true_random=False), st.integers(1, 3), st.sampled_from(sorted(OTHER)), st.integers(0, 5))
def test_a_manifest_is_told_from_others_by_any_value_and_not_by_its_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], random: Any, files: int, column: str, number: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    before = sources.digest_sources(write(folder, "manifest", videos(rows)), "faces")
    assert set(before) == set(NAMED.values())
    shuffled = random.sample(rows, len(rows))
    moved = [{**row, "uri": "/elsewhere", "part": "p", "split": "train"} for row in shuffled]
    assert sources.digest_sources(write(folder, "manifest", moved, files), "faces") == before
    changed = [dict(row) for row in shuffled]
    changed[number % len(rows)][column] = OTHER[column]
    after = sources.digest_sources(write(folder, "manifest", videos(changed), files), "faces")
    assert after[NAMED[column]] != before[NAMED[column]]
    if column != "video_id":
        assert {name: digest for name, digest in after.items() if name != NAMED[column]} == {
            name: digest for name, digest in before.items() if name != NAMED[column]
        }


def test_two_videos_that_swap_their_labels_are_a_change() -> None:
    assert sources.digest_facts(["a", "b"], ["REAL", "FAKE"]) != sources.digest_facts(["a", "b"], ["FAKE", "REAL"])


def make_faces(counts: list[int]) -> list[dict[str, Any]]:
    return [
        {
            "video_id": f"{number}.mp4",
            "status": "ok" if count else "no_face",
            "seconds_spent": 1.0,
            "faces": [{**FACE, "frame_index": frame} for frame in range(count)],
        }
        for number, count in enumerate(counts)
    ]


def digest_faces(folder: Path, rows: list[dict[str, Any]], files: int = 1) -> str | None:
    run = write(folder, "manifest", [{"video_id": row["video_id"], "uri": "/none"} for row in rows])
    write(folder, "faces", rows, files)
    return sources.digest_source(run, "faces")


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=5), st.randoms(use_true_random=False), st.integers(1, 3), st.data())
def test_faces_are_told_from_others_by_what_they_are_and_not_by_how_long_they_took(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], random: Any, files: int, data: st.DataObject
) -> None:
    folder, rows = tmp_path_factory.mktemp("run"), make_faces([1, *counts])
    before = digest_faces(folder, rows)
    slower = [{**row, "seconds_spent": 9.0, "label": "FAKE"} for row in random.sample(rows, len(rows))]
    assert digest_faces(folder, slower, files) == before
    field, value = data.draw(
        st.sampled_from(
            [("frame_index", 99), ("face_index", 1), ("box", [1.0, 2.0, 3.0, 5.0]), ("probability", 0.5), ("image", b"another")]
        )
    )
    slower[0] = {**make_faces([2])[0], "video_id": slower[0]["video_id"]}
    two = digest_faces(folder, slower, files)
    slower[0]["faces"][1] = {**slower[0]["faces"][1], field: value}
    assert digest_faces(folder, slower, files) != two, field
    failed = [{**slower[0], "status": "error", "faces": []}, *slower[1:]]
    assert digest_faces(folder, failed, files) != two


def test_a_table_that_is_not_whole_is_not_compared(tmp_path: Path) -> None:
    rows = make_faces([1, 2, 0])
    whole = digest_faces(tmp_path, rows)
    run = write(tmp_path, "faces", rows[:2])
    assert whole is not None and sources.digest_source(run, "faces") is None


def test_weights_are_known_by_their_content_where_a_setting_names_a_file(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"one")
    first = sources.digest_weights(str(file), "resnet18")
    os.utime(file, (1, 1))
    assert sources.digest_weights(str(file), "resnet18") == first
    file.write_bytes(b"two!")
    assert sources.digest_weights(str(file), "resnet18") != first
    assert sources.digest_weights(str(tmp_path / "gone.pth"), "resnet18") is None
    assert sources.digest_weights("random", "resnet18") == "random"
    assert sources.digest_weights("auto", "resnet18") == "hub"


@pytest.fixture
def made(draw_run: Callable[..., Path], tmp_path: Path) -> Run:
    """Draw every table of a run, each with the digests of what it is made from, and two models."""
    folder = draw_run(tmp_path / "run", videos=2, faces=2)
    (tmp_path / "weights.pth").write_bytes(b"first")
    run = Run(str(folder), load_config(folder / "config.yaml", [f"embed.weights={tmp_path / 'weights.pth'}"]))
    rows = read_table(run.location, "faces").to_pylist()
    (folder / "models").mkdir()
    (folder / "models" / "fold-0.safetensors").write_bytes(b"a model")
    for row in rows:
        row["vector"] = [{"frame_index": face["frame_index"], "face_index": 0, "vector": [0.5, 1.0]} for face in row["faces"]]
    keep = [{"video_id": row["video_id"], "label": row["label"], "fold": row["fold"]} for row in rows]
    tables = {
        "faces": rows,
        "embeddings": [{"video_id": row["video_id"], "faces": row["vector"]} for row in rows],
        "projection": [{**row, "frame_index": 0, "face_index": 0} for row in keep],
        "scores": [{**row, "status": "ok", "log_odds": [0.0]} for row in keep],
        "predictions": [{**row, "status": "ok", "faces_used": 1} for row in keep],
    }
    for table, content in tables.items():
        schema = embeddings_schema(2) if table == "embeddings" else SCHEMAS[table]
        stored = with_metadata(schema, table, run.config, made_from=sources.digest_sources(run, table))
        shutil.rmtree(run.path(table), ignore_errors=True)
        Path(run.path(table)).mkdir()
        pq.write_table(pa.Table.from_pylist(content, schema=stored), run.path(table, "part-0.parquet"))
    for table in tables:
        sources.refuse_changed(run, table)
    return run


def change_rows(run: Run, table: str, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the first file of a table as if it were made anew."""
    forget_files()
    path = table_files(run.location, table)[0]
    old = pq.read_table(path)
    rows = old.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=old.schema), path)


def set_value(column: str, value: object) -> Callable[[list[dict[str, Any]]], object]:
    return lambda rows: rows[0].update({column: value})


def shift_face(rows: list[dict[str, Any]]) -> None:
    rows[0]["faces"][0]["probability"] = 0.25


def change_vectors(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["faces"][0]["vector"] = [9.0, 9.0]


CHANGES: dict[str, tuple[str, Callable[[list[dict[str, Any]]], object]]] = {
    "labels": ("manifest", set_value("label", "FAKE")),
    "folds": ("manifest", set_value("fold", 1)),
    "groups": ("manifest", set_value("group", "another")),
    "sizes": ("manifest", set_value("bytes", 12345)),
    "methods": ("manifest", set_value("method", "another")),
    "ids": ("manifest", set_value("video_id", "part/new.mp4")),
    "faces": ("faces", shift_face),
    "embeddings": ("embeddings", change_vectors),
}


@pytest.mark.parametrize(("table", "name"), [(t, n) for t, names in sources.SOURCES.items() for n in names if t != "models"])
def test_a_table_whose_source_has_changed_says_so_in_one_line(made: Run, table: str, name: str) -> None:
    if name == "embed.weights":
        (Path(made.location).parent / "weights.pth").write_bytes(b"others")
    elif name == "models":
        Path(made.path("models", "fold-0.safetensors")).write_bytes(b"another model")
    else:
        change_rows(made, *CHANGES[name])
    with pytest.raises(RunError, match=r"^[^\n]*/run/" + table + r" was made [^\n]*; delete it[^\n]* run `dfd-ray \w+` again$"):
        sources.refuse_changed(made, table)


def test_the_line_counts_what_has_changed_and_names_an_example(made: Run) -> None:
    change_rows(made, *CHANGES["labels"])
    said = (
        "other labels than [^ ]+/manifest has now: 1 of 8 videos differ, such as part/00.mp4: FAKE, was REAL; delete it, with"
    )
    with pytest.raises(RunError, match=said):
        sources.refuse_changed(made, "faces")
    with pytest.raises(RunError, match=r"with what is made of it \([^ ]+/embeddings, [^ ]+/projection, [^ ]+/models, "):
        sources.refuse_changed(made, "faces")
    change_rows(made, *CHANGES["ids"])
    with pytest.raises(RunError, match=r"1 of 8 videos are new, such as part/new\.mp4"):
        sources.refuse_changed(made, "faces")


def test_embeddings_do_not_mind_other_folds(made: Run) -> None:
    change_rows(made, *CHANGES["folds"])
    sources.refuse_changed(made, "embeddings")


@pytest.mark.parametrize("table", ["faces", "embeddings", "projection", "scores", "predictions"])
def test_a_table_of_an_older_version_knows_nothing_and_refuses_nothing(made: Run, table: str) -> None:
    path = table_files(made.location, table)[0]
    rows = pq.read_table(path)
    stored = json.loads(rows.schema.metadata[METADATA_KEY])
    del stored["made_from"]
    pq.write_table(rows.replace_schema_metadata({METADATA_KEY: json.dumps(stored)}), path)
    for name in ("labels", "sizes"):
        change_rows(made, *CHANGES[name])
    sources.refuse_changed(made, table)


def test_one_file_that_was_made_from_something_else_is_enough(made: Run) -> None:
    """Of a job that a version without digests began and this one went on with, before the labels changed."""
    path = Path(made.path("faces", "part-0.parquet"))
    rows = pq.read_table(path)
    pq.write_table(rows.slice(4), path)
    pq.write_table(rows.slice(0, 4).replace_schema_metadata(None), path.with_name("a-first.parquet"))
    change_rows(made, *CHANGES["labels"])
    with pytest.raises(RunError, match="other labels"):
        sources.refuse_changed(made, "faces")


def test_what_was_deleted_to_save_space_is_not_compared(made: Run) -> None:
    for gone in ("faces", "models"):
        shutil.rmtree(made.path(gone))
    for table in ("embeddings", "projection", "scores", "predictions"):
        sources.refuse_changed(made, table)


@pytest.mark.parametrize("there", [1, 2])
def test_a_file_that_is_gone_by_now_is_not_signed(tmp_path: Path, there: int) -> None:
    paths = [tmp_path / f"{number}.parquet" for number in range(there)]
    for path in paths:
        path.write_text("x")
    signed = sources.sign(str(tmp_path), [*map(str, paths), str(tmp_path / "gone.parquet")])
    assert [(path, size) for path, size, _ in signed] == [(str(path), 1) for path in paths]
