"""What a folder says of its videos, in all the ways in which people write it down."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tempfile
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dfd_ray.cli import main
from dfd_ray.config import load_config
from dfd_ray.corpus.entries import read_entries
from dfd_ray.corpus.manifest import build_manifest
from dfd_ray.errors import CorpusError
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.store.tables import with_metadata

Rows = dict[str, dict[str, Any]]
quick = settings(max_examples=60, deadline=None)

NO_ORIGINALS = ["", "-", "-1", "nan", "NaN", "None", "null", "N/A"]


@contextmanager
def new_folder() -> Iterator[Path]:
    """Make a folder for one example: hypothesis does not make fixtures anew."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def write_videos(root: Path, *names: str) -> None:
    """Write a file under each name, of bytes of its own."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode("utf-8", "surrogateescape"))


def as_csv(columns: list[str], rows: list[list[str]], separator: str = ",") -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerows([columns, *rows])
    return text.getvalue()


def index(root: Path, *changes: str) -> tuple[Rows, list[str]]:
    """Return the rows of the manifest by id, and the notes, each of one line."""
    manifest, notes = build_manifest(str(root), load_config(None, ["index.folds=2", *changes]))
    rows = {row["video_id"]: row for row in manifest.to_pylist()}
    assert len(rows) == len(manifest)
    assert not [note for note in notes if "\n" in note]
    return rows, notes


def refuse(root: Path) -> str:
    """Return the line by which a corpus is refused."""
    with pytest.raises(CorpusError) as refused:
        index(root)
    said = str(refused.value)
    assert "\n" not in said
    assert len(said) < 1000
    return said


def labels_of(rows: Rows) -> dict[str, str | None]:
    return {video_id: row["label"] for video_id, row in rows.items()}


# Originals


@quick
@given(st.lists(st.sampled_from([*NO_ORIGINALS, None, -1, float("nan")]), min_size=4, max_size=8), st.booleans())
def test_a_video_that_has_no_original_shares_none(written: list[Any], as_table: bool) -> None:
    with new_folder() as root:
        names = [f"{number}.mp4" for number in range(len(written))]
        write_videos(root, *names)
        labels = [("REAL", "FAKE")[number % 2] for number in range(len(written))]
        if as_table:
            cells = ["" if value is None else str(value) for value in written]
            rows = [list(row) for row in zip(names, labels, cells, strict=True)]
            (root / "labels.csv").write_text(as_csv(["filename", "label", "original"], rows))
        else:
            facts = {n: {"label": label, "original": o} for n, label, o in zip(names, labels, written, strict=True)}
            (root / "metadata.json").write_text(json.dumps(facts))
        found, notes = index(root)
    assert len({row["group"] for row in found.values()}) == len(names)
    assert {row["fold"] for row in found.values()} == {0, 1}
    assert not [note for note in notes if "original" in note]


SPELLINGS = {
    "as it is": lambda path: path,
    "Windows": lambda path: path.replace("/", "\\"),
    "./": lambda path: f"./{path}",
    "//": lambda path: path.replace("/", "//"),
    "in capitals": lambda path: path.upper(),
    "suffix in capitals": lambda path: f"{path[:-4]}.MP4",
    "decomposed": lambda path: unicodedata.normalize("NFD", path),
}
OF_ORIGINALS = {
    **SPELLINGS,
    "without a suffix": lambda path: path[:-4],
    "another suffix": lambda path: f"{path[:-4]}.avi",
    "without a folder": os.path.basename,
    "a bare name": lambda path: os.path.basename(path)[:-4],
    "with a drive": lambda path: "D:\\data\\" + path.replace("/", "\\"),
    "absolute": lambda path: f"/data/{path}",
    "in a list": lambda path: json.dumps([path]),
    "in a list of Python": lambda path: str([path]),
}


@quick
@given(st.sampled_from(sorted(OF_ORIGINALS)), st.sampled_from(["real", "a/b"]), st.sampled_from(["r0", "Ünique ñame", "12"]))
def test_an_original_links_however_it_is_spelled(spelling: str, folder: str, stem: str) -> None:
    original, others = f"{folder}/{stem}.mp4", ["real/x.mp4", "real/y.mp4", "fake/z.mp4"]
    with new_folder() as root:
        write_videos(root, original, "fake/made.mp4", *others)
        rows = [[original, "0", ""], ["fake/made.mp4", "1", OF_ORIGINALS[spelling](original)]]
        rows += [[name, str(number % 2), ""] for number, name in enumerate(others)]
        (root / "labels.csv").write_text(as_csv(["filename", "label", "original"], rows), encoding="utf-8")
        found, notes = index(root)
    assert found["fake/made.mp4"]["group"] == found[original]["group"]
    assert found["fake/made.mp4"]["fold"] == found[original]["fold"]
    assert len({row["group"] for row in found.values()}) == 4
    assert found["fake/made.mp4"]["originals"] == [original]
    assert not [note for note in notes if "original" in note]


def test_an_original_that_is_absent_is_counted_and_still_links(tmp_path: Path) -> None:
    write_videos(tmp_path, "r.mp4", "a.mp4", "b.mp4", "c.mp4")
    rows = ["r.mp4,0,", "a.mp4,1,gone.mp4", "b.mp4,1,x\\GONE", "c.mp4,1,lost.mp4"]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label,original", *rows]))
    found, notes = index(tmp_path)
    assert found["a.mp4"]["group"] == found["b.mp4"]["group"] != found["c.mp4"]["group"] != found["r.mp4"]["group"]
    assert found["a.mp4"]["originals"] == ["gone.mp4"]
    assert [
        note for note in notes if note.startswith("originals that are not in the corpus: 2, such as 'gone.mp4' of 2 videos; ")
    ]


def test_a_name_that_means_several_originals_joins_all_and_is_told(tmp_path: Path) -> None:
    write_videos(tmp_path, "c23/1.mp4", "c40/1.mp4", "fakes/1.mp4", "c23/2.mp4")
    rows = ["c23/1.mp4,0,", "c40/1.mp4,0,", "c23/2.mp4,0,", "fakes/1.mp4,1,1.mp4"]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label,original", *rows]))
    found, notes = index(tmp_path)
    assert {row["group"] for name, row in found.items() if name != "c23/2.mp4"} == {"c23/1.mp4"}
    assert [
        note for note in notes if "names that mean several originals: 1, such as '1.mp4' ('c23/1.mp4', 'c40/1.mp4')" in note
    ]


def test_a_real_video_that_names_itself_has_no_original(tmp_path: Path) -> None:
    write_videos(tmp_path, "a/1.mp4", "b/1.mp4")
    (tmp_path / "labels.csv").write_text("filename,label,original\na/1.mp4,0,1.mp4\nb/1.mp4,0,1.mp4\n")
    found, _ = index(tmp_path)
    assert [(row["group"], row["originals"]) for row in found.values()] == [("a/1.mp4", None), ("b/1.mp4", None)]


@pytest.mark.parametrize("name", ["a/1.mp4", "1.mp4", "a\\1", "A/1.MP4"])
def test_a_fake_that_names_itself_has_no_original_and_is_told(tmp_path: Path, name: str) -> None:
    write_videos(tmp_path, "a/1.mp4", "b/2.mp4")
    (tmp_path / "labels.csv").write_text(f"filename,label,original\na/1.mp4,1,{name}\nb/2.mp4,0,\n")
    found, notes = index(tmp_path)
    assert found["a/1.mp4"]["originals"] is None
    assert "videos that name themselves as their original: 1, such as 'a/1.mp4'; that is left out" in notes
    assert not [note for note in notes if "not in the corpus" in note]


def test_an_absent_original_called_as_its_fake_is_not_the_fake_itself(tmp_path: Path) -> None:
    write_videos(tmp_path, "fake/1.mp4", "real/2.mp4")
    (tmp_path / "labels.csv").write_text("filename,label,original\nfake/1.mp4,1,real/1.mp4\nreal/2.mp4,0,\n")
    found, notes = index(tmp_path)
    assert found["fake/1.mp4"]["originals"] == ["real/1.mp4"]
    assert [
        note for note in notes if note.startswith("originals that are not in the corpus: 1, such as 'real/1.mp4' of 1 video")
    ]


@pytest.mark.parametrize("name", ["src/s.mp4", "s.mp4", "s"])
def test_an_original_on_disk_that_no_table_names_is_told_as_such(tmp_path: Path, name: str) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4", "r.mp4", "src/s.mp4")
    (tmp_path / "labels.csv").write_text(f"filename,label,original\na.mp4,1,{name}\nb.mp4,1,{name}\nr.mp4,0,\n")
    found, notes = index(tmp_path)
    assert found["a.mp4"]["group"] == found["b.mp4"]["group"]
    assert [note for note in notes if "originals on disk that no table names: 1, such as 'src/s.mp4' of 2 videos; " in note]
    assert not [note for note in notes if "not in the corpus" in note]


def test_a_fake_called_as_its_original_is_linked_to_that_and_not_to_itself(tmp_path: Path) -> None:
    write_videos(tmp_path, "real/1.mp4", "fake/1.mp4")
    (tmp_path / "labels.csv").write_text("filename,label,original\nreal/1.mp4,0,\nfake/1.mp4,1,1.mp4\n")
    found, _ = index(tmp_path)
    assert found["fake/1.mp4"]["group"] == found["real/1.mp4"]["group"]


# Of two columns: where a fake is and what it names as its original; what it is then linked to; and the videos there are.
OF_SEVERAL = {
    "numbered as its source": ("fake/1.mp4", "2.mp4", ["real/2.mp4"], ["fake/2.mp4 1", "real/2.mp4 0"]),
    "in a folder of its own": ("1.mp4", "2.mp4", ["real/2.mp4"], ["2.mp4 1", "real/2.mp4 0"]),
    "without a suffix": ("fake/1.mp4", "2", ["real/2.avi"], ["fake/2.mp4 1", "real/2.avi 0"]),
    "another suffix, and nearer": ("x/f/1.mp4", "2.mp4", ["y/2.mp4"], ["x/2.avi 0", "y/2.mp4 0"]),
    "another suffix in its folder": ("fake/x.mp4", "1.mp4", ["real/1.mp4"], ["fake/1.avi 1", "real/1.mp4 0"]),
    "the same folders": ("fake/c23/1.mp4", "c23/2.mp4", ["real/c23/2.mp4"], ["fake/c23/2.mp4 1", "real/c23/2.mp4 0"]),
    "no label": ("fake/1.mp4", "2.mp4", ["real/2.mp4"], ["fake/2.mp4 1", "real/2.mp4 "]),
    "the label before no label": ("fake/1.mp4", "2.mp4", ["real/2.mp4"], ["a/2.mp4 ", "fake/2.mp4 1", "real/2.mp4 0"]),
    "a part of DFDC": ("p0/1.mp4", "2.mp4", ["p0/2.mp4"], ["p0/2.mp4 0", "p1/2.mp4 0"]),
    "another part of DFDC": ("p0/1.mp4", "2.mp4", ["p1/2.mp4"], ["p0/3.mp4 0", "p1/2.mp4 0"]),
    "a FAKE where there is no other": ("fake/1.mp4", "2.mp4", ["fake/2.mp4"], ["fake/2.mp4 1", "real/3.mp4 0"]),
    "a FAKE by its path": ("fake/1.mp4", "fake/2.mp4", ["fake/2.mp4"], ["fake/2.mp4 1", "real/2.mp4 0"]),
    "two REAL ones": ("f/1.mp4", "2.mp4", ["a/2.mp4", "b/2.mp4"], ["a/2.mp4 0", "b/2.mp4 0", "f/2.mp4 1"]),
}


@pytest.mark.parametrize("case", OF_SEVERAL)
def test_of_several_videos_the_original_is_a_real_one_of_the_name_as_it_is_written(tmp_path: Path, case: str) -> None:
    fake, name, expected, others = OF_SEVERAL[case]
    rows = [[fake, "1", name], *([*other.split(" "), ""] for other in others)]
    write_videos(tmp_path, *(row[0] for row in rows))
    (tmp_path / "labels.csv").write_text(as_csv(["filename", "label", "original"], rows))
    found, notes = index(tmp_path)
    assert found[fake]["originals"] == expected
    assert {name for name, row in found.items() if row["group"] == found[fake]["group"]} == {fake, *expected}
    assert any("several originals" in note for note in notes) == (len(expected) > 1)


@quick
@given(
    st.lists(st.lists(st.integers(0, 7), min_size=0, max_size=3), min_size=2, max_size=12),
    st.sampled_from(["original", "originals", "Originals"]),
    st.sampled_from(["semicolons", "list", "json"]),
)
@example([[0, 3], [3, 0], [5, 6]], "original", "semicolons")
def test_groups_are_the_components_over_all_originals(links: list[list[int]], column: str, written: str) -> None:
    reals = [f"{number:03}.mp4" for number in range(8)]
    fakes = [f"fake_{number}.mp4" for number in range(len(links))]
    with new_folder() as root:
        write_videos(root, *reals, *fakes)
        originals = [[reals[number] for number in numbers] for numbers in links]
        if written == "json":
            facts: dict[str, Any] = {name: {"label": "real"} for name in reals}
            facts |= {name: {"label": "fake", column: names} for name, names in zip(fakes, originals, strict=True)}
            (root / "metadata.json").write_text(json.dumps(facts))
        else:
            cells = [";".join(names) if written == "semicolons" else json.dumps(names) for names in originals]
            rows = [[name, "0", ""] for name in reals]
            rows += [[name, "1", cell] for name, cell in zip(fakes, cells, strict=True)]
            (root / "labels.csv").write_text(as_csv(["filename", "label", column], rows))
        found, _ = index(root)
    expected = {name: {name} for name in (*reals, *fakes)}
    for fake, names in zip(fakes, originals, strict=True):
        for name in names:
            joined = expected[fake] | expected[name]
            expected |= dict.fromkeys(joined, joined)
    assert {name: row["group"] for name, row in found.items()} == {name: min(same) for name, same in expected.items()}
    fold_of = defaultdict(set)
    for row in found.values():
        fold_of[row["group"]].add(row["fold"])
    assert all(len(folds) == 1 for folds in fold_of.values())


def test_a_run_that_was_indexed_with_the_column_original_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The manifest of a version before this one."""
    write_videos(tmp_path / "corpus", "a.mp4")
    fields = [pa.field("original", pa.string()) if field.name == "originals" else field for field in SCHEMAS["manifest"]]
    old = pa.schema([field for field in fields if field.name != "people"])
    uri = str(tmp_path / "corpus" / "a.mp4")
    rows = [{"video_id": "a.mp4", "uri": uri, "label": "FAKE", "original": "b.mp4", "group": "a.mp4", "fold": 0, "bytes": 5}]
    schema = with_metadata(old, "manifest", load_config(), corpus=str(tmp_path / "corpus"))
    (tmp_path / "run" / "manifest").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "run" / "manifest" / "part-0.parquet")
    assert main(["index", "--corpus", str(tmp_path / "corpus"), "--run", str(tmp_path / "run")]) == 0
    assert "already complete; nothing done" in capsys.readouterr().out


