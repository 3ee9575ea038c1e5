"""Files of a run, on a local disk or in object storage, through `pyarrow.fs`."""

from __future__ import annotations

import errno
import json
import posixpath
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from dfd_ray.errors import ConfigurationError, RunError

UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
"""Of an OSError: no space is left, or nothing may be written there. To mend by whoever owns the disk, not by trying again."""


def absolute_uri(location: str) -> str:
    """Return a URI unchanged and a local path made absolute, so that every worker means the same place."""
    if "://" in location:
        return location.rstrip("/")
    return str(Path(location).expanduser().absolute())


def open_location(location: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a path or URI, and the path inside it."""
    try:
        filesystem, path = pafs.FileSystem.from_uri(absolute_uri(location))
        return filesystem, path
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{location}: {' '.join(str(error).split())}") from None


def join(location: str, *parts: str) -> str:
    """Return the location of something inside a folder."""
    return posixpath.join(location, *parts)


def exists(location: str) -> bool:
    """Return whether there is a file or a folder."""
    filesystem, path = open_location(location)
    return bool(filesystem.get_file_info(path).type != pafs.FileType.NotFound)


def list_files(location: str, suffix: str = "") -> list[str]:
    """Return the paths inside the location's file system of the files directly in a folder, sorted; none if it is not there."""
    filesystem, path = open_location(location)
    found = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    return sorted(info.path for info in found if info.type == pafs.FileType.File and info.path.endswith(suffix))


def write_bytes(location: str, data: bytes) -> None:
    """Write a file whole: it appears under its name only when every byte is written."""
    filesystem, path = open_location(location)
    filesystem.create_dir(posixpath.dirname(path), recursive=True)
    if isinstance(filesystem, pafs.LocalFileSystem):
        partial = f"{path}.partial"
        Path(partial).write_bytes(data)
        Path(partial).replace(path)
        return
    with filesystem.open_output_stream(path) as stream:
        stream.write(data)


def read_bytes(location: str) -> bytes:
    """Return a file's content; FileNotFoundError when there is none."""
    filesystem, path = open_location(location)
    with filesystem.open_input_stream(path) as stream:
        return bytes(stream.read())


def write_json(location: str, value: Any) -> None:
    """Write a value as JSON, keys in the order given."""
    write_bytes(location, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(location: str) -> Any:
    """Return a JSON file's value; RunError when it is not there."""
    try:
        return json.loads(read_bytes(location))
    except FileNotFoundError:
        raise RunError(f"{location} is missing") from None


def delete_folder(location: str) -> None:
    """Delete a folder and all in it, if it is there."""
    filesystem, path = open_location(location)
    if filesystem.get_file_info(path).type == pafs.FileType.Directory:
        filesystem.delete_dir(path)


def delete_file(location: str) -> None:
    """Delete a file."""
    filesystem, path = open_location(location)
    filesystem.delete_file(path)


def move_folder(source: str, target: str) -> None:
    """Give a folder another place in the same file system: a rename on a disk, where it takes effect at once or not at all.

    Object storage cannot rename: there it is a copy, and `source` stays.
    """
    filesystem, path = open_location(source)
    _, destination = open_location(target)
    if isinstance(filesystem, pafs.LocalFileSystem):
        filesystem.move(path, destination)
    else:
        pafs.copy_files(path, destination, source_filesystem=filesystem, destination_filesystem=filesystem)
