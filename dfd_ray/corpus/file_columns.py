"""Which column of a table says where each row's video is."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from dfd_ray.corpus.records import KEY
from dfd_ray.corpus.spellings import ABSOLUTE, clean_path, fold, remove_suffix, tails
from dfd_ray.corpus.wording import show

NUMBER = re.compile(r"\s*-?\d+(\.0+)?\s*")


@dataclass(frozen=True, slots=True)
class FileColumn:
    """A column that may name each row's video: what it writes, and the files that this may mean, row by row."""

    column: str
    names: list[str]
    found: list[list[str]]

    @property
    def count(self) -> int:
        """How many rows find a file."""
        return sum(map(bool, self.found))

    def holds_names(self) -> bool:
        """Return whether most of what it writes is a path, or has the suffix of a video."""
        written = [name for name in self.names if name.strip()]
        return 2 * sum(_is_name(name) for name in written) > len(written)

    def holds_numbers(self) -> bool:
        """Return whether it writes nothing but numbers, as an index does."""
        return all(NUMBER.fullmatch(name) for name in self.names if name.strip())


def choose_file_column(columns: list[FileColumn]) -> FileColumn:
    """Return the column by which most rows find a file, of equal ones the first.

    A number finds the file that is called so, also where it is a row's own. So numbers, and keys that hold no names, are left
    out where a column of names says otherwise.
    """
    fit = [one for one in columns if not any(outranks(other, one) for other in columns)]
    return max(fit, key=lambda one: one.count)


def outranks(other: FileColumn, one: FileColumn) -> bool:
    """Return whether a column says better than another, from which it differs, which files are meant."""
    if one.column == other.column or one.holds_names():
        return False
    better = (other.holds_names() and (one.column == KEY or one.holds_numbers())) or (one.column == KEY and other.count > 0)
    rows = zip(one.names, other.names, strict=True)
    return better and any(name.strip() and another.strip() and _bare(name) != _bare(another) for name, another in rows)


def find_doubt(chosen: FileColumn, columns: list[FileColumn], spelled: dict[str, str]) -> str | None:
    """Return why it is not certain that a column names the videos of the rows: another names other files; None if it is.

    `columns` are in the order in which they are preferred. One that finds no file speaks against one that is preferred less:
    it may name fakes that are absent, and the other their sources.
    """
    before = columns[: columns.index(chosen)]
    for other in columns:
        if other is chosen or outranks(chosen, other):
            continue
        speaks = other in before and other.holds_names()
        for name, another, found, others in zip(chosen.names, other.names, chosen.found, other.found, strict=True):
            if found and (not {*found} & {*others} if others else speaks and another.strip() and not agree(name, another)):
                return (
                    f"{_call(chosen, spelled)} and {_call(other, spelled)} name different files, such as {show(name)} and "
                    f"{show(another)}; rename the column that does not name the video of its row, to source for example"
                )
    return None


def agree(name: str, another: str) -> bool:
    """Return whether two spellings may be of one file: one is the end of the other, or both end alike if one is absolute."""
    one, other = (remove_suffix(fold(clean_path(path) or path)) for path in (name, another))
    if ABSOLUTE.match(name.strip()) or ABSOLUTE.match(another.strip()):
        return _bare(name) == _bare(another)
    return one in tails(other) or other in tails(one)


def _is_name(name: str) -> bool:
    cleaned = fold(clean_path(name) or "")
    return "/" in cleaned or remove_suffix(cleaned) != cleaned


def _bare(name: str) -> str:
    name = remove_suffix(fold(posixpath.basename(clean_path(name) or name)))
    return name.partition(".")[0] if NUMBER.fullmatch(name) else name


def _call(one: FileColumn, spelled: dict[str, str]) -> str:
    return KEY if one.column == KEY else f"the column {show(spelled[one.column])}"
