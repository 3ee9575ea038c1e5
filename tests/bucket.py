"""A bucket in memory that behaves as S3 does: an object appears when its stream is closed, a list has all that was written.

It refuses to move and to copy, as S3 does for more than 5 GiB.
"""

from __future__ import annotations

import io
import posixpath
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs


class Upload(io.BytesIO):
    """A stream that hands over what was written when it is closed, as pyarrow's to S3 does even after an error."""

    def __init__(self, begin: Callable[[], None], done: Callable[[bytes], None]) -> None:
        super().__init__()
        self.begin, self.done = begin, done

    def write(self, data: Any) -> int:
        self.begin()
        return super().write(data)

    def close(self) -> None:
        if not self.closed:
            self.done(self.getvalue())
            super().close()


class Bucket(pafs.FileSystemHandler):  # type: ignore[misc]  # pyarrow has no hints
    """Objects by path, each with the time at which it was written."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.now: Callable[[], float] = time.time
        self.fail: Callable[[str, str], None] = lambda kind, path: None
        """Called with the kind of each request and its path; may raise."""

    def names(self) -> list[str]:
        """Return the paths of all objects but the marks of folders."""
        return sorted(name for name in self.objects if not name.endswith("/"))

    def put(self, path: str, data: bytes) -> None:
        self.fail("put", path)
        self.objects[path] = (data, self.now())

    def age(self, path: str, seconds: float) -> None:
        """Make an object older."""
        data, then = self.objects[path]
        self.objects[path] = (data, then - seconds)

    def info(self, path: str) -> pafs.FileInfo:
        if path in self.objects:
            data, then = self.objects[path]
            return pafs.FileInfo(path, pafs.FileType.File, size=len(data), mtime=datetime.fromtimestamp(then, UTC))
        inside = any(name.startswith(f"{path}/") for name in list(self.objects)) or "/" not in path
        return pafs.FileInfo(path, pafs.FileType.Directory if inside else pafs.FileType.NotFound)

    def get_type_name(self) -> str:
        return "bucket"

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return [self.info(path) for path in paths]

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        self.fail("list", selector.base_dir)
        start = f"{selector.base_dir}/"
        below = [name[len(start) :] for name in list(self.objects) if name.startswith(start)]
        found = {name if selector.recursive else name.partition("/")[0] for name in below if name}
        return [self.info(start + name) for name in sorted(found) if not name.endswith("/")]

    def open_output_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        return pa.PythonFile(Upload(lambda: self.fail("write", path), lambda data: self.put(path, data)), "w")

    def open_input_file(self, path: str) -> pa.PythonFile:
        self.fail("get", path)
        if path not in self.objects:
            raise FileNotFoundError(path)
        return pa.PythonFile(io.BytesIO(self.objects[path][0]), "r")

    open_input_stream = open_input_file

    def delete_file(self, path: str) -> None:
        if path not in self.objects:
            raise FileNotFoundError(path)
        del self.objects[path]
        self.objects.setdefault(f"{posixpath.dirname(path)}/", (b"", self.now()))  # as pyarrow does for S3

    def delete_dir(self, path: str) -> None:
        for name in [name for name in self.objects if name.startswith(f"{path}/")]:
            del self.objects[name]

    def create_dir(self, path: str, recursive: bool) -> None:
        self.objects.setdefault(f"{path}/", (b"", self.now()))

    def refuse(self, *arguments: object) -> Any:
        raise OSError(f"EntityTooLarge: {arguments}")

    move = copy_file = refuse

    def unused(self, *arguments: object) -> Any:
        raise NotImplementedError(f"{arguments}")

    normalize_path = staticmethod(lambda path: path)  # type: ignore[assignment]
    delete_dir_contents = delete_root_dir_contents = open_append_stream = unused
