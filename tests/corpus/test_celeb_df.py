from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NAMES = [
    *(f"Celeb-real/id{person}_000{number}.mp4" for person in range(4) for number in range(2)),
    *(f"Celeb-synthesis/id{one}_id{one ^ 1}_000{number}.mp4" for one in range(4) for number in range(2)),
    *(f"YouTube-real/0000{number}.mp4" for number in range(3)),
]
LIST = "1 YouTube-real/00001.mp4\n1 Celeb-real/id1_0001.mp4\n0 Celeb-synthesis/id1_id0_0001.mp4\n"

Plant = Callable[..., Path]


def test_the_list_says_1_for_real_and_the_labels_are_those_of_the_folders(
    plant: Plant, index_tree: Any, write_text: Any
) -> None:
    root = plant(*NAMES)
    write_text(root, "List_of_testing_videos.txt", LIST)
    found = index_tree(root)
    assert found.layout == "Celeb-DF, official split: 16/3 videos to train and test"
    assert found.column("label") == {name: "FAKE" if "synthesis" in name else "REAL" for name in NAMES}
    assert {name for name, split in found.column("split").items() if split == "test"} == {
        "YouTube-real/00001.mp4",
        "Celeb-real/id1_0001.mp4",
        "Celeb-synthesis/id1_id0_0001.mp4",
    }
    assert set(found.column("split").values()) == {"train", "test"}
    fake = found.rows["Celeb-synthesis/id1_id0_0001.mp4"]
    assert (fake["originals"], fake["people"], fake["method"]) == (["Celeb-real/id1_0001.mp4"], ["id1", "id0"], "Celeb-DF")
    assert found.rows["Celeb-real/id1_0001.mp4"]["people"] == ["id1"]
    assert found.rows["YouTube-real/00001.mp4"]["people"] is None


def test_people_join_where_enough_groups_are_left(plant: Plant, index_tree: Any) -> None:
    found = index_tree(plant(*NAMES), "index.folds=2")
    groups = found.column("group")
    assert groups["Celeb-real/id0_0000.mp4"] == groups["Celeb-real/id1_0001.mp4"] == groups["Celeb-synthesis/id0_id1_0001.mp4"]
    assert groups["Celeb-real/id0_0000.mp4"] != groups["Celeb-real/id2_0000.mp4"]
    assert len(set(groups.values())) == 2 + 3
    assert found.notes_on("people join 7 groups into 5, the largest of 8 videos")
    assert found.layout == "Celeb-DF, no official split"


def swapped_all(people: int) -> list[str]:
    """Return a data set in which everybody's face is put into everybody's video, as in most of the real one."""
    names = [f"Celeb-real/id{one}_000{number}.mp4" for one in range(people) for number in range(2)]
    names += [f"Celeb-synthesis/id{one}_id{(one + step) % people}_0000.mp4" for one in range(people) for step in (1, 2)]
    return [*names, *(f"YouTube-real/0000{number}.mp4" for number in range(6))]


def test_where_all_people_are_one_group_the_target_joins_and_the_leak_is_told(plant: Plant, index_tree: Any) -> None:
    root = plant(*swapped_all(8))
    found = index_tree(root)
    groups = found.column("group")
    assert len(set(groups.values())) == 8 + 6
    assert groups["Celeb-synthesis/id3_id4_0000.mp4"] == groups["Celeb-real/id3_0001.mp4"] != groups["Celeb-real/id4_0000.mp4"]
    assert found.rows["Celeb-synthesis/id3_id4_0000.mp4"]["people"] == ["id3", "id4"]
    assert found.notes_on(
        "people: joining all of them would turn 14 groups into 7, the largest of 32 videos, and leave 1 with FAKE videos, "
        "too few for 5 folds; only the videos of one target are joined"
    )
    assert found.notes_on("people: 8 of 8 are in several groups, so that a model may have seen those whom it is tested on")
    strict = index_tree(root, "index.join_people=all")
    assert len(set(strict.column("group").values())) == 1 + 6
    assert not strict.notes_on("people: ")


def test_a_few_people_stay_one_group_and_the_way_out_is_named(plant: Plant, index_tree: Any) -> None:
    root = plant(*swapped_all(3))
    found = index_tree(root)
    assert len(set(found.column("group").values())) == 1 + 6
    assert found.notes_on("people join 9 groups into 7, the largest of 12 videos; --set index.join_people=target joins only")
    assert len(set(index_tree(root, "index.join_people=target").column("group").values())) == 3 + 6


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("/", "\\").replace(" ", "\t"),
        lambda text: text.upper().replace("ID", "id"),
        lambda text: f"\n{text}\n\n",
        lambda text: text.replace("YouTube", "Youtube"),
    ],
)
def test_the_list_is_read_however_it_is_written(plant: Plant, index_tree: Any, write_text: Any, change: Any) -> None:
    root = plant(*(name.replace("/", "/videos/") for name in NAMES), "frames/id0/0.png")
    write_text(root, "List_of_testing_videos.txt", change(LIST))
    assert list(index_tree(root).column("split").values()).count("test") == 3


