from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfd_ray.analysis import identity
from dfd_ray.analysis.identity import number_people
from dfd_ray.cli import main
from dfd_ray.corpus.people import join_people
from dfd_ray.errors import CorpusError
from dfd_ray.faces.crop import decode_jpeg
from dfd_ray.store.tables import read_table

ROOT = Path(__file__).parents[2]


def write_people(path: Path, rows: dict[str, list[float]]) -> str:
    pq.write_table(pa.table({"video_id": list(rows), "vector": list(rows.values())}), path)
    return str(path)


def test_people_are_joined_by_cosine_and_through_others() -> None:
    degrees = np.radians([0, 40, 80, 180, 181])
    vectors = np.stack([np.cos(degrees), np.sin(degrees)], axis=1) * np.array([[1], [5], [0.1], [3], [2]])
    near = number_people(vectors.astype(np.float32), 0.7)  # an angle of 45 degrees
    assert near[0] == near[1] == near[2] != near[3] == near[4]
    assert len(set(number_people(vectors.astype(np.float32), 0.8))) == 4


def test_they_are_those_of_dbscan_however_small_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.cluster import DBSCAN
    from sklearn.metrics import adjusted_rand_score

    random = np.random.default_rng(0)
    vectors = (random.normal(size=(30, 1, 16)) + 0.4 * random.normal(size=(30, 10, 16))).reshape(-1, 16).astype(np.float32)
    expected = DBSCAN(eps=0.2, min_samples=1, metric="cosine").fit_predict(vectors)
    assert 20 < len(set(expected)) < 200
    for mebibytes in (1e-9, 0.01, 64):
        monkeypatch.setattr(identity, "BLOCK_MIB", mebibytes)
        assert adjusted_rand_score(expected, number_people(vectors, 0.8)) == 1


def test_groups_that_show_one_person_become_one(tmp_path: Path) -> None:
    people = {
        "a": [1.0, 0.0, 0.0],
        "c": [0.0, 1.0, 0.0],
        "d": [2.0, 0.1, 0.0],
        "elsewhere": [0.0, 1.0, 0.0],
        "e": [0.0, 0.0, 1.0],
    }
    location = write_people(tmp_path / "people.parquet", people)
    # a and b are linked, c and d are; d shows the person of a. Nobody knows who is in f.
    groups, told = join_people(list("abcdef"), ["a", "a", "c", "c", "e", "f"], location, 0.7)
    assert groups == ["a", "a", "a", "a", "e", "f"]
    assert told == f"4 of 6 videos have a vector in {location}: of 4 groups 3 are left, the largest of 4 videos"


def test_a_video_of_two_people_joins_both(tmp_path: Path) -> None:
    table = pa.table({"video_id": ["a", "b", "b", "c"], "vector": [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]})
    pq.write_table(table, tmp_path / "people.parquet")
    groups, _ = join_people(list("abcd"), list("abcd"), str(tmp_path / "people.parquet"), 0.7)
    assert groups == ["a", "a", "a", "d"]


@pytest.mark.parametrize(
    "of_type",
    [
        pa.list_(pa.float16()),
        pa.list_(pa.float64()),
        pa.large_list(pa.float32()),
        pa.list_(pa.float32(), 2),
        pa.list_(pa.int32()),
    ],
    ids=str,
)
def test_vectors_are_read_whatever_numbers_they_are_of(tmp_path: Path, of_type: pa.DataType) -> None:
    names = pa.array(["a", "b", "c"]).dictionary_encode()
    vectors = [np.array(v, of_type.value_type.to_pandas_dtype()) for v in ([1, 0], [0, 1], [3, 0])]
    pq.write_table(pa.table({"video_id": names, "vector": pa.array(vectors, of_type)}), tmp_path / "people.parquet")
    groups, _ = join_people(list("abc"), list("abc"), str(tmp_path / "people.parquet"), 0.7)
    assert groups == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"video_id": ["a"], "embedding": [[1.0]]}, "expected Parquet with the columns"),
        ({"video_id": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}, r"one length, got lengths \[1, 2\]"),
        ({"video_id": ["a", "b"], "vector": [[1.0], None]}, r"one length, got lengths \[1, None\]"),
        ({"video_id": ["a", None], "vector": [[1.0], [1.0]]}, "a row names no video"),
        ({"video_id": ["a"], "vector": ["not numbers"]}, "expected Parquet with the columns"),
        ({"video_id": ["a"], "vector": [["x"]]}, "expected Parquet with the columns"),
        ({"video_id": ["a"], "vector": [[0.0, 0.0]]}, "a vector of 'a' is zero"),
        ({"video_id": ["a"], "vector": [[1.0, float("nan")]]}, "NaN"),
        ({"video_id": ["b", "a"], "vector": [[1.0, 1.0], [1.0, None]]}, "a vector of 'a' is zero, or holds NaN"),
        ({"video_id": ["z"], "vector": [[1.0]]}, "no video of it is in the corpus; it has names such as 'z'"),
        ({"video_id": pa.array([], pa.string()), "vector": pa.array([], pa.list_(pa.float32()))}, r"got lengths \[\]"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, columns: dict[str, Any], told: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "people.parquet")
    with pytest.raises(CorpusError, match=told) as refused:
        join_people(["a", "b"], ["a", "b"], str(tmp_path / "people.parquet"), 0.7)
    assert "\n" not in str(refused.value)


