from __future__ import annotations

import os
from pathlib import Path

import pytest

from dfd_ray.config import load_config
from dfd_ray.corpus.listing import describe_left_out, is_hidden
from dfd_ray.corpus.manifest import build_manifest, list_new_videos
from dfd_ray.errors import CorpusError


def test_of_many_kinds_the_most_frequent_are_named_and_the_rest_counted() -> None:
    paths = [f"{kind}/{number}.k{kind}" for kind in range(20) for number in range(20 - kind)]
    [note] = describe_left_out(paths)
    assert note.startswith("left out: 210 files of kinds that are not read: 20 .k0, such as '0/0.k0'; 19 .k1, such as '1/0.k1'")
    assert note.endswith("9 .k11, such as '11/0.k11'; 36 of 8 other kinds")


def test_files_that_file_managers_hide_are_hidden() -> None:
    hidden = [".a.mp4", "x/.git/a.mp4", "Thumbs.db", "x/THUMBS.DB", "desktop.ini", "__MACOSX/a.mp4"]
    assert [is_hidden(path) for path in [*hidden, "a.mp4", "x.y/a.mp4"]] == [True] * 6 + [False] * 2


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_new_videos_are_those_that_index_finds_and_what_else_is_there_is_counted(tmp_path: Path) -> None:
    names = [
        "b.mp4",
        "a.MOV",
        "part/c.mkv",
        "Thumbs.db",
        "part/.d.mp4",
        "labels.csv",
        "metadata.json",
        "part/info.csv",
        "notes",
    ]
    folder = fill(tmp_path / "new", *names)
    os.mkfifo(folder / "pipe.mp4")
    table, notes = list_new_videos(str(folder))
    assert table.column("video_id").to_pylist() == ["a.MOV", "b.mp4", "part/c.mkv"]
    assert table.column("part").to_pylist() == [None, None, "part"]
    for name in ("labels.csv", "metadata.json", "part/info.csv"):
        (folder / name).unlink()
    indexed, _ = build_manifest(str(folder), load_config())
    assert indexed.column("video_id").to_pylist() == table.column("video_id").to_pylist()
    assert notes == [
        "left out: 5 files of kinds that are not read: 2 .csv, such as 'labels.csv'; 1 .json, such as 'metadata.json'; "
        "1 without a suffix, such as 'notes'; 1 .mp4, such as 'pipe.mp4'",
        "left out: 2 hidden files, such as 'Thumbs.db'",
    ]


@pytest.mark.parametrize("name", ["Thumbs.db", "labels.csv", "clip.mp4", ".hidden"])
def test_a_file_that_is_named_itself_is_a_row_whatever_it_is(name: str, tmp_path: Path) -> None:
    location = str(fill(tmp_path, name, "other.mp4") / name)
    table, notes = list_new_videos(location)
    [row] = table.to_pylist()
    assert (row["video_id"], row["uri"], row["bytes"], notes) == (name, location, 1, [])


def test_a_folder_without_a_video_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError, match=r"no video in it \(looked for .mp4, .*; left out: 1 file of kinds .* 1 .swf, such as 'a.swf'\)"
    ):
        list_new_videos(str(fill(tmp_path, "a.swf")))
