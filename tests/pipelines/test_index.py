from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_ray.cli import main
from dfd_ray.config import load_config
from dfd_ray.corpus.entries import read_entries
from dfd_ray.corpus.folds import assign_folds
from dfd_ray.corpus.groups import link_groups
from dfd_ray.corpus.listing import Entry, list_extra_real
from dfd_ray.corpus.manifest import build_manifest
from dfd_ray.errors import CorpusError
from dfd_ray.pipelines.predict import index_new
from dfd_ray.store.run import Run


def write_part(root: Path, part: str, facts: dict[str, Any], absent: tuple[str, ...] = ()) -> None:
    folder = root / part
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps(facts))
    for name in facts:
        if name not in absent and "/" not in name:
            (folder / name).write_text(f"{part}/{name}")


def fact(label: object = "REAL", original: str | None = None) -> dict[str, object]:
    return {"label": label, "split": "train", "original": original}


def test_dfdc_parts_become_rows(tmp_path: Path) -> None:
    write_part(tmp_path, "dfdc_train_part_0", {"a.mp4": fact(), "b.mp4": fact("FAKE", "a.mp4")})
    write_part(tmp_path, "dfdc_train_part_1", {"a.mp4": fact()})
    manifest, _ = build_manifest(str(tmp_path), load_config())
    rows = {row["video_id"]: row for row in manifest.to_pylist()}
    assert list(rows) == ["dfdc_train_part_0/a.mp4", "dfdc_train_part_0/b.mp4", "dfdc_train_part_1/a.mp4"]
    fake = rows["dfdc_train_part_0/b.mp4"]
    assert (fake["label"], fake["originals"], fake["split"]) == ("FAKE", ["dfdc_train_part_0/a.mp4"], "train")
    assert fake["bytes"] == len("dfdc_train_part_0/b.mp4")
    assert fake["group"] == rows["dfdc_train_part_0/a.mp4"]["group"] != rows["dfdc_train_part_1/a.mp4"]["group"]
    assert fake["uri"] == str(tmp_path / "dfdc_train_part_0" / "b.mp4")


def test_the_labels_of_dfdc_itself_are_read(real_corpus: Path, tmp_path: Path) -> None:
    labels = sorted((real_corpus / "labels").glob("*.json"))
    assert labels
    for number, file in enumerate(labels):
        (tmp_path / f"part_{number}").mkdir()
        (tmp_path / f"part_{number}" / "metadata.json").write_bytes(file.read_bytes())
    entries, _ = read_entries(str(tmp_path))
    assert len(entries) == sum(len(json.loads(file.read_text())) for file in labels)
    groups = link_groups(entries)
    assert 1 < len(set(groups)) < len(entries)


def test_an_absent_original_still_links_the_fakes_made_from_it() -> None:
    entries = [Entry(f"p/{name}.mp4", "p", "FAKE", ("gone.mp4",)) for name in "ab"] + [Entry("p/c.mp4", "p", "REAL")]
    first, second, third = link_groups(entries)
    assert first == second != third


def test_a_csv_names_labels_as_words_or_numbers(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "labels.csv").write_text("filename,label\na.mp4,FAKE\nb.mp4,0\nc.mp4,\n")
    assert [entry.label for entry in read_entries(str(tmp_path))[0]] == ["FAKE", "REAL", None]


def test_how_a_fake_was_made_is_kept_where_the_metadata_say_so(tmp_path: Path) -> None:
    made = {"a.mp4": fact(), "b.mp4": fact("FAKE") | {"method": "swap"}, "c.mp4": fact("FAKE") | {"method": ""}}
    write_part(tmp_path / "json", "part", made)
    folder = tmp_path / "csv" / "part"
    folder.mkdir(parents=True)
    for name in made:
        (folder / name).write_bytes(b"x")
    rows = ["part/a.mp4,REAL", "part/b.mp4,FAKE,swap", "part/c.mp4,FAKE,"]
    (tmp_path / "csv" / "labels.csv").write_text("\n".join(["filename,label,method", *rows]))
    for kind in ("json", "csv"):
        manifest, _ = build_manifest(str(tmp_path / kind), load_config())
        assert manifest.column("method").to_pylist() == [None, "swap", None], kind


def test_an_original_may_be_a_path_of_the_corpus(tmp_path: Path) -> None:
    for folder in ("reals", "fakes"):
        (tmp_path / folder).mkdir()
        for name in ("a.mp4", "b.mp4"):
            (tmp_path / folder / name).write_text(f"{folder}/{name}")
    rows = [f"{folder}/{name},{label},{original}" for name in ("a.mp4", "b.mp4")
            for folder, label, original in (("reals", "REAL", ""), ("fakes", "FAKE", f"reals/{name}"))]  # fmt: skip
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label,original", *rows]))
    table = build_manifest(str(tmp_path), load_config(None, ["index.folds=2"]))[0].to_pylist()
    group = {row["video_id"]: (row["group"], row["fold"]) for row in table}
    assert group["fakes/a.mp4"] == group["reals/a.mp4"] != group["reals/b.mp4"] == group["fakes/b.mp4"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"filename,label\na.mp4,REAL\na.mp4,FAKE\n", "'a.mp4' is listed twice"),
        (b"filename,label\n,REAL\n", "names no file"),
        (b"filename,label\na.mp4\nb.mp4,\xff\n", "not UTF-8"),
    ],
)
def test_a_csv_that_cannot_be_right_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        build_manifest(str(tmp_path), load_config())


