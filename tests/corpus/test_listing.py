from __future__ import annotations

from dfd_ray.corpus.listing import describe_left_out, is_hidden


def test_of_many_kinds_the_most_frequent_are_named_and_the_rest_counted() -> None:
    paths = [f"{kind}/{number}.k{kind}" for kind in range(20) for number in range(20 - kind)]
    [note] = describe_left_out(paths)
    assert note.startswith("left out: 210 files of kinds that are not read: 20 .k0, such as '0/0.k0'; 19 .k1, such as '1/0.k1'")
    assert note.endswith("9 .k11, such as '11/0.k11'; 36 of 8 other kinds")


def test_files_that_file_managers_hide_are_hidden() -> None:
    hidden = [".a.mp4", "x/.git/a.mp4", "Thumbs.db", "x/THUMBS.DB", "desktop.ini", "__MACOSX/a.mp4"]
    assert [is_hidden(path) for path in [*hidden, "a.mp4", "x.y/a.mp4"]] == [True] * 6 + [False] * 2
