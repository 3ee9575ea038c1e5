"""A file of object storage as a Python file, which repeats reads where the store's client gives up."""

from __future__ import annotations

import io
import random
import re
import time
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PASSING = re.compile(r"AWS Error (INTERNAL_FAILURE|NETWORK_CONNECTION|SLOW_DOWN|SERVICE_UNAVAILABLE)|HTTP status 5")
"""Errors of a store that pass: those on which Ray Data repeats its own reads (`DataContext.retried_io_errors`)."""
READS = 8
"""Attempts to read a range. In each, the client makes as many requests (`storage.REQUESTS`). In one case it fails at once with
INTERNAL_FAILURE: where the text of an error is longer than the range, as with a small file."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0
"""Seconds between two reads: doubled each time, give or take a quarter, so that readers do not all come at once."""
BLOCK_BYTES = 8 * 2**20
"""Size of a range. Most videos of DFDC are smaller, so they are read once, though FFmpeg walks through them before decoding."""
BLOCKS_KEPT = 4
"""Ranges kept; more than the places in a container between which its reader jumps."""


class RemoteFile(io.RawIOBase):
    """An open file of `pyarrow.fs`, read by ranges; it waits for an error to pass."""

    def __init__(self, file: pa.NativeFile) -> None:
        self.file = file
        self.bytes = int(file.size())
        self.position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move as files do, without a request."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.bytes}[whence]
        self.position = max(0, start + offset)
        return self.position

    def tell(self) -> int:
        """Return the position in bytes."""
        return self.position

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes from the position in one request; fewer at the end, all the rest when `size` is negative."""
        rest = max(0, self.bytes - self.position)
        part = self.read_at(rest if size < 0 else min(size, rest), self.position)
        self.position += len(part)
        return part

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer as far as `read` does, and return the number of bytes."""
        view = memoryview(buffer).cast("B")
        part = self.read(len(view))
        view[: len(part)] = part
        return len(part)

    def read_at(self, size: int, offset: int) -> bytes:
        """Return a range; raises the store's OSError when the error does not pass."""
        pause = FIRST_PAUSE
        for _ in range(READS - 1):
            try:
                return bytes(self.file.read_at(size, offset))
            except OSError as error:
                if not PASSING.search(str(error)):
                    raise
            time.sleep(pause * random.uniform(0.75, 1.25))
            pause = min(2 * pause, LONGEST_PAUSE)
        return bytes(self.file.read_at(size, offset))

    def close(self) -> None:
        """Close the file in the store as well."""
        self.file.close()
        super().close()


class RangeReader(RemoteFile):
    """A file read in ranges of `BLOCK_BYTES`, the last few of which are kept.

    FFmpeg asks for 32 KiB at a time, and each would be a request.
    """

    def __init__(self, file: pa.NativeFile) -> None:
        super().__init__(file)
        self.blocks: dict[int, memoryview] = {}

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes from the position, up to the end of its range; all the rest when `size` is negative."""
        if size < 0:
            return self.readall()
        number, offset = divmod(self.position, BLOCK_BYTES)
        if self.position >= self.bytes:
            return b""
        part = bytes(self.block(number)[offset : offset + size])
        self.position += len(part)
        return part

    def block(self, number: int) -> memoryview:
        """Return a range, from those kept or from the store."""
        if number not in self.blocks:
            if len(self.blocks) == BLOCKS_KEPT:
                del self.blocks[next(iter(self.blocks))]
            self.blocks[number] = memoryview(self.read_at(BLOCK_BYTES, number * BLOCK_BYTES))
        return self.blocks[number]
