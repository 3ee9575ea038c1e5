"""How many frames a file promises, beside how many it holds: a file that breaks off is told from a short video."""

from __future__ import annotations

import os
import struct
from contextlib import nullcontext
from typing import BinaryIO

import av

EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
"""Ids of Matroska's header and of the one element that holds everything else (RFC 8794, 11.2.1; RFC 9559, 5.1)."""
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
"""GUID of the object that holds the file's size, 40 bytes after where it begins (ASF specification, 3.2)."""
FLV_FILE_SIZE = b"\x00\x08filesize\x00"
"""Name of the file's size among FLV's metadata, before a number of 8 bytes."""
HEAD, TAIL = 2**16, 2**12
"""Bytes of a file's beginning and end that are looked at. A download that was not finished may end in zeros."""


def count_unread(container: av.container.InputContainer, stream: av.VideoStream, read: int) -> int:
    """Return how many frames the container lists beyond the `read` ones: MP4 and AVI list each, others none."""
    if not container.format.name.startswith(("mov", "avi")) or len(stream.index_entries) <= read:
        return 0
    return max(0, sum(1 for entry in stream.index_entries if entry.size > 0) - read)


def count_announced(container: av.container.InputContainer, stream: av.VideoStream, counted: int) -> int:
    """Return how many frames the container's header tells of, or its duration and rate make; 0 when it does not say.

    Of MP4 and its kin these are the frames counted, because their list says it better.
    """
    if container.format.name.startswith("mov"):
        return counted
    seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    seconds = seconds or (container.duration or 0) / av.time_base
    rate = float(stream.average_rate or 0)
    return max(int(stream.frames), round(seconds * rate) if seconds > 0 and 0 < rate <= 1000 else 0)


def count_promised(source: str | BinaryIO, frame_count: int, announced: int) -> int:
    """Return how many frames a file promises: those counted, unless it is shorter than its header says or ends in zeros.

    Only then are the frames believed that it announces; headers lie, and sound may go on after the pictures. Where it announces
    none, its missing bytes count.
    """
    with open(source, "rb") if isinstance(source, str) else nullcontext(source) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        declared = read_declared_size(file.read(HEAD))
        file.seek(max(0, size - TAIL))
        whole = declared <= size and any(file.read(TAIL))
    return frame_count if whole else max(frame_count, announced or round(frame_count * declared / size))


def read_declared_size(head: bytes) -> int:
    """Return how many bytes a file should have by its first ones (Matroska, AVI, ASF, FLV); 0 where they do not say."""
    if head.startswith(b"RIFF"):
        size = int.from_bytes(head[4:8], "little")
        return size + 8 if size not in (0, 2**32 - 1) else 0
    if head.startswith(EBML) and (segment := head.find(SEGMENT)) >= 0:
        first = head[segment + 4 : segment + 5] or b"\x00"
        length = 9 - first[0].bit_length()  # of a size in EBML: as many zero bits lead as bytes follow
        size = int.from_bytes(head[segment + 4 : segment + 4 + length], "big") & (2 ** (7 * length) - 1)
        return segment + 4 + length + size if size != 2 ** (7 * length) - 1 else 0
    if (place := head.find(ASF_FILE_PROPERTIES)) >= 0:
        return int.from_bytes(head[place + 40 : place + 48], "little")
    if head.startswith(b"FLV") and (place := head.find(FLV_FILE_SIZE)) >= 0:
        number = head[place + len(FLV_FILE_SIZE) :][:8]
        told: float = struct.unpack(">d", number)[0] if len(number) == 8 else 0.0
        return int(told) if 0 < told < 2**53 else 0
    return 0
