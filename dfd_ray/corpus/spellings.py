"""From the ways a table may spell a file's name to the file itself."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable

from dfd_ray.corpus.listing import VIDEO_SUFFIXES, is_hidden

ABSOLUTE = re.compile(r"[A-Za-z]:[/\\]|[/\\]|[A-Za-z][A-Za-z0-9+.-]+://")
"""How an absolute path or a URI begins: `C:\\`, `/`, `s3://`."""


def clean_path(name: str) -> str | None:
    """Return a relative path with `/` between its parts and no empty ones, None if it can name no file of the corpus.

    Windows' `\\` counts as `/`; `.` parts go. A path with `..` or NUL, or one that no text can hold, is None.
    """
    parts = [part for part in name.strip().replace("\\", "/").split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\0" in name or not is_text(name):
        return None
    return unicodedata.normalize("NFC", "/".join(parts))


def is_text(value: str) -> bool:
    """Return whether a text can be written as UTF-8: JSON can escape halves of characters, which cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class Spellings:
    """Finds files by a name whose slashes, case, Unicode form, suffix or folder may differ from that on disk.

    A hidden file is found by its exact path alone.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self.paths = frozenset(paths)
        self.by_path: dict[str, list[str]] = defaultdict(list)
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        self.by_tail: dict[str, list[str]] = defaultdict(list)
        for path in sorted(path for path in self.paths if not is_hidden(path)):
            key = fold(path)
            self.by_path[key].append(path)
            self.by_stem[remove_suffix(key)].append(path)
            for tail in tails(key):
                self.by_tail[tail].append(path)
                if (stem := remove_suffix(tail)) != tail:
                    self.by_tail[stem].append(path)

    def find(self, name: str, folder: str, any_suffix: bool = False) -> list[str]:
        """Return the files that `name` means in a folder: the one spelled so, else all that differ in spelling alone.

        `any_suffix` also takes those with another suffix; a name without one means a video with any.
        """
        if (exact := posixpath.join(folder, name)) in self.paths:
            return [exact]
        cleaned = clean_path(name)
        if cleaned is None or ABSOLUTE.match(name):
            return []
        path = posixpath.join(folder, cleaned)
        if path in self.paths:
            return [path]
        key = fold(path)
        stem = remove_suffix(key)
        return self.by_path.get(key) or (self.by_stem.get(stem) if any_suffix or stem == key else None) or []

    def find_below(self, name: str, folder: str, but: Collection[str] = ()) -> list[str]:
        """Return the files in any depth of a folder whose path ends in `name`, without those in `but`."""
        cleaned = clean_path(name)
        if cleaned is None:
            return []
        inside = f"{folder}/" if folder else ""
        return [path for path in self.by_tail.get(fold(cleaned), ()) if path.startswith(inside) and path not in but]


def fold(path: str) -> str:
    """Return a path in one Unicode form and without case."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def remove_suffix(path: str) -> str:
    """Return a folded path without the suffix of a video."""
    stem, suffix = posixpath.splitext(path)
    return stem if suffix in VIDEO_SUFFIXES else path


def tails(path: str) -> list[str]:
    """Return the ends of a path, the whole path first and the file's name last."""
    parts = path.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))] if path else []
