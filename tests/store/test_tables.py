from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_ray.config import LINEAGE, Config
from dfd_ray.errors import RunError
from dfd_ray.runtime.resumable_table import read_rows
from dfd_ray.store import tables
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS, embeddings_schema

COLUMNS = {
    "manifest": ["video_id", "uri", "part", "label", "originals", "people", "method", "split", "group", "fold", "bytes"],
    "faces": [
        *("video_id", "label", "group", "fold", "status", "error_stage", "error"),
        *("width", "height", "fps", "frame_count", "codec"),
        *("frames_wanted", "frames_decoded", "seconds_spent", "sampled", "faces"),
    ],
    "projection": [
        *("video_id", "frame_index", "face_index", "label", "pca", "x", "y", "z"),
        *("cluster", "membership", "video_cluster", "thumbnail"),
    ],
    "predictions": ["video_id", "label", "fold", "probability", "raw_probability", "faces_used", "status"],
}
FACE_FIELDS = ["frame_index", "time", "face_index", "box", "landmarks", "probability", "image"]
VECTOR = pa.struct([("frame_index", pa.int64()), ("face_index", pa.int32()), ("score", pa.float32())])


def videos_with(counts: list[int]) -> pa.Table:
    faces = [
        [{"frame_index": 10 * video + face, "face_index": face, "score": 0.5} for face in range(count)]
        for video, count in enumerate(counts)
    ]
    return pa.table(
        {
            "video_id": pa.array([f"v{i}" for i in range(len(counts))], pa.string()),
            "label": pa.array(["REAL" if i % 2 else None for i in range(len(counts))], pa.string()),
            "faces": pa.array(faces, pa.list_(VECTOR)),
        }
    )


def in_chunks(table: pa.Table, size: int) -> pa.Table:
    return pa.Table.from_batches(table.to_batches(max_chunksize=size), table.schema)


def write(run: Path, table: str, name: str, ids: list[str], config: Config | None = None, **facts: Any) -> Path:
    schema = pa.schema([pa.field("video_id", pa.string(), nullable=False), pa.field("n", pa.int32())])
    schema = tables.with_metadata(schema, table, config or Config(), **facts)
    path = run / table / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"video_id": ids, "n": list(range(len(ids)))}, schema=schema), path)
    return path


@pytest.mark.parametrize("table", sorted(COLUMNS))
def test_a_table_has_the_columns_of_the_design(table: str) -> None:
    assert SCHEMAS[table].names == COLUMNS[table]


def test_a_face_has_the_fields_of_the_design() -> None:
    face = SCHEMAS["faces"].field("faces").type.value_type
    assert [field.name for field in face] == FACE_FIELDS
    assert face.field("box").type == pa.list_(pa.float32(), 4)
    assert face.field("landmarks").type == pa.list_(pa.float32(), 10)
    assert face.field("image").type == pa.binary()


def test_an_embedding_is_a_vector_of_a_fixed_length_in_half_precision() -> None:
    schema = embeddings_schema(2560)
    assert schema.names == ["video_id", "faces"]
    face = schema.field("faces").type.value_type
    assert [field.name for field in face] == ["frame_index", "face_index", "vector"]
    assert face.field("vector").type == pa.list_(pa.float16(), 2560)


@pytest.mark.parametrize(("table", "column"), [("faces", "status"), ("predictions", "status"), ("manifest", "uri")])
def test_a_column_without_which_a_row_says_nothing_is_never_null(table: str, column: str) -> None:
    assert not SCHEMAS[table].field(column).nullable


def test_every_table_names_its_video_and_its_writer() -> None:
    for table, schema in SCHEMAS.items():
        assert schema.field("video_id") == pa.field("video_id", pa.string(), nullable=False)
        assert table in tables.WRITER
    assert set(tables.WRITER) == set(LINEAGE)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 4), max_size=12), st.integers(1, 5), st.integers(0, 12), st.integers(0, 12))