# Names


@quick
@given(st.sampled_from(sorted(SPELLINGS)), st.sampled_from(["x/a.mp4", "x/y/É b.mp4", "x/z.MOV"]))
def test_a_name_is_the_file_on_disk_however_it_is_spelled(spelling: str, name: str) -> None:
    with new_folder() as root:
        write_videos(root, name, "x/other.mp4")
        rows = [[SPELLINGS[spelling](name), "FAKE"], ["x/other.mp4", "REAL"]]
        if spelling == "suffix in capitals":
            rows[0][0] = name[:-3] + name[-3:].swapcase()
        (root / "labels.csv").write_text(as_csv(["filename", "label"], rows), encoding="utf-8")
        found, notes = index(root)
    assert labels_of(found) == {name: "FAKE", "x/other.mp4": "REAL"}
    assert found[name]["part"] == os.path.dirname(name)
    assert found[name]["bytes"] == len(name.encode())
    assert notes == []


@quick
@given(st.permutations(sorted(SPELLINGS)), st.integers(2, 4))
def test_a_video_that_is_listed_twice_is_one(spellings: list[str], times: int) -> None:
    name = "x/é.mp4"
    with new_folder() as root:
        write_videos(root, name, "x/other.mp4")
        rows = [[SPELLINGS[spelling](name), "1"] for spelling in spellings[:times]]
        (root / "labels.csv").write_text(as_csv(["filename", "label"], [*rows, ["x/other.mp4", "0"]]), encoding="utf-8")
        found, notes = index(root)
        assert labels_of(found) == {name: "FAKE", "x/other.mp4": "REAL"}
        assert re.match(f"{times - 1} rows? with a video that an earlier row names, such as '", notes[0])
        (root / "labels.csv").write_text(as_csv(["filename", "label"], [*rows, [rows[0][0], "0"]]), encoding="utf-8")
        said = refuse(root)
    assert f"'{name}' is listed twice" in said
    assert repr(rows[0][0]) in said


