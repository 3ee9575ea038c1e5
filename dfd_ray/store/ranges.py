"""Reading a file of object storage by large ranges: FFmpeg asks for 32 KiB at a time, each of which would be a request."""

from __future__ import annotations

import pyarrow as pa

from dfd_ray.store.remote_file import RemoteFile

BLOCK_BYTES = 8 * 2**20
"""Size of a range. Most videos of DFDC are smaller, so they are read once, though FFmpeg walks through them before decoding."""
BLOCKS_KEPT = 4
"""Ranges kept; more than the places in a container between which its reader jumps."""


class RangeReader(RemoteFile):
    """An open file of `pyarrow.fs`, read in ranges of `BLOCK_BYTES`; the last few are kept."""

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
