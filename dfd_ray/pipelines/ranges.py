"""Reading a file of object storage by large ranges: FFmpeg asks for 32 KiB at a time, each of which would be a request."""

from __future__ import annotations

import io
from typing import Any

BLOCK_BYTES = 8 * 2**20
"""Of a range. Most videos of DFDC are smaller: they are read once, although they are walked through before they are decoded."""
BLOCKS_KEPT = 4
"""Ranges kept; more than the places between which a container makes its reader go to and fro."""


class RangeReader(io.RawIOBase):
    """An open file of `pyarrow.fs`, read in ranges of `BLOCK_BYTES`, of which the last few are kept."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.bytes = int(file.size())
        self.position = 0
        self.blocks: dict[int, memoryview] = {}

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it can seek."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move as files do, without a request."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.bytes}[whence]
        self.position = max(0, start + offset)
        return self.position

    def tell(self) -> int:
        """Return the position in bytes."""
        return self.position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer to the end of the range at the position, and return how many bytes that were; 0 at the end."""
        number, offset = divmod(self.position, BLOCK_BYTES)
        if self.position >= self.bytes:
            return 0
        part = self.block(number)[offset : offset + len(buffer)]
        memoryview(buffer).cast("B")[: len(part)] = part
        self.position += len(part)
        return len(part)

    def block(self, number: int) -> memoryview:
        """Return a range, from those kept or from the store."""
        if number not in self.blocks:
            if len(self.blocks) == BLOCKS_KEPT:
                del self.blocks[next(iter(self.blocks))]
            self.blocks[number] = memoryview(self.file.read_at(BLOCK_BYTES, number * BLOCK_BYTES))
        return self.blocks[number]