def test_rows_of_one_video_that_disagree_are_told(tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4")
    rows = ["a.mp4,1,train,x", "./a.mp4,1,test,y", "b.mp4,0,train,", "b.mp4,0,,z"]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label,split,method", *rows]))
    found, notes = index(tmp_path)
    assert [(row["split"], row["method"]) for row in found.values()] == [("train", "x"), ("train", "z")]
    assert "rows that disagree in the split of a video: 1, such as of 'a.mp4' ('train' and 'test'); the first counts" in notes
    assert "rows that disagree in the method of a video: 1, such as of 'a.mp4' ('x' and 'y'); the first counts" in notes


def test_videos_that_are_kept_though_they_are_absent_are_counted(tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4")
    (tmp_path / "labels.csv").write_text("filename,label\na.mp4,1\nb.mp4,0\n")
    assert "1 of 2 videos are listed and not there, such as 'b.mp4'" in index(tmp_path, "index.missing_files=keep")[1]


@pytest.mark.parametrize("other", ["./a.mp4", "x//../a.mp4", "a.mp4"])
def test_a_key_that_json_repeats_is_not_lost(tmp_path: Path, other: str) -> None:
    write_videos(tmp_path, "a.mp4")
    (tmp_path / "metadata.json").write_text(f'{{"a.mp4": {{"label": "REAL"}}, "{other}": {{"label": "FAKE"}}}}')
    assert repr(other) in refuse(tmp_path)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ('"label": "REAL", "label": "FAKE"', "'a.mp4' has 'label' twice, 'REAL' and 'FAKE'"),
        ('"label": "REAL", "Label": "FAKE"', "'a.mp4' has 'label' and 'Label', 'REAL' and 'FAKE'"),
        ('"label": 0, "original": null, "original": "b.mp4"', "'a.mp4' has 'original' twice, None and 'b.mp4'"),
    ],
)
def test_a_key_that_an_entry_repeats_is_refused_where_the_values_differ(tmp_path: Path, facts: str, said: str) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "metadata.json").write_text(f'{{"b.mp4": {{"label": "REAL"}}, "a.mp4": {{{facts}}}}}')
    assert f"metadata.json: {said}; leave the one that is right" in refuse(tmp_path)
    same = '"label": "FAKE", "Label": "FAKE", "note": 1, "note": 2, "original": NaN, "original": NaN'
    (tmp_path / "metadata.json").write_text(f'{{"b.mp4": {{"label": "REAL"}}, "a.mp4": {{{same}}}}}')
    assert labels_of(index(tmp_path)[0]) == {"a.mp4": "FAKE", "b.mp4": "REAL"}


def test_a_column_that_a_table_repeats_is_refused_where_the_values_differ(tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "labels.csv").write_text("filename,label,Label\na.mp4,REAL,REAL\nb.mp4,FAKE,REAL\n")
    assert "labels.csv: line 3 has 'label' and 'Label', 'FAKE' and 'REAL'; leave the one that is right" in refuse(tmp_path)
    (tmp_path / "labels.csv").write_text("filename,label,Label,x,x\na.mp4,REAL,REAL,1,2\nb.mp4,FAKE,FAKE,1,2\n")
    assert labels_of(index(tmp_path)[0]) == {"a.mp4": "REAL", "b.mp4": "FAKE"}


def test_names_that_differ_in_case_alone_are_two_files_where_there_are_two(tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4", "A.mp4")
    (tmp_path / "labels.csv").write_text("filename,label\na.mp4,0\nA.mp4,1\n")
    assert labels_of(index(tmp_path)[0]) == {"a.mp4": "REAL", "A.mp4": "FAKE"}
    (tmp_path / "labels.csv").write_text("filename,label\nA.MP4,0\n")
    assert "'A.MP4' may be 'A.mp4' or 'a.mp4'" in refuse(tmp_path)


def test_bare_names_are_found_below_the_table_unless_there_are_two(tmp_path: Path) -> None:
    write_videos(tmp_path, "test_videos/a.mp4", "test_videos/b.mp4")
    (tmp_path / "labels.csv").write_text("filename,label\na.mp4,0\nb.mp4,1\n")
    assert labels_of(index(tmp_path)[0]) == {"test_videos/a.mp4": "REAL", "test_videos/b.mp4": "FAKE"}
    write_videos(tmp_path, "old/a.mp4")
    assert "'a.mp4' may be 'old/a.mp4' or 'test_videos/a.mp4'; give its path" in refuse(tmp_path)


def test_a_table_in_a_folder_of_its_own_names_paths_from_the_corpus(tmp_path: Path) -> None:
    write_videos(tmp_path, "videos/a.mp4", "videos/deep/b.mp4")
    (tmp_path / "labels").mkdir()
    for names in (["videos/a.mp4", "videos/deep/b.mp4"], ["a.mp4", "b.mp4"]):
        (tmp_path / "labels" / "all.csv").write_text(f"filename,label\n{names[0]},0\n{names[1]},1\n")
        found, notes = index(tmp_path)
        assert labels_of(found) == {"videos/a.mp4": "REAL", "videos/deep/b.mp4": "FAKE"}
    assert "'labels/all.csv' names 2 videos outside of its folder, such as 'videos/a.mp4' by 'a.mp4'" in notes


@pytest.mark.parametrize(("table", "videos"), [("test", "train"), ("test_labels", "x/Train-Videos"), ("val", "training/a")])
def test_a_table_of_one_split_does_not_label_the_videos_of_another(tmp_path: Path, table: str, videos: str) -> None:
    write_videos(tmp_path, f"{videos}/1.mp4", f"{videos}/2.mp4", f"{table}/notes.txt")
    (tmp_path / table / "labels.csv").write_text("filename,label\n1.mp4,1\n2.mp4,0\n3.mp4,1\n")
    said = refuse(tmp_path)
    assert f"{table}/labels.csv: '1.mp4' is not in '{table}', and '{videos}/1.mp4' is of another split; move the table" in said
    (tmp_path / table / "labels.csv").write_text(f"filename,label\n{videos}/1.mp4,1\n{videos}/2.mp4,0\n")
    assert labels_of(index(tmp_path)[0]) == {f"{videos}/1.mp4": "FAKE", f"{videos}/2.mp4": "REAL"}


def test_a_table_of_a_split_labels_videos_of_it_elsewhere(tmp_path: Path) -> None:
    write_videos(tmp_path, "test_videos/1.mp4", "test_videos/2.mp4")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "labels.csv").write_text("filename,label\n1.mp4,1\n2.mp4,0\n")
    assert labels_of(index(tmp_path)[0]) == {"test_videos/1.mp4": "FAKE", "test_videos/2.mp4": "REAL"}


