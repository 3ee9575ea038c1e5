from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfd_ray.corpus.entries import read_entries

Plant = Callable[..., Path]


def fact(label: str, split: str, target: object = None, swapped: object = None) -> dict[str, object]:
    return {"label": label, "set": split, "target_id": target, "swapped_id": swapped, "augmentations": []}


FACTS = {
    "original_videos/643386/643386_A_001.mp4": fact("real", "train"),
    "original_videos/1254207/1254207_A_001.mp4": fact("real", "test"),
    "original_videos/1234/1234_B_002.mp4": fact("real", "test"),
    "method_A/1254207/1254207_1234_A.mp4": fact("fake", "test", 1254207, 1234),
    "method_B/643386/643386_77_A.mp4": fact("fake", "train", 643386, 77),
}


def test_paths_people_and_sets_are_read(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant(*FACTS)
    write_text(root, "dataset.json", FACTS)
    found = index_tree(root)
    assert found.layout == "DFDC preview, official splits: 3 test, 2 train"
    fake = found.rows["method_A/1254207/1254207_1234_A.mp4"]
    assert (fake["label"], fake["split"], fake["method"]) == ("FAKE", "test", "method_A")
    assert (fake["people"], fake["originals"]) == (["1254207", "1234"], None)
    real = found.rows["original_videos/643386/643386_A_001.mp4"]
    assert (real["label"], real["split"], real["method"], real["people"]) == ("REAL", "train", None, ["643386"])
    groups = found.column("group")
    assert fake["group"] == groups["original_videos/1254207/1254207_A_001.mp4"] == groups["original_videos/1234/1234_B_002.mp4"]
    assert len(set(groups.values())) == 2


def test_a_folder_too_high_is_found_and_one_too_deep_named(
    plant: Plant, index_tree: Any, refuse_tree: Any, write_text: Any
) -> None:
    root = plant(*(f"a/b/dfdc_preview/{name}" for name in FACTS))
    write_text(root, "a/b/dfdc_preview/dataset.json", FACTS)
    found = index_tree(root)
    assert found.layout == "DFDC preview in 'a/b/dfdc_preview', official splits: 3 test, 2 train"
    assert found.rows["a/b/dfdc_preview/method_A/1254207/1254207_1234_A.mp4"]["method"] == "method_A"
    inside = root / "a/b/dfdc_preview"
    assert f"it is only a part of DFDC preview; --corpus is {inside}. " in refuse_tree(inside / "method_A")


def test_files_that_are_not_there_are_refused_or_kept(plant: Plant, index_tree: Any, refuse_tree: Any, write_text: Any) -> None:
    root = plant(*list(FACTS)[:3], "method_A/1/extra.mp4")
    write_text(root, "dataset.json", FACTS)
    assert "2 of 5 videos that the metadata name are absent" in refuse_tree(root)
    found = index_tree(root, "index.missing_files=keep")
    assert len(found.rows) == 5
    assert found.notes_on("left out: 1 video outside DFDC preview, such as 'method_A/1/extra.mp4'")


def test_without_its_table_it_is_one_line(plant: Plant, index_tree: Any, refuse_tree: Any, write_text: Any) -> None:
    root = plant(*FACTS)
    assert "DFDC preview without its dataset.json, which has the labels" in refuse_tree(root)
    assert set(index_tree(root, "index.layout=none").column("label").values()) == {None}
    assert "DFDC preview without its dataset.json" in refuse_tree(plant("real/a.mp4", "fake/b.mp4"))
    write_text(root, "labels.csv", "filename,label\nmethod_A/1254207/1254207_1234_A.mp4,1\n")
    assert index_tree(root).layout == "labels of 'labels.csv'"


def test_a_table_that_names_nothing_in_the_folder_is_one_line(plant: Plant, refuse_tree: Any, write_text: Any) -> None:
    root = plant("a.mp4")
    write_text(root, "dataset.json", FACTS)
    assert "dataset.json: it names none of the videos in the folder" in refuse_tree(root)


@pytest.mark.parametrize("value", [{"a": 1}, True])
def test_a_person_that_is_none_is_one_line(plant: Plant, refuse_tree: Any, write_text: Any, value: object) -> None:
    root = plant(*FACTS)
    name = "method_A/1254207/1254207_1234_A.mp4"
    write_text(root, "dataset.json", {**FACTS, name: fact("fake", "test", value, 1)})
    said = refuse_tree(root)
    assert f"'{name}' has the target_id " in said and "; expected a name, or several" in said


def test_whose_face_was_put_in_and_what_is_not_read(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant(*FACTS, "README.md", "Method_A/1/x.png")
    write_text(root, "Dataset.JSON", FACTS)
    [fake, *_] = [entry for entry in read_entries(str(root))[0] if entry.label == "FAKE"]
    assert (fake.people, fake.swapped) == (("1254207", "1234"), ("1234",))
    found = index_tree(root)
    assert found.notes_on("columns that are not read: 1, such as 'augmentations'")
    assert found.notes_on("people that the corpus names: 4, the largest '643386' of 2 videos")
    assert found.notes_on("left out: 2 files of kinds that are not read")