def test_a_row_that_ends_early_has_no_label(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "labels.csv").write_text("filename,label\na.mp4\n")
    assert build_manifest(str(tmp_path), load_config())[0].column("label").to_pylist() == [None]


def test_videos_that_the_metadata_leave_out_are_told(tmp_path: Path) -> None:
    write_part(tmp_path, "part_0", {"a.mp4": fact()})
    (tmp_path / "part_0" / "b.mp4").write_bytes(b"x")
    (tmp_path / "part_1").mkdir()
    (tmp_path / "part_1" / "c.mp4").write_bytes(b"x")
    _, notes = build_manifest(str(tmp_path), load_config())
    assert any("left out: 2 videos that no table names, such as 'part_0/b.mp4'" in note for note in notes)


@pytest.mark.parametrize("name", [b"\xff.mp4", b"\xff/a.mp4", b"fine/\xff.mp4"])
def test_a_name_that_is_not_utf8_is_one_line(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    for read in (read_entries, list_extra_real):
        with pytest.raises(CorpusError, match="not UTF-8"):
            read(str(tmp_path))
    with pytest.raises(CorpusError, match="not UTF-8"):
        index_new(Run(str(tmp_path / "out"), load_config()), str(tmp_path))


@pytest.mark.parametrize("key", ["split", "method"])
@pytest.mark.parametrize("value", [1, 0, False])
def test_a_split_or_method_that_is_no_text_is_one_line(tmp_path: Path, key: str, value: object) -> None:
    write_part(tmp_path, "part_0", {"a.mp4": fact() | {key: value}})
    with pytest.raises(CorpusError, match=rf"'a\.mp4' has the {key} {value}; expected text"):
        read_entries(str(tmp_path))


def test_a_bare_folder_gives_videos_without_labels(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.MP4", "deep/b c\n'\"é.mov", ".hidden.mp4", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    manifest, _ = build_manifest(str(tmp_path), load_config())
    assert manifest.column("video_id").to_pylist() == ["a.MP4", "deep/b c\n'\"é.mov"]
    assert manifest.column("label").null_count == manifest.column("fold").null_count == 2


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"a.mp4": fact("fakes")}, "'a.mp4' has the label 'fakes'; expected REAL or FAKE"),
        ({"a.mp4": fact(2)}, "'a.mp4' has the label 2; expected REAL or FAKE"),
        ({"../a.mp4": fact()}, "'../a.mp4' is not a path in the corpus"),
        ({"/etc/passwd": fact()}, "'/etc/passwd' is not a path in the corpus"),
        ({"a.mp4": fact("FAKE", "../../etc/passwd")}, "has the original '../../etc/passwd'; expected the name of a video"),
        ({"a.mp4": "REAL"}, "expected"),
    ],
)
def test_metadata_that_cannot_be_right_are_refused(tmp_path: Path, facts: dict[str, Any], message: str) -> None:
    write_part(tmp_path, "part", facts)
    with pytest.raises(CorpusError, match=message):
        read_entries(str(tmp_path))


def test_videos_that_are_absent_are_refused_or_kept(tmp_path: Path) -> None:
    write_part(tmp_path, "part", {"a.mp4": fact(), "b.mp4": fact()}, absent=("b.mp4",))
    with pytest.raises(CorpusError, match=r"1 of 2 videos .* absent, such as 'part/b\.mp4'"):
        build_manifest(str(tmp_path), load_config())
    manifest, _ = build_manifest(str(tmp_path), load_config(None, ["index.missing_files=keep"]))
    assert manifest.column("bytes").to_pylist() == [len("part/a.mp4"), None]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["REAL", "FAKE", None])), min_size=2, max_size=80),
    st.integers(2, 6),
    st.integers(0, 3),
)
def test_folds_never_split_a_group(videos: list[tuple[int, str | None]], folds: int, seed: int) -> None:
    labels = [label for _, label in videos]
    groups = [f"group {group}" for group, _ in videos]
    assigned, _ = assign_folds(labels, groups, folds, seed)
    of_group: dict[str, set[int]] = defaultdict(set)
    for label, group, fold in zip(labels, groups, assigned, strict=True):
        assert (fold is None) == (label is None)
        if fold is not None:
            assert 0 <= fold < folds
            of_group[group].add(fold)
    assert all(len(found) == 1 for found in of_group.values())
    assert assign_folds(labels, groups, folds, seed)[0] == assigned


