from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Plant = Callable[..., Path]
HEADER = "source,target1,target2,method,category,type,race,gender,path,"
ROWS = [
    ("id00076", "-", "-", "real", "A", "RealVideo-RealAudio", "African", "men", "00109.mp4"),
    ("id00166", "-", "-", "real", "A", "RealVideo-RealAudio", "African", "men", "00010.mp4"),
    ("id00366", "-", "-", "real", "A", "RealVideo-RealAudio", "Asian (East)", "women", "00118.mp4"),
    ("id00076", "id00166", "-", "rtvc", "B", "RealVideo-FakeAudio", "African", "men", "00109_fake.mp4"),
    ("id00076", "id00166", "10", "wav2lip", "D", "FakeVideo-FakeAudio", "African", "men", "00109_10_id00166_wavtolip.mp4"),
    ("id00366", "id00400", "id00401", "faceswap", "C", "FakeVideo-RealAudio", "Asian (East)", "women", "00118_x_faceswap.mp4"),
]


def path_of(row: tuple[str, ...]) -> str:
    return f"{row[5]}/{row[6]}/{row[7]}/{row[0]}/{row[8]}"


def table_of(rows: list[tuple[str, ...]], header: str = HEADER) -> str:
    lines = [",".join([*row, f"FakeAVCeleb/{row[5]}/{row[6]}/{row[7]}/{row[0]}"]) for row in rows]
    return "\n".join([header, *lines, ""])


@pytest.mark.parametrize("header", [HEADER, HEADER.rstrip(","), HEADER.replace("path,", "filename,path")])
@pytest.mark.parametrize("at", ["", "FakeAVCeleb_v1.2/"])
def test_the_picture_is_the_label(plant: Plant, index_tree: Any, write_text: Any, header: str, at: str) -> None:
    root = plant(*(at + path_of(row) for row in ROWS))
    write_text(root, f"{at}meta_data.csv", table_of(ROWS, header))
    found = index_tree(root)
    where = f" in '{at[:-1]}'" if at else ""
    assert found.layout == f"FakeAVCeleb{where}; 1 video of RealVideo-FakeAudio is REAL: the picture is judged"
    for row in ROWS:
        assert found.rows[at + path_of(row)]["label"] == ("FAKE" if row[5].startswith("Fake") else "REAL")
    fake = found.rows[at + path_of(ROWS[4])]
    assert (fake["people"], fake["method"]) == (["id00076", "id00166"], "wav2lip")
    assert found.rows[at + path_of(ROWS[5])]["people"] == ["id00366", "id00400", "id00401"]
    assert (found.rows[at + path_of(ROWS[3])]["method"], found.rows[at + path_of(ROWS[0])]["people"]) == (None, ["id00076"])
    groups = [found.rows[at + path_of(row)]["group"] for row in ROWS]
    assert groups[0] == groups[1] == groups[3] == groups[4] != groups[2] == groups[5]
    assert not found.notes_on("not read")


def test_a_row_twice_counts_once_and_what_it_lacks_is_told(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant(*map(path_of, ROWS[:5]), "FakeVideo-FakeAudio/African/men/id00500/00001_id00501_wavtolip.mp4")
    again = (*ROWS[4][:3], "faceswap-wav2lip", *ROWS[4][4:])
    write_text(root, "meta_data.csv", table_of([*ROWS, again]))
    found = index_tree(root)
    assert found.rows[path_of(ROWS[4])]["method"] == "wav2lip"
    assert found.notes_on("meta_data.csv names 1 of 6 videos that are not there, such as ")
    assert found.notes_on("meta_data.csv does not name 1 of 6 videos, such as 'FakeVideo-FakeAudio/African/men/id00500/")
    extra = found.rows["FakeVideo-FakeAudio/African/men/id00500/00001_id00501_wavtolip.mp4"]
    assert (extra["label"], extra["people"], extra["method"]) == ("FAKE", ["id00500", "id00501"], None)


def test_without_its_table_folders_and_names_say_it(plant: Plant, index_tree: Any) -> None:
    found = index_tree(plant(*map(path_of, ROWS)))
    assert found.layout.endswith("; without meta_data.csv")
    assert found.rows[path_of(ROWS[4])]["people"] == ["id00076", "id00166"]
    assert list(found.column("label").values()).count("FAKE") == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "meta_data.csv: its columns are 'a,b'; expected source, target1, target2, method"),
        ("", "meta_data.csv: its columns are ''; expected source"),
        (f'{HEADER}\n"id1,-', "meta_data.csv: unexpected end of data; expected CSV"),
    ],
)
def test_a_table_that_cannot_be_right_is_one_line(
    plant: Plant, refuse_tree: Any, write_text: Any, text: str, said: str
) -> None:
    root = plant(*map(path_of, ROWS))
    write_text(root, "meta_data.csv", text)
    assert said in refuse_tree(root)


def test_a_folder_too_deep_is_named(plant: Plant, refuse_tree: Any) -> None:
    root = plant(*map(path_of, ROWS))
    assert f"it is only a part of FakeAVCeleb; --corpus is {root}. " in refuse_tree(root / "FakeVideo-FakeAudio")


def test_a_row_without_a_folder_or_a_name(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant(*map(path_of, ROWS))
    lines = [",".join(row) for row in ROWS]
    write_text(root, "meta_data.csv", "\n".join([HEADER, *lines, "id1,-,-,real,A,RealVideo-RealAudio,African,men,,"]))
    found = index_tree(root)
    assert found.rows[path_of(ROWS[4])]["method"] == "wav2lip"
    assert found.notes_on("meta_data.csv: rows that name no video: 1, such as 'id1,-,-,real,")
    assert not found.notes_on("does not name")


def test_a_category_that_was_unpacked_inside_of_another_keeps_its_label(plant: Plant, index_tree: Any) -> None:
    names = ["RealVideo-RealAudio/African/men/id1/0.mp4", "RealVideo-RealAudio/FakeVideo-FakeAudio/African/men/id1/0_id2.mp4"]
    assert list(index_tree(plant(*names)).column("label").values()) == ["REAL", "FAKE"]


def test_the_rest_of_a_download_is_counted(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant(*map(path_of, ROWS), "README.md", "FakeAVCeleb_v1.2.zip", "samples/a.mp4", "RealVideo-RealAudio/x.wav")
    write_text(root, "Meta_Data.CSV", table_of(ROWS).replace("\n", " \r\n"))
    found = index_tree(root)
    assert len(found.rows) == len(ROWS)
    assert found.rows[path_of(ROWS[4])]["method"] == "wav2lip"
    assert found.notes_on("left out: 1 video outside FakeAVCeleb, such as 'samples/a.mp4'")
    assert found.notes_on("left out: 3 files of kinds that are not read: ")


def test_where_a_row_names_nobody_the_folder_does(plant: Plant, index_tree: Any, write_text: Any) -> None:
    root = plant(*map(path_of, ROWS))
    lines = table_of(ROWS).replace("id00366,-,-,real", "-,-,-,real")
    write_text(root, "meta_data.csv", lines)
    assert index_tree(root).rows[path_of(ROWS[2])]["people"] == ["id00366"]
