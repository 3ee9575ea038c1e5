from __future__ import annotations

import itertools

import pyarrow as pa
import pytest

from dfd_ray.store import remote_file
from dfd_ray.store.remote_file import READS, RemoteFile

FLUSH = "AWS Error INTERNAL_FAILURE during GetObject operation: Failed to flush response stream (eof: 0, bad: 1)"


class BadFile:
    """A file whose first reads fail."""

    def __init__(self, data: bytes, failures: int, message: str) -> None:
        self.file = pa.BufferReader(data)
        self.failures, self.message, self.reads = failures, message, 0

    def size(self) -> int:
        return int(self.file.size())

    def read_at(self, count: int, offset: int) -> bytes:
        self.reads += 1
        if self.reads <= self.failures:
            raise OSError(self.message)
        return bytes(self.file.read_at(count, offset))

    def close(self) -> None:
        self.file.close()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(remote_file.time, "sleep", slept.append)
    return slept


@pytest.mark.parametrize("message", [FLUSH, "AWS Error SLOW_DOWN during GetObject", "AWS Error UNKNOWN (HTTP status 503)"])
def test_an_error_that_passes_is_waited_for(message: str, pauses: list[float]) -> None:
    file = BadFile(b"abcdef", READS - 1, message)
    assert RemoteFile(file).read() == b"abcdef"
    assert len(pauses) == READS - 1
    assert all(later > earlier for earlier, later in itertools.pairwise(pauses[:-1]))


def test_an_error_that_stays_is_raised_as_the_store_said_it(pauses: list[float]) -> None:
    file = BadFile(b"abcdef", 10**6, FLUSH)
    with pytest.raises(OSError, match="Failed to flush"):
        RemoteFile(file).read()
    assert file.reads == READS
    assert sum(pauses) < 60


@pytest.mark.parametrize("message", ["AWS Error ACCESS_DENIED during GetObject", "[Errno 5] Input/output error"])
def test_an_error_that_cannot_pass_is_raised_at_once(message: str, pauses: list[float]) -> None:
    file = BadFile(b"abcdef", 1, message)
    with pytest.raises(OSError, match="rror"):
        RemoteFile(file).read()
    assert not pauses


def test_a_read_is_one_request_and_ends_at_the_end() -> None:
    file = BadFile(b"abcdef", 0, "")
    reader = RemoteFile(file)
    assert reader.read(4) == b"abcd"
    assert reader.read() == b"ef"
    assert reader.read(3) == b""
    assert file.reads == 3
    reader.close()
    assert file.file.closed
