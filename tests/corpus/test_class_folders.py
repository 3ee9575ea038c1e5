from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Plant = Callable[..., Path]


@pytest.mark.parametrize(
    ("real", "fake"),
    [
        ("real", "fake"),
        ("REAL", "Fake"),
        ("original", "manipulated"),
        ("0", "1"),
        ("training_real", "training_fake"),
        ("Training-Real", "training fake"),
        ("real_videos", "fake_videos"),
    ],
)
@pytest.mark.parametrize("above", ["", "data/set"])
def test_folders_are_labels_in_any_depth(plant: Plant, index_tree: Any, real: str, fake: str, above: str) -> None:
    names = [f"{real}/a.mp4", f"{real}/x/y/b.mp4", f"{fake}/c.mp4", f"{fake}/0/d.mp4", f"{fake}/1/e.mp4"]
    found = index_tree(plant(*(f"{above}/{name}".lstrip("/") for name in names)))
    assert list(found.column("label").values()).count("REAL") == 2
    assert {name: row["label"] for name, row in found.rows.items()} == {
        f"{above}/{name}".lstrip("/"): "FAKE" if name.startswith(fake) else "REAL" for name in names
    }
    place = f" in '{above}'" if above else ""
    assert found.layout == f"class folders{place}: '{real}' taken for REAL and '{fake}' taken for FAKE"
    assert bool(found.notes_on("the folders 0 and 1 are taken for REAL and FAKE")) == (real == "0")


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation", "TEST"), ("train", "valid", "testing")])
def test_splits_are_folders_above(plant: Plant, index_tree: Any, names: tuple[str, str, str]) -> None:
    root = plant(*(f"{name}/{label}/{number}.mp4" for name in names for label in ("real", "fake") for number in range(2)))
    found = index_tree(root)
    assert {row["split"] for row in found.rows.values() if row["part"].startswith(names[1])} == {"val"}
    assert found.layout.endswith("'real' taken for REAL and 'fake' taken for FAKE; splits: 4 train, 4 val, 4 test")


def test_a_split_may_have_one_class_where_another_has_both(plant: Plant, index_tree: Any) -> None:
    found = index_tree(plant("train/real/a.mp4", "train/fake/b.mp4", "test/fake/c.mp4", "extra/d.mp4"))
    assert found.column("label") == {
        "extra/d.mp4": None, "test/fake/c.mp4": "FAKE", "train/fake/b.mp4": "FAKE", "train/real/a.mp4": "REAL"
    }  # fmt: skip
    assert found.notes_on("1 of 4 videos have no label, such as 'extra/d.mp4'")


@pytest.mark.parametrize("name", ["real", "fake", "original", "Training_Fake"])
def test_one_class_alone_makes_no_labels_and_is_told(plant: Plant, index_tree: Any, name: str) -> None:
    found = index_tree(plant(f"{name}/a.mp4", "b.mp4"))
    assert set(found.column("label").values()) == {None}
    assert found.notes_on(f"a folder is called '{name}', and none beside it holds the ")


@pytest.mark.parametrize(
    "names", [("0/a.mp4",), ("1/a.mp4", "2/b.mp4"), ("0/a.mp4", "1/b.mp4", "2/c.mp4"), ("a/0.mp4", "1.mp4")]
)
def test_numbered_folders_are_no_classes(plant: Plant, index_tree: Any, names: tuple[str, ...]) -> None:
    found = index_tree(plant(*names))
    assert set(found.column("label").values()) == {None}
    assert found.layout == "videos without labels"