def test_an_absolute_name_counts_where_it_is_in_the_corpus(tmp_path: Path) -> None:
    write_videos(tmp_path, "x/a.mp4")
    (tmp_path / "labels.csv").write_text(f"path,label\n{tmp_path}/x/a.mp4,1\n")
    assert labels_of(index(tmp_path)[0]) == {"x/a.mp4": "FAKE"}
    (tmp_path / "labels.csv").write_text("path,label\n/elsewhere/x/a.mp4,1\n")
    assert "'/elsewhere/x/a.mp4' is not a path in the corpus" in refuse(tmp_path)


NUMBERED = ["0.mp4", "1.mp4", "2.mp4"]


@pytest.mark.parametrize("column", ["video_id", "name", "video", "file"])
def test_a_number_is_no_name_where_another_column_has_one(tmp_path: Path, column: str) -> None:
    write_videos(tmp_path, *NUMBERED)
    table = tmp_path / "labels.csv"
    table.write_text(f"{column},filename,label\n0,2.mp4,FAKE\n1,1.mp4,REAL\n2,gone.mp4,REAL\n")
    assert "1 of 3 videos that the metadata name are absent, such as 'gone.mp4'" in refuse(tmp_path)
    table.write_text(f"{column},filename,label\n0,2.mp4,FAKE\n1,1.mp4,REAL\n2,0.mp4,REAL\n")
    assert labels_of(index(tmp_path)[0]) == {"0.mp4": "REAL", "1.mp4": "REAL", "2.mp4": "FAKE"}
    table.write_text(f"{column},path,label\n0,/kaggle/x/2.mp4,FAKE\n1,/kaggle/x/1.mp4,REAL\n2,/kaggle/x/0.mp4,REAL\n")
    assert "'/kaggle/x/2.mp4' is not a path in the corpus" in refuse(tmp_path)
    table.write_text(f"{column},path,label\n0,/kaggle/x/0.mp4,FAKE\n1,/kaggle/x/1.mp4,REAL\n2,/kaggle/x/2.mp4,REAL\n")
    assert labels_of(index(tmp_path)[0]) == {"0.mp4": "FAKE", "1.mp4": "REAL", "2.mp4": "REAL"}


@pytest.mark.parametrize("names", [["2.mp4", "1.mp4", "0.mp4"], ["2", "1", "0"], ["gone.mp4", "2.mp4", "1.mp4"]])
def test_a_column_for_the_file_counts_before_a_key_that_is_no_name(tmp_path: Path, names: list[str]) -> None:
    """As pandas writes it with orient="index"."""
    write_videos(tmp_path, *NUMBERED)
    rows = {str(number): {"filename": name, "label": number % 2} for number, name in enumerate(names)}
    (tmp_path / "labels.json").write_text(json.dumps(rows))
    found, _ = index(tmp_path, "index.missing_files=keep")
    expected = {f"{name.removesuffix('.mp4')}.mp4": ("REAL", "FAKE")[number % 2] for number, name in enumerate(names)}
    assert labels_of(found) == expected


def test_a_key_counts_where_no_column_has_files(tmp_path: Path) -> None:
    write_videos(tmp_path, *NUMBERED)
    (tmp_path / "labels.json").write_text(json.dumps({str(n): {"name": "Ada", "label": n % 2} for n in range(3)}))
    assert labels_of(index(tmp_path)[0]) == {"0.mp4": "REAL", "1.mp4": "FAKE", "2.mp4": "REAL"}
    facts = {name: {"path": f"/kaggle/x/{name}", "label": 1} for name in NUMBERED}
    (tmp_path / "labels.json").write_text(json.dumps(facts))
    assert set(labels_of(index(tmp_path)[0]).values()) == {"FAKE"}


@pytest.mark.parametrize("fakes", [["fake/1.mp4", "fake/2.mp4"], ["fake/1.mp4"], []])
@pytest.mark.parametrize("as_key", [False, True])
def test_two_columns_that_name_different_files_are_refused(tmp_path: Path, fakes: list[str], as_key: bool) -> None:
    write_videos(tmp_path, "real/1.mp4", "real/2.mp4", *fakes)
    if as_key:
        rows = {f"fake/{number}.mp4": {"video": f"real/{number}.mp4", "label": "FAKE"} for number in (1, 2)}
        (tmp_path / "labels.json").write_text(json.dumps(rows))
    else:
        (tmp_path / "labels.csv").write_text("Filename,Video,label\nfake/1.mp4,real/1.mp4,FAKE\nfake/2.mp4,real/2.mp4,FAKE\n")
    said = refuse(tmp_path)
    assert "name different files, such as '" in said and "rename the column that does not name the video of its row" in said
    assert "'fake/1.mp4'" in said and "'real/1.mp4'" in said
    assert "the key" in said and "'video'" in said if as_key else "'Filename'" in said and "'Video'" in said


def test_two_columns_that_name_the_same_files_are_no_contradiction(tmp_path: Path) -> None:
    write_videos(tmp_path, "x/1.mp4", "x/2.mp4")
    for columns, first in (("filename,path", "1.mp4,x/1.mp4"), ("path,filename", "/data/1.mp4,1.mp4"), ("file,name", "1,x/1")):
        (tmp_path / "labels.csv").write_text(f"{columns},label\n{first},1\n{first.replace('1.', '2.').replace('1', '2')},0\n")
        assert labels_of(index(tmp_path)[0]) == {"x/1.mp4": "FAKE", "x/2.mp4": "REAL"}


@pytest.mark.parametrize(
    "name", ["a\0.mp4", "../a.mp4", "x/../../a.mp4", "..\\a.mp4", "\ud800.mp4", "C:\\a.mp4", "s3://b/a.mp4"]
)
@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_name_that_can_be_none_is_one_line(tmp_path: Path, name: str, kind: str) -> None:
    write_videos(tmp_path, "b.mp4")
    if kind == "json":
        (tmp_path / "metadata.json").write_text(json.dumps({name: {"label": "REAL"}, "b.mp4": {"label": "REAL"}}))
    elif name.isprintable() or "\0" in name:
        (tmp_path / "labels.csv").write_text(f"filename,label\n{name},REAL\nb.mp4,REAL\n")
    else:
        pytest.skip("no file of UTF-8 holds it")
    assert f"{name!r} is not a path in the corpus" in refuse(tmp_path)


# Labels