def test_folds_are_stratified_by_label() -> None:
    labels = ["REAL"] * 20 + ["FAKE"] * 80
    folds, _ = assign_folds(list(labels), [str(i) for i in range(100)], 5, 0)
    for fold in range(5):
        inside = [label for label, one in zip(labels, folds, strict=True) if one == fold]
        assert (inside.count("REAL"), inside.count("FAKE")) == (4, 16)


@pytest.mark.parametrize("corpus", ["missing", "empty"])
def test_a_corpus_that_is_not_there_is_one_line_and_leaves_nothing(
    tmp_path: Path, corpus: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["index", "--run", str(tmp_path / "run"), "--corpus", str(tmp_path / corpus)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(tmp_path / corpus) in error
    assert not (tmp_path / "run").exists()


def test_a_run_is_of_one_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        write_part(tmp_path / name, "part", {"a.mp4": fact()})
    run = str(tmp_path / "run")
    assert main(["index", "--run", run, "--corpus", str(tmp_path / "one")]) == 0
    assert main(["index", "--run", run, "--corpus", str(tmp_path / "one")]) == 0
    assert "nothing done" in capsys.readouterr().out
    assert main(["index", "--run", run, "--corpus", str(tmp_path / "two")]) == 2
    assert "use another --run" in capsys.readouterr().err


def test_further_real_videos_are_of_no_fold(tmp_path: Path) -> None:
    write_part(tmp_path / "corpus", "part", {name: fact("FAKE" if name in "ab" else "REAL") for name in "abcd"})
    for name in ("x.mp4", "inner/y.mp4"):
        (tmp_path / "more" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "more" / name).write_text(f"more {name}")
    plain, _ = build_manifest(str(tmp_path / "corpus"), load_config(None, ["index.folds=2"]))
    manifest, _ = build_manifest(
        str(tmp_path / "corpus"), load_config(None, ["index.folds=2", f"index.extra_real={tmp_path / 'more'}"])
    )
    assert manifest.slice(0, 4).equals(plain)
    inner, outer = manifest.slice(4).to_pylist()
    assert (inner["video_id"], inner["part"]) == ("more/inner/y.mp4", "more/inner")
    assert (outer["video_id"], outer["part"]) == ("more/x.mp4", "more")
    assert outer == outer | {"label": "REAL", "fold": -1, "group": "more/x.mp4", "uri": f"{tmp_path}/more/x.mp4", "bytes": 10}


def test_further_videos_of_people_of_the_corpus_are_left_out(tmp_path: Path) -> None:
    write_part(tmp_path / "corpus", "part", {name: fact("FAKE" if name in "ab" else "REAL") for name in "abcd"})
    (tmp_path / "more").mkdir()
    for name in ("x.mp4", "y.mp4", "z.mp4"):
        (tmp_path / "more" / name).write_text(name)
    names = ["part/a", "part/c", "more/x.mp4", "more/y.mp4"]
    vectors = [[1.0, 0.0], [0.0, 1.0], [0.0, 2.0], [-1.0, 0.0]]
    pq.write_table(pa.table({"video_id": names, "vector": vectors}), tmp_path / "people.parquet")
    settings = [f"index.people={tmp_path / 'people.parquet'}", "index.same_person=0.8", f"index.extra_real={tmp_path / 'more'}"]
    manifest, notes = build_manifest(str(tmp_path / "corpus"), load_config(None, ["index.folds=2", *settings]))
    assert manifest.column("video_id").to_pylist()[4:] == ["more/y.mp4", "more/z.mp4"]
    assert "left out: 1 video of index.extra_real, of people who are in the corpus, or copied from it" in notes


@pytest.mark.parametrize("extra", ["missing", "empty", "corpus/part"])
def test_further_real_videos_must_be_there_and_not_in_the_corpus_too(
    tmp_path: Path, extra: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_part(tmp_path / "corpus", "part", {"a.mp4": fact()})
    (tmp_path / "empty").mkdir()
    command = ["index", "--run", str(tmp_path / "run"), "--corpus", str(tmp_path / "corpus")]
    assert main([*command, "--set", f"index.extra_real={tmp_path / extra}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run" / "manifest").exists()


def test_metadata_that_lie_too_deep_are_told_where_the_corpus_is(tmp_path: Path) -> None:
    folder = tmp_path / "corpus" / "unpacked" / "dfdc_train_part_0"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps({"a.mp4": {"label": "REAL"}}))
    (folder / "a.mp4").touch()
    with pytest.raises(CorpusError, match=r"dfdc_train_part_0/metadata\.json is too deep; .* such as .*/corpus/unpacked$"):
        read_entries(str(tmp_path / "corpus"))
    assert [entry.label for entry in read_entries(str(tmp_path / "corpus" / "unpacked"))[0]] == ["REAL"]


def test_metadata_under_a_name_in_capitals_are_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.MP4").touch()
    (tmp_path / "METADATA.JSON").write_text(json.dumps({"a.MP4": fact("FAKE")}))
    assert [(entry.video_id, entry.label) for entry in read_entries(str(tmp_path))[0]] == [("a.MP4", "FAKE")]
