"""An S3 server on loopback with users, keys and signatures (moto, in an environment of its own), and a bad network."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from benchmarks.ports import free_ports

from .conftest import PROJECT

BUCKET = "bucket"
SET_UP = """
import boto3, json, sys
root = dict(endpoint_url=sys.argv[1], aws_access_key_id="root", aws_secret_access_key="root", region_name="us-east-1")
iam = boto3.client("iam", **root)
iam.create_user(UserName="dfd")
allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="dfd", PolicyName="dfd", PolicyDocument=json.dumps(allow))
key = iam.create_access_key(UserName="dfd")["AccessKey"]
boto3.client("s3", **root).create_bucket(Bucket=sys.argv[2])
print(json.dumps([key["AccessKeyId"], key["SecretAccessKey"]]))
"""
UNCHECKED = 4
"""Requests before moto asks for credentials: those of `SET_UP`."""


@dataclass
class Store:
    """A running server, the key of a user who may do everything in it, and the requests that came through the bad network."""

    endpoint: str
    direct: str
    """The server itself, for who must not be disturbed."""
    key: str
    secret: str
    requests: list[str] = field(default_factory=list)
    failures: int = 0

    def environment(self, **changes: str) -> dict[str, str]:
        """Return the variables by which the user reaches the store."""
        variables = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        return variables | changes


def interpreter() -> str:
    """Return the Python that has moto; without one the test is skipped."""
    named = os.environ.get("DFD_S3_PYTHON", str(PROJECT / ".venv-s3" / "bin" / "python"))
    if not Path(named).exists():
        pytest.skip(f"no S3 server: {named} is not there; `make test-slow` makes it where a package registry can be reached")
    return named


@contextmanager
def running_store(bad_every: int) -> Iterator[Store]:
    """Start a server and, before it, a network where every so manieth request fails; end both after the context."""
    python = interpreter()
    [port] = free_ports(1)
    server = f"http://127.0.0.1:{port}"
    command = [python, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": str(UNCHECKED)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await_answer(f"{server}/moto-api/", process)
        answer = subprocess.run([python, "-c", SET_UP, server, BUCKET], capture_output=True, text=True, check=True, timeout=120)
        store = Store("", server, *json.loads(answer.stdout))
        with bad_network(port, store, bad_every) as store.endpoint:
            yield store
    finally:
        process.kill()
        process.wait()


def await_answer(url: str, process: subprocess.Popen[bytes], limit: float = 120) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + limit
    while True:
        assert process.poll() is None, "the S3 server ended"
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


@contextmanager
def bad_network(port: int, store: Store, bad_every: int) -> Iterator[str]:
    """Pass requests on to a port; of every so many one is told to slow down, or finds the connection closed."""
    count = itertools.count(1)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(self.length())
            number = next(count)
            store.requests.append(f"{self.command} {self.path}")
            if number % bad_every == 0:
                store.failures += 1
                if store.failures % 2:
                    self.close_connection = True
                    return
                self.answer(503, {}, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")
                return
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(body)
            reply = upstream.getresponse()
            self.answer(reply.status, dict(reply.getheaders()), reply.read())
            upstream.close()

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

        def length(self) -> int:
            return int(self.headers.get("Content-Length", 0))

        def chunks(self) -> bytes:
            """Return a body sent in chunks, as it was sent."""
            raw = b""
            while True:
                raw += (line := self.rfile.readline())
                if not (size := int(line.split(b";")[0], 16)):
                    break
                raw += self.rfile.read(size + 2)
            while (line := self.rfile.readline()) not in (b"\r\n", b""):  # trailers
                raw += line
            return raw + b"\r\n"

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            # Of a HEAD the length is that of the object, which is not sent.
            self.send_header("Content-Length", headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