LABELS = {"REAL": ["REAL", "real", "Real", "0", "0.0", "false", "FALSE"], "FAKE": ["FAKE", "fake", "1", "1.0", "True", "true"]}
FILE_COLUMNS = ["filename", "FileName", "file", "path", "Video", "name", "uri", "file_name"]
LABEL_COLUMNS = ["label", "LABEL", "target", "Class", "is_fake", "Is_Fake"]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]
PLACES = ["labels{}", "LABELS{}", "Test/labels{}", "test/Answers{}", "metadata{}"]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([".csv", ".CSV", ".tsv", ".json", ".jsonl"]),
    st.sampled_from(PLACES),
    st.sampled_from(FILE_COLUMNS),
    st.sampled_from(LABEL_COLUMNS),
    st.sampled_from(ENCODINGS),
    st.sampled_from([",", ";", "\t"]),
    st.lists(st.tuples(st.sampled_from(["REAL", "FAKE"]), st.integers(0, 5)), min_size=2, max_size=5),
)
@example(".csv", "labels{}", "filename", "is_fake", "utf-16", ";", [("REAL", 0), ("FAKE", 1)])
def test_labels_are_read_however_they_are_written(
    suffix: str, place: str, file: str, label: str, encoding: str, separator: str, truth: list[tuple[str, int]]
) -> None:
    names = [f"ä {number};,.mp4" for number in range(len(truth))]
    written = [LABELS[name][number] for name, number in truth]
    rows = [list(row) for row in zip(names, written, strict=True)]
    if suffix == ".json":
        text = json.dumps([dict(zip((file, label), row, strict=True)) for row in rows], ensure_ascii=False)
    elif suffix == ".jsonl":
        text = "\n".join(json.dumps(dict(zip((file, label), row, strict=True))) for row in rows)
    else:
        text = as_csv([file, label], rows, "\t" if suffix == ".tsv" else separator)
    with new_folder() as root:
        table = root / place.format(suffix)
        table.parent.mkdir(exist_ok=True)
        write_videos(table.parent, *names)
        table.write_bytes(text.encode(encoding))
        found, notes = index(root)
        folder = table.parent.relative_to(root)
    assert labels_of(found) == {str(folder / name): label for name, (label, _) in zip(names, truth, strict=True)}
    assert notes == [] or notes[0].startswith("2 folds, not")


@quick
@given(st.sampled_from(["label", "Label", "is_fake", "target"]), st.sampled_from([0, 1, 0.0, 1.0, False, True, "0", "fake"]))
def test_labels_of_metadata_json_are_read(key: str, value: Any) -> None:
    with new_folder() as root:
        (root / "part").mkdir()
        write_videos(root / "part", "a.mp4", "b.mp4")
        facts = {"a.mp4": {key: value, "split": "test", "extra": float("nan")}, "b.mp4": {key: None}}
        (root / "part" / "metadata.json").write_text(json.dumps(facts))
        found, notes = index(root)
    assert labels_of(found) == {"part/a.mp4": "FAKE" if value in (1, "fake") else "REAL", "part/b.mp4": None}
    assert [note for note in notes if note.startswith("1 of 2 videos have no label, such as 'part/b.mp4'")]


def test_a_label_of_nan_is_none(tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "metadata.json").write_text('{"a.mp4": {"label": NaN}, "b.mp4": {"label": "REAL"}}')
    assert labels_of(index(tmp_path)[0]) == {"a.mp4": None, "b.mp4": "REAL"}


@pytest.mark.parametrize("value", ["fakes", "2", "0.5", "-1", "yes", "x" * 140_000])
def test_a_label_that_means_nothing_is_refused_in_one_line(tmp_path: Path, value: str) -> None:
    write_videos(tmp_path, "a.mp4")
    (tmp_path / "labels.csv").write_text(f"filename,label\na.mp4,{value}\n")
    said = refuse(tmp_path)
    assert f"labels.csv: 'a.mp4' has the label {repr(value)[:100]}" in said
    assert "expected REAL or FAKE, 0 (REAL) or 1 (FAKE), false or true" in said


@pytest.mark.parametrize(
    ("columns", "row"), [("label,is_fake", "REAL,1"), ("is_fake,label", "1,REAL"), ("Label,target", "0,1")]
)
def test_columns_for_the_label_that_contradict_each_other_are_refused(tmp_path: Path, columns: str, row: str) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "labels.csv").write_text(f"filename,{columns}\nb.mp4,0,\na.mp4,{row}\n")
    said = refuse(tmp_path)
    assert "'a.mp4' has the label '" in said.replace("Label", "label") and "which contradict each other" in said
    assert all(repr(cell) in said for cell in row.split(","))


def test_a_label_is_in_any_column_for_it(tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    expected = {"a.mp4": "REAL", "b.mp4": "FAKE", "c.mp4": None}
    for cells in (["REAL,0", "FAKE,1", ","], [",0", ",1", ","], ["REAL,", ",1", ","], ["face,0", "swap,1", "face,"]):
        rows = [f"{name},{cell}" for name, cell in zip(expected, cells, strict=True)]
        (tmp_path / "labels.csv").write_text("\n".join(["filename,label,is_fake", *rows]))
        assert labels_of(index(tmp_path)[0]) == expected
    (tmp_path / "labels.csv").unlink()
    facts: dict[str, dict[str, object]] = {"a.mp4": {"label": "REAL"}, "b.mp4": {"is_fake": 1}, "c.mp4": {}}
    (tmp_path / "metadata.json").write_text(json.dumps(facts))
    assert labels_of(index(tmp_path)[0]) == expected


@pytest.mark.parametrize("column", ["target", "class"])
def test_a_column_that_holds_more_than_labels_is_not_one_for_them_beside_another(tmp_path: Path, column: str) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    (tmp_path / "labels.csv").write_text(f"filename,label,{column}\na.mp4,REAL,1\nb.mp4,FAKE,0\nc.mp4,FAKE,7\n")
    assert labels_of(index(tmp_path)[0]) == {"a.mp4": "REAL", "b.mp4": "FAKE", "c.mp4": "FAKE"}


def test_that_no_video_has_a_label_is_told_where_a_table_has_a_column_for_it(tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "labels.csv").write_text("filename,label\na.mp4,\nb.mp4,\n")
    found, notes = index(tmp_path)
    assert set(labels_of(found).values()) == {None}
    assert "no video has a label: 'labels.csv' has a column for it, and that is empty" in notes


def test_a_table_of_videos_without_a_column_for_the_label_is_refused(tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4")
    for text, columns in [("filename,verdict\na.mp4,1\n", "filename, verdict"), ("a.mp4,1\nb.mp4,0\n", "a.mp4, 1"),
                          ("clip,verdict\na.mp4,1\n", "clip, verdict")]:  # fmt: skip
        (tmp_path / "labels.csv").write_text(text)
        assert f"labels.csv: its columns are {columns}; a table of videos needs a column" in refuse(tmp_path)
    (tmp_path / "labels.csv").unlink()
    (tmp_path / "metadata.json").write_text('{"a.mp4": {"verdict": 1}}')
    assert "metadata.json: its columns are verdict; a table of videos needs a column" in refuse(tmp_path)


# Which table


@pytest.mark.parametrize(
    ("other", "text", "why"),
    [
        ("cameras.csv", "camera,lens\n1,2\n", "it has no column for the file"),
        ("sizes.csv", "filename,width\na.mp4,640\n", "it has no column for the label"),
        ("people.csv", "name,class\nAda,1\n", "it names none of the videos"),
        ("settings.json", '{"fps": 25}', "it is no table"),
        ("broken.json", "{", "not JSON"),
        ("latin.csv", "filename,label\n\xff", "not UTF-8"),
    ],
)
@pytest.mark.parametrize("folder", ["", "notes"])
def test_of_two_tables_the_one_about_videos_is_read(tmp_path: Path, other: str, text: str, why: str, folder: str) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "labels.csv").write_text("filename,label\na.mp4,0\nb.mp4,1\n")
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / other).write_text(text, encoding="latin-1")
    found, notes = index(tmp_path)
    assert labels_of(found) == {"a.mp4": "REAL", "b.mp4": "FAKE"}
    place = f"{folder}/{other}".lstrip("/")
    assert [note for note in notes if note.startswith(f"labels are read from 'labels.csv'; '{place}' is not read: {why}")]


