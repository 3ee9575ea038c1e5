"""embed on made-up tables of faces: what it records, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfd_ray.cli import main
from dfd_ray.config import Config, load_config
from dfd_ray.errors import WeightsError
from dfd_ray.faces.crop import encode_jpeg
from dfd_ray.models.embedder import native_precision
from dfd_ray.stages.embed import EmbedFaces, measure_precision
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import SCHEMAS, embeddings_schema
from dfd_ray.store.tables import flatten_faces, read_metadata, read_table, with_metadata

SETTINGS = ["embed.backbone=test_efficientnet", "embed.weights=random", "embed.image_size=64", "analyze.components=8"]
FLAGS = [part for setting in SETTINGS for part in ("--set", setting)]


def crop(seed: int) -> bytes:
    return encode_jpeg(np.random.default_rng(seed).integers(0, 256, (48, 48, 3), dtype=np.uint8))


def face(number: int, image: bytes) -> dict[str, object]:
    return {"frame_index": number, "face_index": 0, "image": image}


def write_table(run: Path, name: str, rows: list[dict[str, object]], schema: pa.Schema) -> None:
    (run / name).mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), run / name / "part.parquet")


def make_run(run: Path, faces: list[int]) -> Config:
    """Write manifest and faces of videos with so many faces each; every face of a video is the same picture."""
    config = load_config(None, SETTINGS, run=str(run))
    videos: list[dict[str, object]] = [{"video_id": f"{i}.mp4", "uri": "/none", "group": str(i)} for i in range(len(faces))]
    write_table(run, "manifest", videos, with_metadata(SCHEMAS["manifest"], "manifest", config))
    rows: list[dict[str, object]] = [
        {
            "video_id": f"{i}.mp4",
            "status": "ok" if count else "no_face",
            "faces": [face(number, crop(i)) for number in range(count)],
        }
        for i, count in enumerate(faces)
    ]
    write_table(run, "faces", rows, with_metadata(SCHEMAS["faces"], "faces", config))
    return config


def vectors_of(run: Path) -> dict[str, np.ndarray]:
    rows = read_table(str(run), "embeddings").to_pylist()
    return {row["video_id"]: np.array([face["vector"] for face in row["faces"]]) for row in rows}


@pytest.mark.slow
def test_the_table_says_which_precision_it_has_and_equal_faces_have_equal_vectors(tmp_path: Path, ray: None) -> None:
    make_run(tmp_path, [3, 0, 2, 1])
    assert main(["embed", "--run", str(tmp_path), *FLAGS]) == 0
    check_precision(read_metadata(str(tmp_path), "embeddings"))
    check_equal(vectors_of(tmp_path))


def test_the_precision_suits_the_machine_and_equal_faces_have_equal_vectors(tmp_path: Path) -> None:
    config = make_run(tmp_path, [3, 0, 2, 1])
    arithmetic = measure_precision(Run(str(tmp_path), config))
    check_precision(arithmetic)
    embed = EmbedFaces(config.embed, arithmetic["precision"], config.resources.embed)
    rows = embed(read_table(str(tmp_path), "faces", ["video_id", "status", "faces"])).to_pylist()
    check_equal({row["video_id"]: np.array([face["vector"] for face in row["faces"]]) for row in rows})


def check_precision(facts: Mapping[str, object]) -> None:
    assert facts["precision"] == native_precision("cpu")
    assert (facts["cosine_to_fp32"] is None) == (facts["precision"] == "fp32")


def check_equal(vectors: dict[str, np.ndarray]) -> None:
    """Look at the vectors of four videos, each of which shows one picture all the time."""
    assert [len(vectors[f"{i}.mp4"]) for i in range(4)] == [3, 0, 2, 1]
    for video in vectors.values():
        assert (video == video[:1]).all()
    assert not np.array_equal(vectors["0.mp4"][0], vectors["2.mp4"][0])


def check_nothing_to_map(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Look at the embeddings of two videos without a face, and try to map them."""
    assert {video: len(vectors) for video, vectors in vectors_of(run).items()} == {"0.mp4": 0, "1.mp4": 0}
    capsys.readouterr()
    assert main(["analyze", "--run", str(run), *FLAGS]) == 2
    assert "nothing to map" in capsys.readouterr().err


