"""What is on disk: the files of a corpus, which of them are videos, and which are left out."""

from __future__ import annotations

import os
import posixpath
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow.fs as pafs

from dfd_ray.corpus.wording import count_of, show
from dfd_ray.errors import CorpusError
from dfd_ray.store.storage import open_location

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".3gp", ".3g2", ".avi", ".mkv", ".webm", ".ts", ".mts", ".m2ts"),
    *(".wmv", ".asf", ".flv", ".f4v", ".mpg", ".mpeg", ".vob", ".ogv", ".gif"),
)
"""How names of videos end, in lower case; `preprocess.containers` says which of them are read."""
METADATA = "metadata.json"
HIDDEN = ("thumbs.db", "desktop.ini", "__macosx")
"""Names that Windows and macOS give to files and folders of their own, in lower case."""
KINDS_SHOWN = 12
"""Most kinds of files that are left out which a note names."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One video of the corpus, with what its metadata say."""

    video_id: str
    part: str | None
    label: str | None = None
    originals: tuple[str, ...] = ()
    """Ids of the videos it was made from; of one that is not in the corpus, its name."""
    people: tuple[str, ...] = ()
    swapped: tuple[str, ...] = ()
    """Those of the people of whom only the face, or the voice, was put in."""
    groups: tuple[str, ...] = ()
    """Names of groups that the corpus itself puts it in."""
    split: str | None = None
    method: str | None = None
    bytes: int | None = None


def check_folder(location: str, flag: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a folder and its path there; CorpusError, naming the flag, if it is not a folder."""
    filesystem, path = open_location(location)
    kind = filesystem.get_file_info(path).type
    if kind != pafs.FileType.Directory:
        raise CorpusError(
            f"{flag} {location}: {'there is no such folder' if kind == pafs.FileType.NotFound else 'not a folder'}"
        )
    return filesystem, path


def list_files(location: str) -> dict[str, int | None]:
    """Return the size of every file in a folder and its sub-folders, by its path in the folder.

    What is no file though it has a name for one has no size: a pipe, a link that leads nowhere or to a folder listed already,
    a folder called as a video. CorpusError if a name is not UTF-8, which no table could hold, or if a folder cannot be read.
    """
    filesystem, root = open_location(location)
    if isinstance(filesystem, pafs.LocalFileSystem):
        return {posixpath.relpath(path, root): size for path, size in walk(location, root)}
    found = filesystem.get_file_info(pafs.FileSelector(root, recursive=True))
    return {
        posixpath.relpath(info.path, root): info.size if info.type == pafs.FileType.File else None
        for info in found
        if info.type != pafs.FileType.Directory
    }


def walk(location: str, root: str) -> Iterator[tuple[str, int | None]]:
    """Yield each file below a local folder and its size, as `list_files` says.

    pyarrow, like most, leaves out links that lead nowhere, and follows those that lead in circles without end. Here a link to
    a folder is followed once, and never to one that it is in.
    """
    waiting, linked = [root], {os.path.realpath(root)}
    while waiting:
        folder = waiting.pop()
        inside = os.path.realpath(folder)
        for entry in scan(location, folder):
            is_folder, size = measure(entry)
            if not is_folder:
                yield entry.path, size
                continue
            if entry.is_symlink():
                target = os.path.realpath(entry.path)
                if target in linked or f"{inside}/".startswith(f"{target}/"):
                    yield entry.path, None
                    continue
                linked.add(target)
            if is_video(entry.name):
                yield entry.path, None
            waiting.append(entry.path)


def scan(location: str, folder: str) -> list[os.DirEntry[str]]:
    """Return what is in a folder, in the order of names; CorpusError, which names it, if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise CorpusError(f"{location}: {folder}: {error.strerror}") from None
    for entry in entries:
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            raise CorpusError(f"{location}: a file name is not UTF-8: {os.fsencode(entry.name)!r}; rename it") from None
    return entries


def measure(entry: os.DirEntry[str]) -> tuple[bool, int | None]:
    """Return whether what an entry of a folder names is a folder, and its size if it is a file."""
    try:
        status = entry.stat()
    except OSError:  # a link that leads nowhere, or to itself
        return False, None
    return stat.S_ISDIR(status.st_mode), status.st_size if stat.S_ISREG(status.st_mode) else None


def is_hidden(path: str) -> bool:
    """Return whether a file, or a folder it is in, is one that file managers do not show."""
    return any(name.startswith(".") or name.lower() in HIDDEN for name in path.split("/"))


def is_video(path: str) -> bool:
    """Return whether a file is a video by its name, and not hidden."""
    return path.lower().endswith(VIDEO_SUFFIXES) and not is_hidden(path)


def list_extra_real(folder: str) -> tuple[list[Entry], list[str]]:
    """Return the videos of a folder of further REAL ones, sorted by id, and notes on what is left out of it.

    Ids begin with the folder's own name, as if it were a part of the corpus. Raises CorpusError if there is no video in it.
    """
    check_folder(folder, "index.extra_real =")
    name, files = posixpath.basename(folder.rstrip("/")), list_files(folder)
    videos = sorted(path for path in files if is_video(path) and files[path] is not None)
    if not videos:
        raise CorpusError(f"index.extra_real = {folder}: no video in it (looked for {', '.join(VIDEO_SUFFIXES)})")
    ids = [posixpath.join(name, path) for path in videos]
    entries = [
        Entry(video_id, posixpath.dirname(video_id), "REAL", bytes=files[path])
        for video_id, path in zip(ids, videos, strict=True)
    ]
    return entries, [f"of index.extra_real {note}" for note in describe_left_out(files, videos)]


def describe_left_out(files: Mapping[str, int | None], taken: Iterable[str]) -> list[str]:
    """Return notes on files that are not read: how many of which kind, each kind with an example.

    `files` is what `list_files` returned, `taken` those that are read or named in another note.
    """
    hidden, others, none = list[str](), list[str](), list[str]()
    for path in sorted(set(files) - set(taken)):
        (hidden if is_hidden(path) else others if files[path] is not None else none).append(path)
    kinds = Counter(_kind(path) for path in others)
    named = [f"{count} {kind}, such as {show(_first(others, kind))}" for kind, count in kinds.most_common(KINDS_SHOWN)]
    rest = sum(kinds.values()) - sum(count for _, count in kinds.most_common(KINDS_SHOWN))
    notes = []
    if others:
        more = [f"{rest} of {len(kinds) - KINDS_SHOWN} other kinds"] if rest else []
        notes.append(f"left out: {count_of(len(others), 'file')} of kinds that are not read: {'; '.join([*named, *more])}")
    if none:
        what = "links that lead nowhere or to a folder listed already, folders called as a video, pipes and the like"
        notes.append(f"left out: {count_of(len(none), 'name')} of no file ({what}), such as {show(none[0])}")
    if hidden:
        notes.append(f"left out: {count_of(len(hidden), 'hidden file')}, such as {show(hidden[0])}")
    return notes


def _kind(path: str) -> str:
    return posixpath.splitext(path)[1].lower() or "without a suffix"


def _first(paths: list[str], kind: str) -> str:
    return next(path for path in paths if _kind(path) == kind)