def test_two_tables_of_videos_in_one_folder_are_refused(tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "labels.csv").write_text("filename,label\na.mp4,0\nb.mp4,1\n")
    (tmp_path / "more.csv").write_text("filename,label\na.mp4,0\n")
    assert "'labels.csv' and 'more.csv' both hold labels of videos; leave one in the folder" in refuse(tmp_path)


def test_tables_of_several_folders_are_read_together(tmp_path: Path) -> None:
    for number, folder in enumerate(("train", "test")):
        write_videos(tmp_path / folder, "a.mp4")
        (tmp_path / folder / "labels.csv").write_text(f"filename,label,set\na.mp4,{number},{folder}\n")
    found, _ = index(tmp_path)
    assert labels_of(found) == {"test/a.mp4": "FAKE", "train/a.mp4": "REAL"}
    assert [row["split"] for row in found.values()] == ["test", "train"]


def test_tables_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    write_videos(tmp_path / "test", "a.mp4")
    (tmp_path / "labels.csv").write_text("filename,label\ntest/a.mp4,0\n")
    (tmp_path / "test" / "labels.csv").write_text("filename,label\na.mp4,1\n")
    said = refuse(tmp_path)
    assert (
        "'test/a.mp4' is listed twice, as 'test/a.mp4' in 'labels.csv' (REAL) and as 'a.mp4' in 'test/labels.csv' (FAKE)"
        in said
    )


def test_a_table_beside_each_video_is_about_that_video(tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4")
    for name in ("a.json", "b.info.json"):
        (tmp_path / name).write_text('{"filename": {"label": 1}}')
    found, notes = index(tmp_path)
    assert labels_of(found) == {"a.mp4": None, "b.mp4": None}
    assert notes == ["left out: 2 files of kinds that are not read: 2 .json, such as 'a.json'"]


@pytest.mark.parametrize("table", ["test.csv", "test.json"])
def test_a_table_named_as_a_video_is_read_if_it_is_the_only_one_and_names_several(tmp_path: Path, table: str) -> None:
    write_videos(tmp_path, "test.mp4", "b.mp4")
    rows = {"test.mp4": {"label": "FAKE"}, "b.mp4": {"label": "REAL"}}
    csv_of = "\n".join(["filename,label", *(f"{name},{row['label']}" for name, row in rows.items())])
    (tmp_path / table).write_text(json.dumps(rows) if table.endswith(".json") else csv_of)
    assert labels_of(index(tmp_path)[0]) == {"b.mp4": "REAL", "test.mp4": "FAKE"}
    (tmp_path / "labels.csv").write_text("filename,label\ntest.mp4,0\n")
    assert labels_of(index(tmp_path)[0]) == {"test.mp4": "REAL"}
    (tmp_path / "labels.csv").unlink()
    (tmp_path / table).write_text(json.dumps({"test.mp4": {"label": 1}}) if table.endswith(".json") else csv_of[:29])
    assert set(labels_of(index(tmp_path)[0]).values()) == {None}


def test_labels_that_are_too_deep_are_told(tmp_path: Path) -> None:
    write_videos(tmp_path, "x/y/a.mp4")
    (tmp_path / "x/y/Labels.csv").write_text("filename,label\na.mp4,1\n")
    assert f"x/y/Labels.csv is too deep; --corpus is the folder above the parts, such as {tmp_path}/x" in refuse(tmp_path)
    (tmp_path / "labels.csv").write_text("filename,label\nx/y/a.mp4,0\n")
    note = "labels are read from 'labels.csv'; 'x/y/Labels.csv' is not read: it is deeper than one folder"
    assert note in index(tmp_path)[1]


# Files that no reader expects


@pytest.mark.parametrize("extra", ["y" * 140_000, "a\0b", 'quotes "" and\nlines'])
def test_a_long_field_or_a_nul_is_read(tmp_path: Path, extra: str) -> None:
    write_videos(tmp_path, "a.mp4")
    (tmp_path / "labels.csv").write_text(f'filename,label,about\na.mp4,1,"{extra}"\n')
    assert labels_of(index(tmp_path)[0]) == {"a.mp4": "FAKE"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("filename,label\na,b.mp4,1\n", "line 2 has 3 fields, the header 2"),
        ('filename,label\n"a.mp4,1\n', "line 2: unexpected end of data; expected CSV"),
        ("filename,label\n", "no video in it; a table of labels has a row for each"),
        ("filename,label\n,1\n", "row 1 names no file"),
    ],
)
def test_a_table_that_is_cut_or_shifted_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    write_videos(tmp_path, "a.mp4")
    (tmp_path / "labels.csv").write_text(text)
    assert said in refuse(tmp_path)


HEADERS = ["", "filename,label\n", "filename;label;original\n", "\ufefffile\tclass\n", "[", "{", '{"a.mp4": {"label": ']


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["labels.csv", "labels.tsv", "labels.json", "labels.jsonl", "metadata.json"]),
    st.sampled_from(HEADERS),
    st.one_of(
        st.text(alphabet='a.mp4,;\t\n\r"01\0\\/:{}[]NaN-é', max_size=80).map(str.encode),
        st.binary(max_size=40),
        st.just(b"a.mp4," + b"[" * 100_000),
        st.just(b"a.mp4," + b'"' + b"z" * 140_000),
        st.just(b"a\0.mp4,1\n"),
    ),
)
def test_whatever_a_table_holds_it_is_read_or_refused_in_one_line(name: str, header: str, content: bytes) -> None:
    with new_folder() as root:
        write_videos(root, "a.mp4")
        (root / name).write_bytes(header.encode() + content)
        try:
            found, _ = index(root, "index.missing_files=keep")
        except CorpusError as error:
            assert "\n" not in " ".join(str(error).split())
        else:
            assert found
            SCHEMAS["manifest"].empty_table()


# What is left out

KINDS = [".mp4", ".wav", ".WAV", ".jpg", ".mp3", ".swf", ".rm", ".webp", ".png", ".txt", ""]
HIDDEN = [".hidden.mp4", "Thumbs.db", ".DS_Store", "__MACOSX/._a.mp4", ".git/config"]


@quick
@given(
    st.lists(st.tuples(st.sampled_from(["", "x/", "x/y/"]), st.sampled_from(KINDS)), max_size=12),
    st.sets(st.sampled_from(HIDDEN)),
    st.booleans(),
)
@example([("", ".wav"), ("x/", ".wav"), ("x/", ".jpg"), ("", ".mp4")], {"Thumbs.db"}, False)
def test_every_file_is_a_row_or_counted(kinds: list[tuple[str, str]], hidden: set[str], labelled: bool) -> None:
    names = [f"{folder}{number}{suffix}" for number, (folder, suffix) in enumerate(kinds)]
    with new_folder() as root:
        write_videos(root, "first.mp4", *names, *hidden)
        if labelled:
            (root / "labels.csv").write_text("filename,label\nfirst.mp4,1\n")
        found, notes = index(root)
    text = "; ".join(notes)
    others = [name for name in names if not name.endswith(".mp4")]
    without = [name for name in names if name.endswith(".mp4")]
    counted = re.search(r"left out: (\d+) files? of kinds that are not read: ", text)
    assert int(counted[1] if counted else 0) == len(others)
    shown = Counter(os.path.splitext(name)[1].lower() or "without a suffix" for name in others)
    for kind, count in shown.items():
        assert re.search(rf"\b{count} {re.escape(kind)}, such as '", text)
    counted = re.search(r"left out: (\d+) hidden files?, such as '", text)
    assert int(counted[1] if counted else 0) == len(hidden)
    assert len(found) == 1 + (0 if labelled else len(without))
    if labelled and without:
        assert f"left out: {len(without)} video" in text and "that no table names" in text


