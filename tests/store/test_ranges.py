from __future__ import annotations

import io
import random
from pathlib import Path

import pyarrow as pa
import pytest

from dfd_ray.store import remote_file
from dfd_ray.store.remote_file import RangeReader


class CountedFile:
    """A file that counts the reads."""

    def __init__(self, data: bytes) -> None:
        self.file = pa.BufferReader(data)
        self.reads: list[int] = []

    def size(self) -> int:
        return int(self.file.size())

    def read_at(self, count: int, offset: int) -> bytes:
        self.reads.append(offset)
        return bytes(self.file.read_at(count, offset))


def test_a_small_file_is_read_once_however_it_is_walked() -> None:
    file = CountedFile(bytes(1000))
    reader = RangeReader(file)
    for start in (0, 900, 0, 500):
        reader.seek(start)
        while reader.read(32):
            pass
    assert file.reads == [0]


def test_every_read_is_as_of_a_plain_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_file, "BLOCK_BYTES", 64)
    data = random.Random(1).randbytes(1000)
    reader, plain = io.BufferedReader(RangeReader(CountedFile(data)), 1), io.BytesIO(data)
    moves = random.Random(2)
    for _ in range(300):
        offset, whence, count = moves.randint(-20, 1100), moves.choice([0, 0, 2]), moves.randint(0, 200)
        offset = -abs(offset) % 900 - 900 if whence == 2 else abs(offset)
        assert reader.seek(offset, whence) == plain.seek(offset, whence)
        assert reader.read(count) == plain.read(count)


def test_few_ranges_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_file, "BLOCK_BYTES", 10)
    file = CountedFile(bytes(100))
    reader = RangeReader(file)
    assert len(reader.readall()) == 100
    assert file.reads == list(range(0, 100, 10))
    assert len(reader.blocks) == remote_file.BLOCKS_KEPT


def test_a_video_is_decoded_by_ranges_as_from_a_disk(small_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dfd_ray.sections import Preprocess
    from dfd_ray.video import decode_video

    monkeypatch.setattr(remote_file, "BLOCK_BYTES", 50_000)
    path = max(small_corpus.rglob("*.mp4"), key=lambda file: file.stat().st_size)
    settings = Preprocess()
    limits = {"containers": settings.containers, "max_pixels": settings.max_pixels, "max_packets": settings.max_packets}
    reader = RangeReader(CountedFile(path.read_bytes()))
    one, other = (decode_video(source, 3, **limits, deadline=100) for source in (reader, str(path)))  # type: ignore[arg-type]
    assert [frame.index for frame in one.frames] == [frame.index for frame in other.frames]
    assert all((a.to_rgb() == b.to_rgb()).all() for a, b in zip(one.frames, other.frames, strict=True))