def test_faces_are_flattened_in_order_from_any_piece_of_a_table(counts: list[int], chunk: int, start: int, n: int) -> None:
    videos = in_chunks(videos_with(counts), chunk).slice(start, n)
    expected = [
        {"video_id": row["video_id"], "label": row["label"], **face} for row in videos.to_pylist() for face in row["faces"]
    ]
    flat = tables.flatten_faces(videos, ["video_id", "label"])
    assert flat.column_names == ["video_id", "label", "frame_index", "face_index", "score"]
    assert flat.to_pylist() == expected


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 4), max_size=12), st.integers(1, 5), st.integers(0, 12), st.integers(0, 12))
def test_nesting_is_the_inverse_of_flattening(counts: list[int], chunk: int, start: int, n: int) -> None:
    videos = in_chunks(videos_with(counts), chunk).slice(start, n)
    flat = tables.flatten_faces(videos)
    arrays = [flat.column(field.name).combine_chunks() for field in VECTOR]
    faces = pa.StructArray.from_arrays(arrays, fields=list(VECTOR))
    again = tables.nest_faces(videos, faces, ["video_id", "label"])
    assert again.to_pylist() == videos.to_pylist()
    assert again.schema == videos.schema


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_nesting_keeps_every_video_and_takes_other_fields(counts: list[int]) -> None:
    videos = videos_with(counts)
    total = sum(counts)
    again = tables.nest_faces(videos, pa.StructArray.from_arrays([pa.array(range(total), pa.int64())], ["serial"]))
    assert again.column_names == ["video_id", "faces"]
    assert [len(row["faces"]) for row in again.to_pylist()] == counts
    assert [face["serial"] for row in again.to_pylist() for face in row["faces"]] == list(range(total))


def test_flattening_no_column_gives_the_faces_alone() -> None:
    assert tables.flatten_faces(videos_with([2, 0, 1])).column_names == ["frame_index", "face_index", "score"]


def test_what_made_a_table_is_read_back_from_it(tmp_path: Path) -> None:
    config = Config.model_validate({"preprocess": {"margin": 0.7}})
    write(tmp_path, "faces", "a.parquet", ["v"], config, device="cpu", vectors=3)
    stored = tables.read_metadata(str(tmp_path), "faces")
    assert stored == {
        "table": "faces",
        "schema_version": tables.SCHEMA_VERSION,
        "fingerprint": config.fingerprint("faces"),
        "configuration": config.content("faces"),
        "device": "cpu",
        "vectors": 3,
    }


def test_metadata_change_no_column() -> None:
    schema = SCHEMAS["faces"]
    assert tables.with_metadata(schema, "faces", Config()).equals(schema, check_metadata=False)


@pytest.mark.parametrize("table", ["faces", "absent"])
def test_a_table_that_is_not_there_has_no_metadata_files_or_rows(tmp_path: Path, table: str) -> None:
    (tmp_path / "faces").mkdir()
    assert tables.read_metadata(str(tmp_path), table) == {}
    assert tables.table_files(str(tmp_path), table) == []
    assert tables.count_rows(str(tmp_path), table) == 0


def test_metadata_come_from_a_file_that_is_whole(tmp_path: Path) -> None:
    write(tmp_path, "faces", "b.parquet", ["v"])
    (tmp_path / "faces" / "a.parquet").write_bytes(b"PAR1 cut off")
    assert tables.read_metadata(str(tmp_path), "faces")["table"] == "faces"


def test_a_table_of_the_same_settings_is_compatible(tmp_path: Path) -> None:
    write(tmp_path, "faces", "a.parquet", ["v"])
    other = Config.model_validate({"preprocess": {"video_deadline": 1}, "resources": {"cpus": 1}, "train": {"epochs": 1}})
    tables.check_compatible(Run(str(tmp_path), other), "faces")


def test_a_table_that_does_not_exist_is_compatible(tmp_path: Path) -> None:
    tables.check_compatible(Run(str(tmp_path), Config()), "faces")


@pytest.mark.parametrize(
    ("values", "first"),
    [
        ({"preprocess": {"margin": 0.5}}, "preprocess.margin = 0.6, not 0.5"),
        ({"preprocess": {"margin": 0.5, "frames_real": 3}}, "preprocess.frames_real = 40, not 3"),
        ({"preprocess": {"margin": 0.5}, "index": {"seed": 9}}, "index.seed = 0, not 9"),
    ],
)
def test_a_table_of_other_settings_is_refused_with_the_first_that_differs(
    tmp_path: Path, values: dict[str, Any], first: str
) -> None:
    write(tmp_path, "faces", "a.parquet", ["v"])
    with pytest.raises(RunError) as caught:
        tables.check_compatible(Run(str(tmp_path), Config.model_validate(values)), "faces")
    assert first in str(caught.value)
    assert str(tmp_path / "faces") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_of_another_schema_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "faces", "a.parquet", ["v"])
    monkeypatch.setattr(tables, "SCHEMA_VERSION", tables.SCHEMA_VERSION + 1)
    with pytest.raises(RunError, match=r"^[^\n]+faces is of version 1 of the tables, this dfd-ray of 2; use another --run$"):
        tables.check_compatible(Run(str(tmp_path), Config()), "faces")


