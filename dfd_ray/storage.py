"""Files of a run, on a local disk or in object storage, through `pyarrow.fs`."""

from __future__ import annotations

import errno
import json
import os
import posixpath
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from dfd_ray.errors import ConfigurationError, RunError

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""What a disk says when it is full, over a quota, read-only, not ours, or broken."""


def refusal(error: OSError) -> str | None:
    """Return in words why a disk refused, None where an error is of another kind; one that a Ray task raised included."""
    number = getattr(getattr(error, "cause", error), "errno", None)
    return os.strerror(number) if number in REFUSALS else None


def absolute_uri(location: str) -> str:
    """Return a URI unchanged and a local path made absolute, so that every worker means the same place.

    Raises ConfigurationError for a URI that holds credentials: it would be written into tables, summaries and logs.
    """
    if "://" in location:
        scheme, _, rest = location.partition("://")
        if "@" in rest.partition("/")[0]:
            bucket = rest.partition("/")[0].rpartition("@")[2]
            raise ConfigurationError(
                f"{scheme}://...@{bucket}: credentials do not belong in a URI, which is kept with the run; "
                "give them by the environment, a profile or the machine's identity"
            )
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
    """Delete a file, if it is there."""
    filesystem, path = open_location(location)
    if filesystem.get_file_info(path).type == pafs.FileType.File:
        filesystem.delete_file(path)