# What else a table may say


def test_groups_people_splits_and_methods_are_read(tmp_path: Path) -> None:
    write_videos(tmp_path, *(f"{number}.mp4" for number in range(7)))
    lines = [
        "filename,label,group,person,set,method",
        "0.mp4,0,one,,train,",
        "1.mp4,1,one,,train,swap",
        "2.mp4,0,,id0,test,-",
        "3.mp4,1,,id0;id1,test,swap",
        "4.mp4,0,,id1,test,",
        "5.mp4,0,id1,nan,,",
        "6.mp4,1,,,,",
    ]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    found, _ = index(tmp_path)
    rows = list(found.values())
    assert [row["group"][0] for row in rows] == list("0022256")
    assert [row["people"] for row in rows] == [None, None, ["id0"], ["id0", "id1"], ["id1"], None, None]
    assert [row["split"] for row in rows] == ["train", "train", "test", "test", "test", None, None]
    assert [row["method"] for row in rows] == [None, "swap", None, "swap", None, None, None]


IDENTITIES: dict[str, list[str]] = {
    "id1;id2": ["id1", "id2"],
    '["id1", "id2"]': ["id1", "id2"],
    "['id1', 'id2']": ["id1", "id2"],
    "('id1', 'id2')": ["id1", "id2"],
    "{'id1', 'id2'}": ["id1", "id2"],
    "['id1' 'id2']": ["id1", "id2"],
    "['id1'\n 'id2']": ["id1", "id2"],
    "['id1', nan]": ["id1"],
    "['id1', None]": ["id1"],
    '["id1", NaN]': ["id1"],
    '["Doe, Jane"]': ["Doe, Jane"],
    "[12, 13]": ["12", "13"],
    "[12 13]": ["12", "13"],
    "[12. 13.]": ["12", "13"],
    "12.0": ["12"],
    "12": ["12"],
    "12.5": ["12.5"],
    "ID1": ["ID1"],
    "(a) b": ["(a) b"],
    "[]": [],
    "[nan]": [],
    **{text: [] for text in ("unknown", "Unknown", "none", "nan", "n/a", "-", "?", "-1", "")},
}


@pytest.mark.parametrize("column", ["person", "group"])
@pytest.mark.parametrize("cell", IDENTITIES)
def test_people_and_groups_are_read_however_they_are_written(column: str, cell: str, tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "labels.csv").write_text(as_csv(["filename", "label", column], [["a.mp4", "0", cell], ["b.mp4", "1", ""]]))
    [entry, _] = read_entries(str(tmp_path))[0]
    assert list(entry.people if column == "person" else entry.groups) == IDENTITIES[cell]


@pytest.mark.parametrize("column", ["person", "group"])
@pytest.mark.parametrize("cell", ["id1, id2", "[id1, id2]", "[id1 id2]", "['id1' ... 'id2']", "[np.str_('id1')]", "{'id1': 1}"])
def test_what_may_be_several_people_is_no_new_one(column: str, cell: str, tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "labels.csv").write_text(as_csv(["filename", "label", column], [["a.mp4", "0", cell], ["b.mp4", "1", "id1"]]))
    assert f"'a.mp4' has the {column} {cell!r}; expected a name, or several by ';' or as a list" in refuse(tmp_path)


@pytest.mark.parametrize(("cell", "sources"), [("['a.mp4' 'b.mp4']", "ab"), ("('a.mp4', 'b.mp4')", "ab"), ("(1)", "(")])
def test_a_list_of_originals_is_read_and_a_name_in_brackets_is_a_name(cell: str, sources: str, tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4", "(1).mp4", "1.mp4", "f.mp4")
    rows = [*([name, "0", ""] for name in ("a.mp4", "b.mp4", "(1).mp4", "1.mp4")), ["f.mp4", "1", cell]]
    (tmp_path / "labels.csv").write_text(as_csv(["filename", "label", "original"], rows))
    assert [name[0] for name in index(tmp_path)[0]["f.mp4"]["originals"]] == list(sources)


def test_numbers_that_pandas_wrote_as_fractions_mean_the_same(tmp_path: Path) -> None:
    write_videos(tmp_path, "71.mp4", "72.mp4", "a.mp4", "b.mp4")
    rows = ["71.mp4,0,,12", "72.mp4,0,,13.0", "a.mp4,1,71.0,", "b.mp4,1,,13"]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label,original,person", *rows]))
    found, _ = index(tmp_path)
    assert [row["group"] for row in found.values()] == ["71.mp4", "72.mp4", "71.mp4", "72.mp4"]


def test_people_and_groups_that_a_corpus_names_are_counted(tmp_path: Path) -> None:
    write_videos(tmp_path, *(f"{number}.mp4" for number in range(5)))
    lines = ["0.mp4,0,id1,g", "1.mp4,1,ID1;id2,", "2.mp4,0,id2,", "3.mp4,1,id2,h", "4.mp4,0,,h"]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label,person,group", *lines]))
    _, notes = index(tmp_path)
    assert (
        "people that the corpus names: 3, the largest 'id2' of 3 videos; 'id1' and 'ID1' differ in case alone and count as two"
        in notes
    )
    assert "groups that the corpus names: 2, the largest 'h' of 2 videos" in notes


@pytest.mark.parametrize(
    ("column", "kind"),
    [("persons", "people"), ("Person ID", "people"), ("identity", "people"), ("target_id", "people"), ("swapped_id", "people"),
     ("groups", "groups"), ("group_id", "groups"), ("GroupID", "groups")],
)  # fmt: skip
def test_names_of_columns_that_can_only_mean_one_thing_are_read(tmp_path: Path, column: str, kind: str) -> None:
    write_videos(tmp_path, *(f"{number}.mp4" for number in range(4)))
    (tmp_path / "labels.csv").write_text(f"filename,label,{column}\n0.mp4,0,x\n1.mp4,1,x\n2.mp4,0,y\n3.mp4,1,y\n")
    found, notes = index(tmp_path)
    assert [row["group"][0] for row in found.values()] == list("0022")
    assert [row["people"] for row in found.values()] == ([["x"], ["x"], ["y"], ["y"]] if kind == "people" else [None] * 4)
    assert not [note for note in notes if "not read" in note]


def test_people_whose_face_was_put_in_are_joined_where_enough_groups_are_left(tmp_path: Path) -> None:
    names = [f"{number}.mp4" for number in range(12)]
    write_videos(tmp_path, *names)
    rows = [[name, "0", str(number), ""] for number, name in enumerate(names[:6])]
    rows += [[name, "1", str(number), str((number + 1) % 6)] for number, name in enumerate(names[6:])]
    (tmp_path / "labels.csv").write_text(as_csv(["filename", "label", "target_id", "Swapped ID"], rows))
    found, notes = index(tmp_path)
    assert len({row["group"] for row in found.values()}) == 6
    assert [row["people"] for row in found.values()][-1] == ["3", "4"]
    assert [note for note in notes if note.startswith("people: joining all of them would turn 6 groups into 1")]
    assert len({row["group"] for row in index(tmp_path, "index.join_people=all")[0].values()}) == 1


def test_rows_of_one_video_add_up_who_is_in_it(tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4")
    rows = ["a.mp4,1,x,y", "a.mp4,1,y,z", "b.mp4,0,w;v,v"]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label,person,swapped_id", *rows]))
    one, other = read_entries(str(tmp_path))[0]
    assert (one.people, one.swapped) == (("x", "y", "z"), ("z",))
    assert (other.people, other.swapped) == (("w", "v"), ())


def test_columns_that_are_not_read_are_told_once(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_videos(tmp_path, f"{folder}/0.mp4", f"{folder}/1.mp4")
        lines = [",filename,label,source,Orginal,empty,video_id", "0,0.mp4,0,,,,5", "1,1.mp4,1,0.mp4,0.mp4,-,6"]
        (tmp_path / folder / "labels.csv").write_text("\n".join(lines))
    _, notes = index(tmp_path)
    assert [note for note in notes if "columns" in note] == [
        "columns that are not read: 4, such as 'source', 'Orginal', 'video_id'"
    ]


def test_dfdc_has_no_column_that_is_not_read(tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4", "b.mp4")
    facts = {"label": "FAKE", "split": "train", "original": "b.mp4", "method": "swap"}
    (tmp_path / "metadata.json").write_text(json.dumps({"a.mp4": facts, "b.mp4": {"label": "REAL", "split": "train"}}))
    assert not [note for note in index(tmp_path)[1] if "columns" in note]


# Copies


@quick
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["0", "1", ""])), min_size=2, max_size=10), st.booleans())
def test_files_of_the_same_bytes_are_in_one_group(files: list[tuple[int, str]], large: bool) -> None:
    names = [f"{'train' if number % 2 else 'test'}/{number}.mp4" for number in range(len(files))]
    contents = [b"", b"aaaa", b"bbbb", b"cc"] if not large else [b"", b"a" * 70_000, b"a" * 69_999 + b"b", b"c" * 60_000]
    with new_folder() as root:
        write_videos(root, *names)
        for name, (content, _) in zip(names, files, strict=True):
            (root / name).write_bytes(contents[content])
        lines = [f"{name},{label}" for name, (_, label) in zip(names, files, strict=True)]
        (root / "labels.csv").write_text("\n".join(["filename,label", *lines]))
        found, notes = index(root)
    same: dict[int, list[str]] = defaultdict(list)
    for name, (content, _) in zip(names, files, strict=True):
        same[content].append(name)
    expected = {name: min(same[content]) if content else name for name, (content, _) in zip(names, files, strict=True)}
    assert {name: row["group"] for name, row in found.items()} == expected
    more = sum(len(copies) - 1 for content, copies in same.items() if content)
    text = "; ".join(notes)
    assert [int(number) for number in re.findall(r"the same bytes under another name: (\d+)", text)] == ([more] if more else [])
    unlike = [
        content for content, copies in same.items() if content and {"REAL", "FAKE"} <= {found[c]["label"] for c in copies}
    ]
    assert [int(number) for number in re.findall(r"copies with different labels: of (\d+)", text)] == (
        [len(unlike)] if unlike else []
    )


