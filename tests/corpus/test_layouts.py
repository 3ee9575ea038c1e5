"""Which layout a corpus is taken for, and what overrides the guess."""

from __future__ import annotations

import json
import random
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_ray.cli import main
from dfd_ray.config import load_config
from dfd_ray.corpus.dfdc_test import NAME as DFDC_TEST
from dfd_ray.corpus.entries import read_entries
from dfd_ray.corpus.layouts import CLASS_FOLDERS, DATA_SETS
from dfd_ray.errors import DfdError
from dfd_ray.pipelines.prerequisites import describe_changed_corpus
from dfd_ray.sections import Index
from dfd_ray.store.run import Run
from dfd_ray.store.tables import METADATA_KEY

ROOT = Path(__file__).parents[2]
Plant = Callable[..., Path]
FORENSICS = ["original/000.mp4", "original/003.mp4", "Deepfakes/000_003.mp4", "Deepfakes/003_000.mp4"]
CELEBRITIES = ["Celeb-real/id0_0000.mp4", "Celeb-synthesis/id0_id1_0000.mp4"]
FAKE_VOICES = ["RealVideo-RealAudio/African/men/id1/0.mp4", "FakeVideo-FakeAudio/African/men/id1/0_id2.mp4"]
CLASSES = ["real/a.mp4", "fake/b.mp4"]
TREES = {"faceforensics": FORENSICS, "celeb_df": CELEBRITIES, "fakeavceleb": FAKE_VOICES, "class_folders": CLASSES}


def test_every_layout_has_a_name_in_the_setting_and_a_row_on_its_page() -> None:
    names = {layout.setting for layout in (*DATA_SETS, CLASS_FOLDERS)}
    assert set(get_args(Index.model_fields["layout"].annotation)) == {"auto", "none", "dfdc_test", *names}
    page = (ROOT / "docs/data-sets.md").read_text(encoding="utf-8")
    for name in (*names, "dfdc_test", "none"):
        assert f"`{name}`" in page


@pytest.mark.parametrize("name", TREES)
def test_the_setting_names_it_or_turns_it_off(plant: Plant, index_tree: Any, refuse_tree: Any, name: str) -> None:
    root = plant(*TREES[name])
    assert index_tree(root, f"index.layout={name}").rows == index_tree(root).rows
    assert set(index_tree(root, "index.layout=none").column("label").values()) == {None}
    for other in {*TREES, "dfdc_preview", "dfdc_test"} - {name}:
        assert refuse_tree(root, f"index.layout={other}").startswith(f"index.layout = {other}: {root} ")


@pytest.mark.parametrize(
    ("one", "other"), [("faceforensics", "celeb_df"), ("celeb_df", "fakeavceleb"), ("faceforensics", "fakeavceleb")]
)
def test_two_data_sets_in_one_folder_are_one_line(
    plant: Plant, index_tree: Any, refuse_tree: Any, one: str, other: str
) -> None:
    root = plant(*(f"a/{name}" for name in TREES[one]), *(f"b/{name}" for name in TREES[other]))
    said = refuse_tree(root)
    assert " in 'a' and " in said and " in 'b'; --corpus is one of them, or --set index.layout=" in said
    found = index_tree(root, f"index.layout={other}")
    assert set(found.rows) == {f"b/{name}" for name in TREES[other]}
    assert found.notes_on(f"left out: {len(TREES[one])} videos outside ")


def test_a_data_set_beside_labelled_videos_is_one_line(
    plant: Plant, index_tree: Any, refuse_tree: Any, write_text: Any
) -> None:
    root = plant(*CELEBRITIES, "dfdc_train_part_0/a.mp4")
    write_text(root, "dfdc_train_part_0/metadata.json", {"a.mp4": {"label": "REAL"}})
    said = refuse_tree(root)
    assert "it holds Celeb-DF, and 'dfdc_train_part_0/metadata.json' has labels of other videos" in said
    assert set(index_tree(root, "index.layout=celeb_df").rows) == set(CELEBRITIES)
    assert set(index_tree(root, "index.layout=none").rows) == {"dfdc_train_part_0/a.mp4"}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("seed", range(4))
def test_every_file_is_a_row_or_counted(plant: Plant, index_tree: Any, name: str, seed: int) -> None:
    draw = random.Random(seed)
    strays = ["extra/talk.mp4", "notes.txt", "x/0.png", "x/1.png", ".hidden", "Thumbs.db", "y/trailer.avi"]
    names = [*TREES[name], *draw.sample(strays, draw.randint(0, len(strays)))]
    found = index_tree(plant(*names))
    counted = sum(int(number) for note in found.notes for number in re.findall(r"^left out: (\d+) ", note))
    assert set(found.rows) <= set(names)
    assert len(found.rows) + counted == len(names)


