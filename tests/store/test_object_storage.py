"""What S3 is asked for by a worker, on a server on loopback that is busy at first."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pyarrow.fs as pafs
import pytest

from dfd_ray.store import storage

ATTEMPTS_BY_DEFAULT = 3
"""Times that an S3 client makes a request when nobody says otherwise."""
UPLOAD = b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
DONE = b'<CompleteMultipartUploadResult><ETag>"1"</ETag></CompleteMultipartUploadResult>'
CONTENT = bytes(range(256)) * 8


class BusyStore(BaseHTTPRequestHandler):
    """An S3 server with one object; it answers each kind of request to an object with 503 at first."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[Counter[str]] = Counter()
    busy = 0
    """Times that each request to an object is refused."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = f"{self.command} {self.path}"
        self.seen[request] += 1
        if self.path.startswith("/bucket/") and self.seen[request] <= self.busy:
            self.answer(503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
        else:
            answers = {"PUT": b"", "POST": UPLOAD if self.path.endswith("uploads") else DONE}
            self.answer(206 if "Range" in self.headers else 200, answers.get(self.command, CONTENT))

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

    def answer(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Fri, 27 Nov 2026 12:00:00 GMT")
        self.send_header("Connection", "close")  # so that a body sent in chunks need not be read
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def busy_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Start a server that refuses each request so many times, and yield how often it was asked for what."""
    BusyStore.seen.clear()
    monkeypatch.setattr(BusyStore, "busy", request.param)
    with ThreadingHTTPServer(("127.0.0.1", 0), BusyStore) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "any")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        storage.open_bucket.cache_clear()
        yield BusyStore.seen
        storage.open_bucket.cache_clear()
        server.shutdown()


def send_to_worker(filesystem: pafs.FileSystem) -> pafs.FileSystem:
    """Return the file system as Ray hands it to a task."""
    return pickle.loads(pickle.dumps(filesystem))


@pytest.mark.parametrize("busy_store", [ATTEMPTS_BY_DEFAULT], indirect=True)
def test_a_worker_asks_a_busy_store_more_often_than_by_default(busy_store: Counter[str]) -> None:
    filesystem, path = storage.open_location("s3://bucket/file")
    assert send_to_worker(filesystem).get_file_info(path).size == len(CONTENT)
    assert busy_store["HEAD /bucket/file"] == ATTEMPTS_BY_DEFAULT + 1


@pytest.mark.slow
@pytest.mark.parametrize("busy_store", [5], indirect=True)
def test_a_worker_reads_and_writes_where_a_store_answers_503_five_times(busy_store: Counter[str]) -> None:
    filesystem, path = storage.open_location("s3://bucket/file")
    bucket = send_to_worker(filesystem)
    with bucket.open_input_file(path) as file:
        assert file.read_at(len(CONTENT), 0) == CONTENT
    with bucket.open_output_stream(path) as stream:
        stream.write(CONTENT)
    asked = {request.split("?")[0] for request in busy_store}
    assert asked >= {"HEAD /bucket/file", "GET /bucket/file", "PUT /bucket/file", "POST /bucket/file"}
    assert min(count for request, count in busy_store.items() if "/bucket/" in request) == 6


@pytest.mark.parametrize("busy_store", [ATTEMPTS_BY_DEFAULT], indirect=True)
def test_pyarrow_s_own_file_system_forgets_its_strategy(busy_store: Counter[str]) -> None:
    """Why there is a class of ours: when this fails, `S3Bucket` can go."""
    filesystem, path = storage.open_location("s3://bucket/file")
    plain = pafs.S3FileSystem(
        endpoint_override=filesystem.opened_as[1],
        region="us-east-1",
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=storage.REQUESTS),
    )
    with pytest.raises(OSError, match="503"):
        send_to_worker(plain).get_file_info(path)