@pytest.mark.slow
def test_without_any_face_embed_writes_a_table_and_there_is_nothing_to_map(
    tmp_path: Path, ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, [0, 0])
    assert main(["embed", "--run", str(tmp_path), *FLAGS]) == 0
    check_nothing_to_map(tmp_path, capsys)


def test_without_any_face_the_stage_returns_its_rows_and_there_is_nothing_to_map(
    tmp_path: Path, ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_run(tmp_path, [0, 0])
    embed = EmbedFaces(config.embed, "fp32", config.resources.embed)
    table = embed(read_table(str(tmp_path), "faces", ["video_id", "status", "faces"]))
    size = embed.embedder.dimensions
    schema = with_metadata(embeddings_schema(size), "embeddings", config, dimensions=size, precision="fp32")
    write_table(tmp_path, "embeddings", table.to_pylist(), schema)
    check_nothing_to_map(tmp_path, capsys)


def embedded(run: Path, config: Config, bad: float | None = None) -> None:
    """Write `embeddings/` of two videos with two faces each, one number of the last vector being `bad`."""
    vectors = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float16)
    if bad is not None:
        vectors[3, 5] = bad
    rows: list[dict[str, object]] = [
        {"video_id": f"{i}.mp4", "faces": [{"frame_index": j, "face_index": 0, "vector": vectors[2 * i + j]} for j in range(2)]}
        for i in range(2)
    ]
    schema = with_metadata(embeddings_schema(8), "embeddings", config, dimensions=8, precision="fp32")
    write_table(run, "embeddings", rows, schema)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_is_one_line_that_names_the_video(
    tmp_path: Path, ray: None, capsys: pytest.CaptureFixture[str], bad: float
) -> None:
    embedded(tmp_path, make_run(tmp_path, [2, 2]), bad)
    assert main(["analyze", "--run", str(tmp_path), *FLAGS]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "1.mp4" in error


@pytest.mark.parametrize("job", ["embed", "analyze"])
@pytest.mark.parametrize(("field", "value"), [("backbone", "test_resnet"), ("weights", "package"), ("precision", "fp32")])
def test_a_table_of_another_backbone_is_refused_and_the_field_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], job: str, field: str, value: str
) -> None:
    embedded(tmp_path, make_run(tmp_path, [2, 2]))
    assert main([job, "--run", str(tmp_path), *FLAGS, "--set", f"embed.{field}={value}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"embed.{field} = " in error and value in error


def test_weights_that_make_no_numbers_are_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_run(tmp_path, [1, 2])
    embed = EmbedFaces(config.embed, "fp32", config.resources.embed)
    whole = embed.embedder.net
    monkeypatch.setattr(embed.embedder, "net", lambda batch: whole(batch) * np.float32(np.inf))
    with pytest.raises(WeightsError, match=r"face of 0\.mp4"):
        embed(read_table(str(tmp_path), "faces", ["video_id", "status", "faces"]))


def test_vectors_come_in_the_order_of_the_faces(tmp_path: Path) -> None:
    """Across videos and batches, and whatever the decoding threads do."""
    config = make_run(tmp_path, [5, 0, 1, 8, 3])
    embed = EmbedFaces(config.embed, "fp32", config.resources.embed)
    videos = read_table(str(tmp_path), "faces", ["video_id", "status", "faces"])
    together = embed(videos)
    alone = pa.concat_tables([embed(videos.slice(i, 1)) for i in range(len(videos))])
    assert together.equals(alone)
    assert len(flatten_faces(together)) == 17