def test_a_table_that_an_older_version_began_gets_no_row(tmp_path: Path) -> None:
    # Its frames were chosen, and its faces followed, in another way: a table must not hold both.
    run = Run(str(tmp_path), Config())
    tables.refuse_older_faces(run)
    (tmp_path / "faces").mkdir()
    whole = SCHEMAS["faces"].empty_table()
    (tmp_path / "faces" / "a.parquet").write_bytes(b"PAR1 cut off")
    pq.write_table(whole, tmp_path / "faces" / "b.parquet")
    tables.refuse_older_faces(run)
    pq.write_table(whole.drop_columns("sampled"), tmp_path / "faces" / "b.parquet")
    with pytest.raises(RunError, match=r"^[^\n]+older version, which chose frames[^\n]+delete it[^\n]+another --run$"):
        tables.refuse_older_faces(run)


def test_what_has_no_schema_is_judged_by_its_settings_alone() -> None:
    making = {"fingerprint": Config().fingerprint("models"), "configuration": Config().content("models")}
    tables.check_promise(making, "models/fold-0.safetensors", "models", Config())


@pytest.mark.parametrize("field", ["preprocess.faces_per_frame", "index.missing_files"])
def test_a_table_that_was_made_before_there_was_a_setting_has_its_default(tmp_path: Path, field: str) -> None:
    path = write(tmp_path, "faces", "a.parquet", ["v"])
    rows = pq.read_table(path)
    stored = json.loads(rows.schema.metadata[tables.METADATA_KEY]) | {"fingerprint": "of fewer settings"}
    del stored["configuration"][field]
    pq.write_table(rows.replace_schema_metadata({tables.METADATA_KEY: json.dumps(stored)}), path)
    tables.check_compatible(Run(str(tmp_path), Config()), "faces")
    section, name = field.split(".")
    other = Config.model_validate({section: {name: 3 if name == "faces_per_frame" else "keep"}})
    with pytest.raises(RunError, match=f"was made with {field} = (2, not 3|'refuse', not 'keep')"):
        tables.check_compatible(Run(str(tmp_path), other), "faces")


def test_a_setting_that_this_version_does_not_know_is_named(tmp_path: Path) -> None:
    making = {"fingerprint": "", "configuration": Config().content("models") | {"preprocess.video_deadline": 1.0}}
    tables.check_promise(making, "models", "models", Config())  # it once counted, and does not change what is made
    making["configuration"]["train.magic"] = 3
    with pytest.raises(RunError, match=r"models was made with train\.magic = 3, which this version does not know"):
        tables.check_promise(making, "models", "models", Config())


def test_kinds_of_files_that_are_read_by_now_are_no_other_configuration() -> None:
    making = {"fingerprint": "", "configuration": Config().content("faces")}
    making["configuration"]["preprocess.containers"] = ["mov", "mp4"]
    tables.check_promise(making, "faces", "faces", Config())
    making["configuration"]["preprocess.containers"] = ["mov", "mp4", "nut"]
    with pytest.raises(RunError, match=r"preprocess\.containers"):
        tables.check_promise(making, "faces", "faces", Config())


def write_mixed(run: Path) -> None:
    """Write faces of an older version, of this one, and of a newer one."""
    face = {"frame_index": 4, "face_index": 0, "probability": 1.0, "image": b"x"}
    schema = SCHEMAS["faces"]
    older = pa.schema([field for field in schema if field.name not in ("codec", "group")])
    kind = pa.list_(pa.struct([*schema.field("faces").type.value_type, pa.field("mood", pa.string())]))
    newer = schema.remove(schema.names.index("faces")).append(pa.field("faces", kind)).append(pa.field("sound", pa.int8()))
    (run / "faces").mkdir(parents=True)
    for name, one in {"a": older, "b": schema, "c": newer}.items():
        row = {"video_id": name, "status": "ok", "codec": "h264", "group": "g", "label": "REAL", "fold": 0, "faces": [face]}
        pq.write_table(pa.Table.from_pylist([{**row, "sound": 1}], schema=one), run / "faces" / f"{name}.parquet")


def test_files_of_other_versions_are_read_together_and_what_one_lacks_is_null(tmp_path: Path) -> None:
    write_mixed(tmp_path)
    run = str(tmp_path)
    assert tables.read_table(run, "faces", ["video_id", "codec"]).column("codec").to_pylist() == [None, "h264", "h264"]
    assert tables.read_table(run, "faces").column("sound").to_pylist() == [None, None, 1]
    batches = list(tables.iterate_batches(run, "faces", ["video_id", "group", "faces"]))
    assert [batch.column("group").to_pylist() for batch in batches] == [[None], ["g"], ["g"]]
    flat = [tables.flatten_faces(batch, ["video_id", "group"]) for batch in batches]
    assert [face.column_names for face in flat] == [["video_id", "group", *FACE_FIELDS]] * 3
    assert tables.count_faces(run, "faces") == 3
    (tmp_path / "faces" / "b.parquet").unlink()
    (tmp_path / "faces" / "c.parquet").unlink()
    assert tables.read_table(run, "faces", ["codec"]).column("codec").to_pylist() == [None], "no file has it"


