from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from dfd_ray.corpus import twins
from dfd_ray.corpus.twins import Place, find_twins
from dfd_ray.pipelines import index


def places_in(folder: Path, contents: dict[str, bytes]) -> list[Place]:
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [Place(name, str(folder), name, len(content)) for name, content in contents.items()]


def test_only_files_of_one_size_are_read_and_whole_only_those_that_begin_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, int | None]] = []
    digest = twins.digest_of

    def noted(place: Place, limit: int | None) -> bytes | None:
        read.append((place.video_id, limit))
        return digest(place, limit)

    monkeypatch.setattr(twins, "digest_of", noted)
    long, large = twins.BEGINNING, twins.PIECE + 1
    contents = {
        "a": b"1" * long + b"x",
        "b": b"1" * long + b"x",
        "c": b"1" * long + b"y",
        "d": b"2" * (long + 1),
        "e": b"3" * large,
        "f": b"3" * large,
        "alone": b"4",
        "empty": b"",
        "empty too": b"",
    }
    assert find_twins(places_in(tmp_path, contents)) == [["a", "b"], ["e", "f"]]
    assert Counter(read) == Counter([(name, long) for name in "abcdef"] + [(name, None) for name in "abcef"])


def test_a_file_that_cannot_be_read_has_no_copy(tmp_path: Path) -> None:
    places = places_in(tmp_path, {"a": b"1", "b": b"1", "c": b"1"})
    os.unlink(tmp_path / "b")
    assert find_twins([*places, Place("absent", str(tmp_path), "absent", None)]) == [["a", "c"]]


def test_a_link_within_the_folder_is_a_copy(tmp_path: Path) -> None:
    places = places_in(tmp_path, {"a": b"1"})
    (tmp_path / "b").symlink_to("a")
    assert find_twins([*places, Place("b", str(tmp_path), "b", 1)]) == [["a", "b"]]


def test_how_far_the_comparing_is_is_printed_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = index.report_comparing()
    report(1, 3)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(index, "LINE_SECONDS", 0)
    report(2, 3)
    assert capsys.readouterr().err == "index: 2 of 3 files of equal size compared\n"