def test_a_column_that_may_hold_code_is_refused(tmp_path: Path) -> None:
    pixels = pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), [2]), pa.array([[1.0, 0.0]], pa.list_(pa.float32(), 2))
    )
    pq.write_table(pa.table({"video_id": ["a"], "vector": pixels}), tmp_path / "people.parquet")
    with pytest.raises(CorpusError, match="has a column of the type"):
        join_people(["a"], ["a"], str(tmp_path / "people.parquet"), 0.7)


@pytest.mark.parametrize(
    ("content", "told"), [(None, "there is no such file"), (b"text", "expected Parquet"), (b"", "expected Parquet")]
)
def test_a_file_that_is_absent_or_no_table_is_refused(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "people.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CorpusError, match=rf"^index\.people = .*people\.parquet: {told}") as refused:
        join_people(["a"], ["a"], str(path), 0.7)
    assert "\n" not in str(refused.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"^index\.people = "):
        join_people(["a"], ["a"], str(tmp_path), 0.7)


def test_from_where_two_are_alike_must_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    people = write_people(tmp_path / "people.parquet", {"a.mp4": [1.0]})
    command = ["index", "--corpus", str(tmp_path), "--run", str(tmp_path / "run"), "--set", f"index.people={people}"]
    assert main(command) == 2
    assert capsys.readouterr().err.startswith("dfd-ray index: index.people needs index.same_person")


def test_no_person_is_in_two_folds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    names = [f"{number}.mp4" for number in range(40)]
    (corpus / "labels.csv").write_text("filename,label\n" + "".join(f"{n},{i % 2}\n" for i, n in enumerate(names)))
    for name in names:
        (corpus / name).write_text(name)
    axes = np.eye(10)
    people = write_people(tmp_path / "people.parquet", {name: axes[i // 2 % 10].tolist() for i, name in enumerate(names)})
    run = str(tmp_path / "run")
    alike = ["--set", f"index.people={people}", "--set", "index.same_person=0.7"]
    assert main(["index", "--corpus", str(corpus), "--run", run, *alike]) == 0
    assert "of 40 groups 10 are left, the largest of 4 videos" in capsys.readouterr().out
    folds: dict[int, set[int]] = {}
    for row in read_table(run, "manifest", ["video_id", "fold"]).to_pylist():
        folds.setdefault(int(row["video_id"].split(".")[0]) // 2 % 10, set()).add(row["fold"])
    assert len(folds) == 10
    assert all(len(of_person) == 1 for of_person in folds.values())
    assert len(set.union(*folds.values())) == 5


def test_what_the_tutorial_shows_makes_such_a_file(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import facenet_pytorch
    import torch

    def untrained(pretrained: str) -> torch.nn.Module:  # the weights are downloaded
        assert pretrained == "vggface2"
        torch.manual_seed(0)
        return network()

    network = facenet_pytorch.InceptionResnetV1
    monkeypatch.setattr(facenet_pytorch, "InceptionResnetV1", untrained)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "people").symlink_to(finished_run)
    [source] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/tutorials/dfdc.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(source, {})
    found = pq.read_table("people.parquet")
    videos = read_table(str(finished_run), "faces", ["video_id", "label", "group", "faces"]).to_pylist()
    faces = [(video["video_id"], face["image"]) for video in videos if video["label"] == "REAL" for face in video["faces"]]
    assert found.column("video_id").to_pylist() == [name for name, _ in faces]
    picture = torch.tensor(decode_jpeg(faces[0][1])).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        expected = untrained("vggface2").eval()((picture - 127.5) / 128)[0]
    assert found.column("vector")[0].as_py() == pytest.approx(expected.tolist(), abs=1e-5)
    _, told = join_people(*zip(*((video["video_id"], video["group"]) for video in videos), strict=True), "people.parquet", 0.7)
    assert "videos have a vector" in told
