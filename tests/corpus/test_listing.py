from __future__ import annotations

import os
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from dfd_ray.config import load_config
from dfd_ray.corpus.listing import describe_left_out, is_hidden, list_files
from dfd_ray.corpus.manifest import build_manifest, list_new_videos
from dfd_ray.errors import CorpusError


def test_of_many_kinds_the_most_frequent_are_named_and_the_rest_counted() -> None:
    paths = [f"{kind}/{number}.k{kind}" for kind in range(20) for number in range(20 - kind)]
    [note] = describe_left_out(dict.fromkeys(paths, 1), [])
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
        "left out: 4 files of kinds that are not read: 2 .csv, such as 'labels.csv'; 1 .json, such as 'metadata.json'; "
        "1 without a suffix, such as 'notes'",
        "left out: 1 name of no file (links that lead nowhere or to a folder listed already, folders called as a video, "
        "pipes and the like), such as 'pipe.mp4'",
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


def test_what_has_the_name_of_a_video_and_is_no_file_is_told(tmp_path: Path) -> None:
    folder = fill(tmp_path / "videos", "a.mp4", "frames.mp4/1.png")
    for name, target in (("nowhere.mp4", "gone/1.mp4"), ("itself.mp4", "itself.mp4")):
        (folder / name).symlink_to(target)
    files = list_files(str(folder))
    assert files == {"a.mp4": 1, "frames.mp4": None, "frames.mp4/1.png": 1, "itself.mp4": None, "nowhere.mp4": None}
    table, notes = list_new_videos(str(folder))
    assert table.column("video_id").to_pylist() == ["a.mp4"]
    assert any(note.startswith("left out: 3 names of no file") for note in notes)
    _, notes = build_manifest(str(folder), load_config())
    assert any(note.startswith("left out: 3 names of no file") for note in notes)


def test_a_table_that_is_a_link_to_nowhere_or_a_folder_is_told(tmp_path: Path) -> None:
    folder = fill(tmp_path / "videos", "a.mp4")
    (folder / "labels.csv").symlink_to("gone.csv")
    with pytest.raises(CorpusError, match=r"labels\.csv"):
        build_manifest(str(folder), load_config())


def test_links_that_lead_in_circles_are_followed_no_further(tmp_path: Path) -> None:
    folder = fill(tmp_path / "videos", "a.mp4", "part/b.mp4")
    (folder / "one").symlink_to(".")
    (folder / "two").symlink_to(".")
    (folder / "part" / "back").symlink_to(folder)
    (folder / "part" / "here").symlink_to(folder / "part")
    assert {path for path, size in list_files(str(folder)).items() if size} == {"a.mp4", "part/b.mp4"}
    _, notes = build_manifest(str(folder), load_config())
    assert any(note.startswith("left out: 4 names of no file") for note in notes)


def test_a_link_to_another_folder_is_followed_once(tmp_path: Path) -> None:
    folder, elsewhere = fill(tmp_path / "videos", "a.mp4"), fill(tmp_path / "elsewhere", "b.mp4", "c/d.mp4")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "again").symlink_to(elsewhere)
    assert list_files(str(folder)) == {"a.mp4": 1, "again/b.mp4": 1, "again/c/d.mp4": 1, "linked": None}
    doubled = tmp_path / "doubled"
    for number in range(30):  # two ways at every step: a billion paths
        (doubled / str(number)).mkdir(parents=True)
        for name in ("x", "y"):
            (doubled / str(number) / name).symlink_to(doubled / str(number + 1))
    assert len(list_files(str(doubled))) < 200


def test_files_are_those_that_pyarrow_lists(tmp_path: Path) -> None:
    folder = fill(tmp_path / "videos", "a.mp4", "b c/\u00e9.mkv", "b c/d/e.txt", ".hidden/f.mp4", "x%20y#z?.mp4")
    (folder / "link.mp4").symlink_to("a.mp4")
    found = pafs.LocalFileSystem().get_file_info(pafs.FileSelector(str(folder), recursive=True))
    expected = {os.path.relpath(info.path, folder): info.size for info in found if info.type == pafs.FileType.File}
    assert list_files(str(folder)) == expected


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "videos", "closed/a.mp4")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr("dfd_ray.corpus.listing.os.scandir", refuse)
    with pytest.raises(CorpusError, match=r"videos/closed: Permission denied"):
        list_files(str(folder))