def test_rows_of_this_version_replace_those_of_an_older_one(tmp_path: Path) -> None:
    write_mixed(tmp_path)
    run = str(tmp_path)
    rows = tables.read_table(run, "faces").drop_columns("sound").to_pylist()
    new = pa.Table.from_pylist([{**row, "codec": "new"} for row in rows], schema=SCHEMAS["faces"])
    tables.replace_rows(run, "faces", new)
    assert tables.read_table(run, "faces", ["codec"]).column("codec").to_pylist() == ["new"] * 3


def test_a_dataset_has_every_column_of_files_of_other_versions(tmp_path: Path, ray: None) -> None:
    write_mixed(tmp_path)
    faces = read_rows(Run(str(tmp_path), Config()), "faces", ["video_id", "codec", "faces"], 1)
    rows = sorted(faces.take_all(), key=lambda row: row["video_id"])
    assert [row["codec"] for row in rows] == [None, "h264", "h264"]
    assert [list(row["faces"][0]) for row in rows] == [FACE_FIELDS] * 3


def test_rows_are_counted_without_a_file_that_was_cut_off(tmp_path: Path) -> None:
    write(tmp_path, "faces", "a.parquet", ["v", "w"])
    write(tmp_path, "faces", "b.parquet", ["x"])
    cut = write(tmp_path, "faces", "c.parquet", ["y", "z"])
    cut.write_bytes(cut.read_bytes()[:-20])
    (tmp_path / "faces" / "d.parquet").write_bytes(b"")
    (tmp_path / "faces" / "notes.txt").write_text("not a table")
    assert tables.count_rows(str(tmp_path), "faces") == 3


def test_faces_are_counted_over_files_and_videos_without_any(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    for name, counts in {"a": [2, 0, 1], "b": [0], "c": [4]}.items():
        pq.write_table(videos_with(counts), tmp_path / "faces" / f"{name}.parquet")
    assert tables.count_faces(str(tmp_path), "faces") == 7


@pytest.mark.parametrize(("batch_size", "sizes"), [(2, [2, 1, 2]), (64, [3, 2])])
def test_batches_come_in_the_order_of_the_files_and_bounded(tmp_path: Path, batch_size: int, sizes: list[int]) -> None:
    write(tmp_path, "faces", "b.parquet", ["4", "5"])
    write(tmp_path, "faces", "a.parquet", ["1", "2", "3"])
    batches = list(tables.iterate_batches(str(tmp_path), "faces", batch_size=batch_size))
    assert [batch.num_rows for batch in batches] == sizes
    assert [value for batch in batches for value in batch["video_id"].to_pylist()] == ["1", "2", "3", "4", "5"]
    assert all(batch.column_names == ["video_id", "n"] for batch in batches)


def test_batches_have_only_the_columns_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "faces", "a.parquet", ["1"])
    assert [batch.column_names for batch in tables.iterate_batches(str(tmp_path), "faces", ["n"])] == [["n"]]


def test_batches_of_some_files_leave_out_the_others(tmp_path: Path) -> None:
    write(tmp_path, "faces", "a.parquet", ["1"])
    write(tmp_path, "faces", "b.parquet", ["2"])
    second = tables.table_files(str(tmp_path), "faces")[1:]
    batches = tables.iterate_batches(str(tmp_path), "faces", files=second)
    assert [batch["video_id"].to_pylist() for batch in batches] == [["2"]]


def test_a_whole_table_is_read_in_the_order_of_its_files(tmp_path: Path) -> None:
    write(tmp_path, "faces", "b.parquet", ["3"])
    write(tmp_path, "faces", "a.parquet", ["1", "2"])
    assert tables.read_table(str(tmp_path), "faces", ["video_id"]).to_pydict() == {"video_id": ["1", "2", "3"]}


@pytest.mark.parametrize(("table", "job"), sorted(tables.WRITER.items()))
def test_reading_a_table_that_is_not_there_names_the_job_that_writes_it(tmp_path: Path, table: str, job: str) -> None:
    with pytest.raises(RunError, match=f"run `dfd-ray {job}` first"):
        tables.read_table(str(tmp_path), table)


def test_a_run_is_also_a_uri(tmp_path: Path) -> None:
    write(tmp_path, "faces", "a.parquet", ["1", "2"])
    assert tables.count_rows(f"file://{tmp_path}", "faces") == 2
