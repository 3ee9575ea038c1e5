from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Plant = Callable[..., Path]
TABLES = {
    "labels.csv": "filename,label\naassnaulhq.mp4,0\naayfryxljh.mp4,1\n",
    "metadata.json": {"aassnaulhq.mp4": {"is_fake": 0}, "aayfryxljh.mp4": {"is_fake": 1}},
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("folder", ["test_videos", "test"])
@pytest.mark.parametrize("beside", [True, False])
def test_its_videos_are_of_the_split_test(
    plant: Plant, index_tree: Any, write_text: Any, table: str, folder: str, beside: bool
) -> None:
    root = plant(f"{folder}/aassnaulhq.mp4", f"{folder}/aayfryxljh.mp4")
    write_text(root, f"{folder}/{table}" if beside else table, TABLES[table])
    found = index_tree(root)
    assert found.layout == "DFDC, public test set"
    assert list(found.column("label").values()) == ["REAL", "FAKE"]
    assert set(found.column("split").values()) == {"test"}
    assert set(index_tree(root, "index.layout=none").column("split").values()) == {None}


def test_the_folder_itself_may_be_the_corpus(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant("aassnaulhq.mp4", "aayfryxljh.mp4", at="test_videos")
    write_text(root, "metadata.json", TABLES["metadata.json"])
    assert index_tree(root).layout == "DFDC, public test set"


def test_parts_for_training_are_none(plant: Plant, index_tree: Any, refuse_tree: Any, write_text: Any) -> None:
    root = plant("dfdc_train_part_0/a.mp4", "dfdc_train_part_1/b.mp4")
    for number, name in enumerate("ab"):
        write_text(root, f"dfdc_train_part_{number}/metadata.json", {f"{name}.mp4": {"label": "REAL"}})
    assert index_tree(root).layout == "DFDC, 2 parts"
    assert "is not DFDC, public test set, whose videos are all in test_videos/ or test/" in refuse_tree(
        root, "index.layout=dfdc_test"
    )


def test_labels_above_the_folder_are_named(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant("deep/test_videos/aassnaulhq.mp4", "deep/test_videos/aayfryxljh.mp4")
    write_text(root, "deep/labels.csv", TABLES["labels.csv"])
    assert index_tree(root).layout == "DFDC, public test set"


def test_the_videos_alone_name_the_folder_with_the_labels(
    plant: Plant, index_tree: Any, refuse_tree: Any, write_text: Any
) -> None:
    root = plant("test_videos/aassnaulhq.mp4")
    write_text(root, "labels.csv", TABLES["labels.csv"])
    inside = root / "test_videos"
    assert f"labels.csv with the labels is in the folder above; --corpus is {root}. " in refuse_tree(inside)
    assert set(index_tree(inside, "index.layout=none").column("label").values()) == {None}


def test_both_tables_may_be_there(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant("test/aassnaulhq.mp4", "test/aayfryxljh.mp4")
    write_text(root, "labels.csv", TABLES["labels.csv"])
    write_text(root, "test/metadata.json", TABLES["metadata.json"])
    found = index_tree(root)
    assert (found.layout, set(found.column("split").values())) == ("DFDC, public test set", {"test"})
    assert found.notes_on("2 rows with a video that an earlier row names")