def test_a_table_of_labels_comes_first(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant("real/a.mp4", "fake/b.mp4")
    write_text(root, "labels.csv", "filename,label\nreal/a.mp4,1\nfake/b.mp4,0\n")
    found = index_tree(root)
    assert (found.column("label")["real/a.mp4"], found.layout) == ("FAKE", "labels of 'labels.csv'")
    by_folder = index_tree(root, "index.layout=class_folders")
    assert by_folder.column("label")["real/a.mp4"] == "REAL"
    assert by_folder.notes_on("labels are those of class folders; 'labels.csv' is not read")
    (root / "labels.csv").unlink()
    assert set(index_tree(root, "index.layout=none").column("label").values()) == {None}


def test_pictures_in_class_folders_are_counted(plant: Plant, index_tree: Any, refuse_tree: Any) -> None:
    found = index_tree(plant("real/a.mp4", "fake/b.mp4", "real/x/0.png", "real/x/1.png"))
    assert found.notes_on("left out: 2 files of kinds that are not read: 2 .png")
    assert "no video in it" in refuse_tree(plant("real/0.png", "fake/0.png", at="pictures"))


def test_one_class_as_the_corpus_names_the_folder_above(plant: Plant, index_tree: Any) -> None:
    root = plant("train/real/a.mp4", "train/fake/b.mp4") / "train"
    found = index_tree(root / "real")
    assert found.notes == [f"the corpus folder is called 'real', and its other half is beside it: --corpus {root} gives labels"]
    assert set(found.column("label").values()) == {None}


def test_a_table_that_contradicts_the_folders_is_told(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant("real/a.mp4", "real/b.mp4", "fake/c.mp4", "fake/d.mp4", "e.mp4")
    write_text(root, "labels.csv", "filename,label\nreal/a.mp4,1\nreal/b.mp4,0\nfake/c.mp4,0\nfake/d.mp4,\ne.mp4,1\n")
    found = index_tree(root)
    assert found.notes_on(
        "labels that contradict the folder of their video: 2 of 5, such as FAKE of 'real/a.mp4'; the table counts, and "
        "--set index.layout=class_folders takes those of the folders"
    )
    write_text(root, "labels.csv", "filename,label\nreal/a.mp4,0\nreal/b.mp4,0\nfake/c.mp4,1\nfake/d.mp4,\ne.mp4,1\n")
    assert not index_tree(root).notes_on("contradict")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("info.json", "{"),
        ("labels.csv", "filename,label\n"),
        ("frames.csv", "filename,frames\nreal/a.mp4,9\n"),
        ("labels.csv", "filename,label\nreal/a.mp4,maybe\n"),
        ("x/y/labels.csv", "filename,label\nreal/a.mp4,0\n"),
    ],
)
def test_where_a_table_cannot_be_read_the_folders_are_named_as_the_way_out(
    plant: Plant, index_tree: Any, refuse_tree: Any, write_text: Any, name: str, text: str
) -> None:
    root = plant("real/a.mp4", "fake/b.mp4")
    write_text(root, name, text)
    assert refuse_tree(root).endswith("; --set index.layout=class_folders takes the labels of the folders")
    found = index_tree(root, "index.layout=class_folders")
    assert found.column("label") == {"fake/b.mp4": "FAKE", "real/a.mp4": "REAL"}
    assert found.notes_on("not read")


def test_numbered_folders_elsewhere_are_no_classes(plant: Plant, index_tree: Any) -> None:
    found = index_tree(plant("a/0/a.mp4", "a/1/b.mp4", "b/0/c.mp4", "b/1/d.mp4", "b/2/e.mp4", "c/1/f.mp4"))
    assert list(found.column("label").values()) == ["REAL", "FAKE", None, None, None, "FAKE"]
    assert found.notes_on("3 of 6 videos have no label, such as 'b/0/c.mp4'")


def test_splits_and_classes_in_different_case_and_depth(plant: Plant, index_tree: Any) -> None:
    labels = {
        "TRAIN/Real/x/y/a.MP4": ("REAL", "train"),
        "TRAIN/FAKE/b.mp4": ("FAKE", "train"),
        "Val/real/c.mp4": ("REAL", "val"),
        "Val/Fake/deep/er/real/d.mp4": ("FAKE", "val"),
        "test/fake/e.mp4": ("FAKE", "test"),
        "test/unsorted/f.mp4": (None, "test"),
    }
    found = index_tree(plant(*labels, "README.md", "real.zip", "test/Thumbs.db"))
    assert {name: (row["label"], row["split"]) for name, row in found.rows.items()} == labels
    assert found.notes_on("1 of 6 videos have no label, such as 'test/unsorted/f.mp4'")
    assert found.notes_on("left out: 2 files of kinds") and found.notes_on("left out: 1 hidden file")


def test_a_class_folder_without_videos_is_no_other_half(plant: Plant, index_tree: Any) -> None:
    found = index_tree(plant("real/a.mp4", "fake/b.jpg", "fake/c.zip"))
    assert set(found.column("label").values()) == {None}
    assert found.notes_on("a folder is called 'real', and none beside it holds the FAKE videos: no label is taken from it")


def test_folds_that_are_numbered_hold_the_classes(plant: Plant, index_tree: Any) -> None:
    names = [f"{fold}/{label}/{number}.mp4" for fold in "01" for label in ("real", "fake") for number in range(2)]
    found = index_tree(plant(*names))
    assert found.column("label") == {name: "FAKE" if "fake" in name else "REAL" for name in sorted(names)}
    assert not found.notes_on("the folders 0 and 1")


def test_a_video_in_folders_of_both_labels_is_told(plant: Plant, index_tree: Any) -> None:
    found = index_tree(plant("real/a.mp4", "fake/b.mp4", "fake/original/c.mp4", "fake/fake/d.mp4"))
    assert found.column("label")["fake/original/c.mp4"] == "FAKE"
    assert "videos in folders of both labels: 1, such as 'fake/original/c.mp4'; the outermost counts" in found.notes