def test_a_list_that_names_what_is_not_there_is_told(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant(*NAMES)
    write_text(root, "List_of_testing_videos.txt", "1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n")
    found = index_tree(root)
    assert "the list of testing videos names 1 of 2 videos that are not there, such as 'YouTube-real/00170.mp4'" in found.notes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 YouTube-real/00001.mp4\n", "line 1 is '0 YouTube-real/00001.mp4'; in this list 1 means REAL and 0 means FAKE"),
        (LIST + "\n1 Celeb-synthesis/id0_id1_0000.mp4\n", "line 5 is '1 Celeb-synthesis/id0_id1_0000.mp4'; in this list"),
        ("YouTube-real/00001.mp4\n", "line 1 is 'YouTube-real/00001.mp4'; expected such as '1 YouTube-real/00170.mp4'"),
        ("1 ../00001.mp4\n", "expected such as"),
    ],
)
def test_a_list_that_cannot_be_right_is_one_line(plant: Plant, refuse_tree: Any, write_text: Any, text: str, said: str) -> None:
    root = plant(*NAMES)
    write_text(root, "List_of_testing_videos.txt", text)
    assert said in refuse_tree(root)


def test_a_folder_too_high_is_found_and_one_too_deep_named(plant: Plant, index_tree: Any, refuse_tree: Any) -> None:
    root = plant(*(f"sets/Celeb-DF-v2/{name}" for name in NAMES))
    found = index_tree(root)
    assert found.layout == "Celeb-DF in 'sets/Celeb-DF-v2', no official split"
    assert found.rows["sets/Celeb-DF-v2/Celeb-synthesis/id0_id1_0000.mp4"]["originals"] == [
        "sets/Celeb-DF-v2/Celeb-real/id0_0000.mp4"
    ]
    inside = root / "sets/Celeb-DF-v2"
    assert f"it is only a part of Celeb-DF; --corpus is {inside}. " in refuse_tree(inside / "Celeb-synthesis")


def test_without_its_originals_it_says_so(plant: Plant, index_tree: Any) -> None:
    found = index_tree(plant(*(name for name in NAMES if "synthesis" in name)))
    assert "Celeb-DF is not complete: all 8 videos are FAKE; without REAL ones nothing is trained" in found.notes
    assert found.notes_on("originals that are not in the corpus: 8, such as ")


def test_both_versions_in_one_folder_are_one_line(plant: Plant, refuse_tree: Any) -> None:
    root = plant(*(f"{version}/{name}" for version in ("v1", "v2") for name in NAMES))
    assert "are one video of Celeb-DF; leave one of the two" in refuse_tree(root)


def test_its_folders_may_be_sorted_by_label(plant: Plant, index_tree: Any) -> None:
    found = index_tree(plant(*(f"{'fake' if 'synthesis' in name else 'real'}/{name}" for name in NAMES)))
    assert found.layout == "Celeb-DF, no official split"
    assert found.column("label") == {name: "FAKE" if "synthesis" in name else "REAL" for name in sorted(found.rows)}


def test_names_in_capitals_are_the_same_names(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant("Celeb-real/ID0_0001.MP4", "Celeb-synthesis/Id0_ID1_0001.mp4", "YOUTUBE-REAL/00001.Mp4", "README.txt", "x.zip")
    write_text(
        root, "List_of_testing_videos.txt", "1 Celeb-real/id0_0001.mp4  \r\n0 Celeb-synthesis/id0_id1_0001.mp4 \r\n \r\n"
    )
    found = index_tree(root)
    fake = found.rows["Celeb-synthesis/Id0_ID1_0001.mp4"]
    assert (fake["originals"], fake["people"]) == (["Celeb-real/ID0_0001.MP4"], ["id0", "id1"])
    assert found.column("split") == dict(zip(found.rows, ["test", "test", "train"], strict=True))
    assert not found.notes_on("not there")
    assert found.notes_on("left out: 2 files of kinds that are not read: ")


@pytest.mark.parametrize(
    "name", ["Celeb-real/id0_id1_0001.mp4", "Celeb-real/00012.mp4", "Celeb-synthesis/id0_0001.mp4", "YouTube-real/id1_0000.mp4"]
)
def test_a_name_that_does_not_fit_its_folder_is_told(plant: Plant, index_tree: Any, name: str) -> None:
    found = index_tree(plant(*NAMES, name))
    assert found.column("label")[name] == ("FAKE" if "synthesis" in name else "REAL")
    assert found.notes_on(f"videos that are not named as the others of their folder: 1, such as '{name}'; their label is")


def test_a_folder_that_was_unpacked_inside_of_another_keeps_its_label(plant: Plant, index_tree: Any) -> None:
    root = plant(*(f"Celeb-real/{name}" if "synthesis" in name else name for name in NAMES))
    found = index_tree(root)
    assert found.column("label") == {name: "FAKE" if "synthesis" in name else "REAL" for name in found.rows}
    fake = found.rows["Celeb-real/Celeb-synthesis/id0_id1_0000.mp4"]
    assert fake["originals"] == ["Celeb-real/id0_0000.mp4"]


def test_the_people_are_counted(plant: Plant, index_tree: Any) -> None:
    assert index_tree(plant(*NAMES)).notes_on("people that the corpus names: 4, the largest 'id0' of 6 videos")