def test_a_copy_among_further_real_videos_is_left_out(tmp_path: Path) -> None:
    write_videos(tmp_path / "corpus", "a.mp4", "b.mp4", "c.mp4", "d.mp4")
    (tmp_path / "corpus" / "labels.csv").write_text("filename,label\na.mp4,0\nb.mp4,1\nc.mp4,0\nd.mp4,1\n")
    write_videos(tmp_path / "more", "x.mp4", "y.mp4", "z.png")
    (tmp_path / "more" / "y.mp4").write_bytes(b"b.mp4")
    found, notes = index(tmp_path / "corpus", f"index.extra_real={tmp_path / 'more'}")
    assert [name for name in found if name.startswith("more/")] == ["more/x.mp4"]
    assert [note for note in notes if "'b.mp4' (FAKE)" in note or "('more/y.mp4' (REAL)" in note]
    assert "of index.extra_real left out: 1 file of kinds that are not read: 1 .png, such as 'z.png'" in notes


@pytest.mark.parametrize("name", ["youtube/001.mp4", "001.mp4", "001", "data\\youtube\\001.MP4"])
def test_a_source_among_further_real_videos_is_left_out(tmp_path: Path, name: str) -> None:
    write_videos(tmp_path / "corpus", "fake/a.mp4", "fake/b.mp4", "fake/001.mp4", "real/x.mp4", "real/y.mp4")
    rows = [f"fake/a.mp4,1,{name}", f"fake/b.mp4,1,{name}", "fake/001.mp4,1,", "real/x.mp4,0,", "real/y.mp4,0,"]
    (tmp_path / "corpus" / "labels.csv").write_text("\n".join(["filename,label,original", *rows]))
    write_videos(tmp_path / "youtube", "001.mp4", "002.mp4")
    found, notes = index(tmp_path / "corpus", f"index.extra_real={tmp_path / 'youtube'}")
    assert [video_id for video_id in found if video_id.startswith("youtube/")] == ["youtube/002.mp4"]
    assert found["fake/a.mp4"]["originals"] == ["youtube/001.mp4"]
    assert found["fake/a.mp4"]["group"] == found["fake/b.mp4"]["group"] != found["fake/001.mp4"]["group"]
    assert [note for note in notes if note.startswith("left out: 1 video of index.extra_real")]
    assert not [note for note in notes if "not in the corpus" in note]


def test_a_source_in_the_corpus_counts_before_one_among_further_videos(tmp_path: Path) -> None:
    write_videos(tmp_path / "corpus", "fake/a.mp4", "real/1.mp4", "real/2.mp4")
    rows = "filename,label,original\nfake/a.mp4,1,1.mp4\nreal/1.mp4,0,\nreal/2.mp4,0,\n"
    (tmp_path / "corpus" / "labels.csv").write_text(rows)
    write_videos(tmp_path / "more", "1.mp4")
    found, _ = index(tmp_path / "corpus", f"index.extra_real={tmp_path / 'more'}")
    assert found["fake/a.mp4"]["originals"] == ["real/1.mp4"]
    assert "more/1.mp4" in found


def test_a_link_out_of_the_corpus_is_compared_only_if_links_are_followed(tmp_path: Path) -> None:
    write_videos(tmp_path / "corpus", "a.mp4", "c.mp4")
    (tmp_path / "secret").write_bytes(b"a.mp4")
    (tmp_path / "corpus" / "b.mp4").symlink_to(tmp_path / "secret")
    assert index(tmp_path / "corpus")[0]["b.mp4"]["group"] == "b.mp4"
    assert index(tmp_path / "corpus", "preprocess.follow_links=true")[0]["b.mp4"]["group"] == "a.mp4"


def test_the_download_of_dfdc_from_kaggle_is_read(tmp_path: Path) -> None:
    """Labels of the sample for training, videos without labels beside it, and a submission that names these."""
    write_videos(tmp_path, "train_sample_videos/a.mp4", "train_sample_videos/b.mp4", "test_videos/c.mp4")
    facts = {"a.mp4": {"label": "REAL", "split": "train"}, "b.mp4": {"label": "FAKE", "split": "train", "original": "a.mp4"}}
    (tmp_path / "train_sample_videos" / "metadata.json").write_text(json.dumps(facts))
    (tmp_path / "sample_submission.csv").write_text("filename,label\nc.mp4,0.5\n")
    found, notes = index(tmp_path)
    assert labels_of(found) == {"train_sample_videos/a.mp4": "REAL", "train_sample_videos/b.mp4": "FAKE"}
    assert "left out: 1 video that no table names, such as 'test_videos/c.mp4'" in notes
    assert [note for note in notes if "'sample_submission.csv' is not read: its column for the label holds none" in note]


def test_of_many_tables_in_a_folder_only_those_named_as_labels_are_read(tmp_path: Path) -> None:
    write_videos(tmp_path, "a.mp4")
    for number in range(60):
        (tmp_path / f"{number}.csv").write_text("filename,label\na.mp4,1\n")
    (tmp_path / "Labels.CSV").write_text("filename,label\na.mp4,0\n")
    found, notes = index(tmp_path)
    assert labels_of(found) == {"a.mp4": "REAL"}
    assert [note for note in notes if "'0.csv' (and 59 more) is not read: it is one of more than 50 tables" in note]