def test_a_data_set_beside_class_folders_is_one_line(plant: Plant, index_tree: Any, refuse_tree: Any) -> None:
    root = plant(*CELEBRITIES, *(f"more/{name}" for name in CLASSES))
    assert "it holds Celeb-DF and class folders of other videos in 'more'; --corpus is one of them" in refuse_tree(root)
    assert set(index_tree(root, "index.layout=celeb_df").rows) == set(CELEBRITIES)
    assert index_tree(root, "index.layout=class_folders").column("label")["more/real/a.mp4"] == "REAL"


def test_a_table_of_the_data_sets_own_videos_is_not_read_and_told(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant(*CELEBRITIES)
    write_text(root, "labels.csv", "filename,label\nCeleb-real/id0_0000.mp4,1\n")
    found = index_tree(root)
    assert found.column("label")["Celeb-real/id0_0000.mp4"] == "REAL"
    assert found.notes_on("labels are those of Celeb-DF; 'labels.csv' is not read: --set index.layout=none reads tables")
    assert not found.notes_on("kinds that are not read")
    assert index_tree(root, "index.layout=none").column("label") == {"Celeb-real/id0_0000.mp4": "FAKE"}


def test_a_table_that_names_nothing_in_the_folder_is_told(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant("real/a.mp4", "fake/b.mp4")
    write_text(root, "labels.csv", "filename,label\nx.mp4,1\n")
    with pytest.raises(Exception, match="absent"):
        index_tree(root)
    assert index_tree(root, "index.layout=class_folders").column("label") == {"fake/b.mp4": "FAKE", "real/a.mp4": "REAL"}


@pytest.mark.parametrize(
    ("names", "layout"),
    [(["a.mp4"], "videos without labels"), (["x/a.mp4"], "labels of 'labels.csv'"), (["test_videos/a.mp4"], DFDC_TEST)],
)
def test_the_layout_is_said_of_every_corpus(
    plant: Plant, index_tree: Any, write_text: Any, names: list[str], layout: str
) -> None:
    root = plant(*names)
    if layout != "videos without labels":
        write_text(root, "labels.csv", f"filename,label\n{names[0]},1\n")
    assert index_tree(root).layout == layout


LISTS = {
    "faceforensics": "splits/train.json",
    "celeb_df": "List_of_testing_videos.txt",
    "fakeavceleb": "meta_data.csv",
    "dfdc_preview": "dataset.json",
}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(LISTS)),
    st.one_of(
        st.binary(max_size=60),
        st.text(alphabet='idS_0149 /\\\n\r\t,[]{}":.mp4-é\0\u2028', max_size=80).map(str.encode),
        st.just(b'[["000", "003"], [' + b"9" * 5000 + b', "1"]]'),
        st.just(b"[" * 100_000),
        st.just(b"1 " + b"x" * 140_000),
        st.just(b'{"original_videos/1/a.mp4": {"label": "real", "target_id": "\\ud800", "swapped_id": []}}'),
    ),
    st.sampled_from(
        [b"", b"\xef\xbb\xbf", b"source,target1,target2,method,path,\n", b'{"a.mp4": {"target_id": 1, "swapped_id": ']
    ),
)
def test_whatever_a_list_holds_it_is_read_or_refused_in_one_line(name: str, content: bytes, head: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for path in TREES.get(name, ["original_videos/1/a.mp4"]):
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_text(path)
        (Path(folder) / LISTS[name]).parent.mkdir(exist_ok=True)
        (Path(folder) / LISTS[name]).write_bytes(head + content)
        try:
            _, notes = read_entries(folder)
        except DfdError as error:
            notes = [str(error)]
        assert not [note for note in notes if len(note.splitlines()) != 1 or len(note) > 2000]


def command(root: Path, run: Path, *settings: str) -> list[str]:
    return ["index", "--corpus", str(root), "--run", str(run), *(part for one in settings for part in ("--set", one))]


def test_the_summary_names_the_layout_and_a_changed_list_is_noticed(
    plant: Plant, tmp_path: Path, write_text: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    root = plant(*CELEBRITIES)
    write_text(root, "List_of_testing_videos.txt", "1 Celeb-real/id0_0000.mp4\n")
    run = tmp_path / "run"
    for _ in range(2):
        assert main(command(root, run)) == 0
        assert "  layout   " in (said := capsys.readouterr().out)
        assert "Celeb-DF, official split: 1/1 videos to train and test" in said
    assert "already complete; nothing done" in said
    assert json.loads((run / "summaries" / "index.json").read_text())["layout"].startswith("Celeb-DF")
    write_text(root, "List_of_testing_videos.txt", "0 Celeb-synthesis/id0_id1_0000.mp4\n")
    assert main(command(root, run)) == 2
    assert "the splits of 2 of 2 videos differ" in capsys.readouterr().err
    assert main(command(root, run, "index.layout=none")) == 2
    assert "was made with index.layout = 'auto', not 'none'" in capsys.readouterr().err


def test_a_run_of_a_version_that_knew_no_layout_stays_as_it_is(
    plant: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run = plant(*CELEBRITIES), tmp_path / "run"
    assert main(command(root, run, "index.layout=none")) == 0
    path = run / "manifest" / "part-0.parquet"
    rows = pq.read_table(path)
    stored = json.loads(rows.schema.metadata[METADATA_KEY])
    for setting in ("index.layout", "index.join_people"):
        del stored["configuration"][setting]
    stored["fingerprint"] = "of that version"
    del stored["layout"]
    pq.write_table(rows.replace_schema_metadata({METADATA_KEY: json.dumps(stored)}), path)
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("  layout: none\n", "").replace("  join_people: auto\n", ""))
    capsys.readouterr()
    assert main(command(root, run)) == 0
    assert "already complete; nothing done" in capsys.readouterr().out


def test_an_unknown_layout_is_one_line(plant: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(plant("a.mp4"), tmp_path / "run", "index.layout=ffpp")) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "index.layout = 'ffpp'" in error and "faceforensics" in error


NO_FILES = {
    "faceforensics": ("original/071.mp4", "Deepfakes/071_054.mp4"),
    "celeb_df": ("Celeb-real/id7_0000.mp4", "Celeb-synthesis/id7_id1_0000.mp4"),
    "fakeavceleb": ("RealVideo-RealAudio/African/men/id7/0.mp4", "FakeVideo-FakeAudio/African/men/id7/0_id2.mp4"),
    "class_folders": ("real/x.mp4", "fake/x.mp4"),
}


@pytest.mark.parametrize("name", TREES)
def test_names_of_no_file_are_told_and_are_no_videos(plant: Plant, index_tree: Any, name: str) -> None:
    root = plant(*TREES[name])
    before = index_tree(root)
    link, folder = (root / one for one in NO_FILES[name])
    for one in (link, folder):
        one.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(root / "gone.mp4")
    folder.mkdir()
    found = index_tree(root)
    assert found.rows == before.rows
    assert found.layout == before.layout
    assert found.notes_on("left out: 2 names of no file ")


@pytest.mark.parametrize("name", [*TREES, "dfdc_preview"])
def test_a_layout_of_names_of_no_file_alone_is_none(plant: Plant, refuse_tree: Any, name: str) -> None:
    root = plant("x/a.txt")
    for one in NO_FILES.get(name, ("original_videos/1/a.mp4", "method_A/1/b.mp4")):
        (root / one).parent.mkdir(parents=True, exist_ok=True)
        (root / one).symlink_to(root / "gone")
    assert "no video in it" in refuse_tree(root)


def test_originals_of_a_data_set_may_be_among_the_further_videos(plant: Plant, index_tree: Any) -> None:
    root, more = plant("Celeb-synthesis/id0_id1_0000.mp4", "YouTube-real/00000.mp4"), plant("id0_0000.mp4", "z.mp4", at="more")
    found = index_tree(root, f"index.extra_real={more}", "index.missing_files=keep")
    assert found.rows["Celeb-synthesis/id0_id1_0000.mp4"]["originals"] == ["more/id0_0000.mp4"]
    assert found.notes_on("left out: 1 video of index.extra_real, of people who are in the corpus, or copied from it")


def test_a_video_outside_the_data_set_that_is_new_is_told_of_a_finished_index(
    plant: Plant, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run = plant(*CELEBRITIES), tmp_path / "run"
    assert main(command(root, run)) == 0
    plant("extra/talk.mp4")
    capsys.readouterr()
    assert main(command(root, run)) == 0
    assert "left out: 1 video outside Celeb-DF, such as 'extra/talk.mp4'" in " ".join(capsys.readouterr().out.split())


def test_a_layout_that_is_gone_is_told_by_later_jobs(plant: Plant, tmp_path: Path) -> None:
    root, run = plant(*CELEBRITIES), tmp_path / "run"
    assert main(command(root, run, "index.layout=celeb_df")) == 0
    (root / "Celeb-real").rename(root / "one")
    (root / "Celeb-synthesis").rename(root / "other")
    said = describe_changed_corpus(Run(str(run), load_config(None, [f"corpus={root}", "index.layout=celeb_df"])))
    assert said == f"index.layout = celeb_df: {root} holds no Celeb-DF, which has folders Celeb-real and Celeb-synthesis"
