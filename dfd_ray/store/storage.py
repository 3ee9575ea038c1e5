"""Files of a run, on a local disk or in object storage, through `pyarrow.fs`."""

from __future__ import annotations

import errno
import json
import os
import posixpath
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.fs as pafs

from dfd_ray.errors import ConfigurationError, RunError
from dfd_ray.store.remote_file import RemoteFile

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""Errors of a disk that is full, over a quota, read-only, not ours, or broken."""

STORES = ("s3", "gs", "gcs")
"""Schemes of object storage. A bucket and a name follow, which are taken literally, as the stores' own tools do."""
REQUESTS = 8
"""Attempts of a request to S3 that is throttled, not connected, or answered by an error of the server: half a minute in all."""
ANSWER_SECONDS = 60.0
"""Seconds after which a request to S3 without an answer is repeated."""
RETRY_SECONDS = 60
"""Seconds for which a request to Google's storage is repeated."""

REMEDIES = {
    r"NO_SUCH_BUCKET|Bucket '.*' not found": "make the bucket, or mend its name",
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE|TOKEN|UNRECOGNIZED|HTTP status 40[013]|PERMISSION_DENIED|UNAUTHENTICATED": (
        "check the credentials: those of the environment, a profile or the machine's identity, and what they may do there"
    ),
    r"NETWORK_CONNECTION|UNAVAILABLE|SLOW_DOWN|HTTP status 5": "check the network, AWS_REGION and AWS_ENDPOINT_URL",
}
"""Remedies for errors of object storage, by a pattern of their text."""


def describe_refusal(error: OSError) -> str | None:
    """Return in words why a disk or store refused, also from inside a Ray task; None for an error of another kind."""
    cause = getattr(error, "cause", error)
    number = getattr(cause, "errno", None)
    if number in REFUSALS:
        return os.strerror(number)
    return describe_storage_error(cause) if re.search("AWS Error|Bucket '.*' not found|google::cloud", str(cause)) else None


def describe_storage_error(error: Exception) -> str:
    """Return in one line what object storage said, and the remedy."""
    said = re.sub(r" \(Request ID: .*?\)", "", " ".join(str(error).split())).rstrip(". ")
    return "; ".join([said, *(remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, said))][:2])


def absolute_uri(location: str) -> str:
    """Return a URI unchanged and a local path made absolute, so that every worker means the same place.

    Raises ConfigurationError for a URI with credentials, which would get into tables, summaries and logs, or with options,
    which would get into the names made from it.
    """
    if "://" in location:
        scheme, _, rest = location.partition("://")
        if scheme in STORES and "?" in rest:
            raise ConfigurationError(
                f"{scheme}://{rest.partition('?')[0]}?...: a URI takes no options; AWS_REGION and AWS_ENDPOINT_URL set them"
            )
        if "@" in rest.partition("/")[0]:
            bucket = rest.partition("/")[0].rpartition("@")[2]
            raise ConfigurationError(
                f"{scheme}://...@{bucket}: credentials do not belong in a URI, which is kept with the run; "
                "give them by the environment, a profile or the machine's identity"
            )
        return location.rstrip("/")
    return str(Path(location).expanduser().absolute())


def open_location(location: str) -> tuple[pafs.FileSystem, str]:
    """Return the file system of a path or URI, and the path inside it.

    Raises ConfigurationError for a bucket that is missing or closed to these credentials, and for an unknown kind of URI.
    """
    uri = absolute_uri(location)
    scheme, _, path = uri.partition("://")
    bucket = path.partition("/")[0]
    try:
        if scheme in STORES:
            return open_bucket(
                f"{scheme}://{bucket}", os.environ.get("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL"))
            ), path
        filesystem, path = pafs.FileSystem.from_uri(uri)
        return filesystem, path
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{location}: {describe_storage_error(error)}") from None


class S3Bucket(pafs.S3FileSystem):  # type: ignore[misc]  # pyarrow has no hints
    """The file system of an S3 region and server, which retries also where a worker has unpickled it.

    pyarrow's own class forgets its retry strategy when it is pickled (apache/arrow#47348): a worker would try three times.
    """

    def __init__(self, region: str, endpoint: str | None) -> None:
        super().__init__(
            region=region,
            endpoint_override=endpoint,
            connect_timeout=ANSWER_SECONDS,
            request_timeout=ANSWER_SECONDS,
            retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=REQUESTS),
        )
        self.opened_as = (region, endpoint)

    def __reduce__(self) -> tuple[type[S3Bucket], tuple[str, str | None]]:
        return S3Bucket, self.opened_as


@cache
def open_bucket(bucket: str, endpoint: str | None) -> pafs.FileSystem:
    """Return the file system of a bucket, such as `s3://bucket`; OSError when the bucket is missing or closed to us.

    It retries, unlike the one that pyarrow makes from a URI. `endpoint` is that of a server other than AWS.
    """
    filesystem, name = pafs.FileSystem.from_uri(bucket)
    if isinstance(filesystem, pafs.S3FileSystem):
        filesystem = S3Bucket(filesystem.region, endpoint)
    else:
        filesystem = pafs.GcsFileSystem(retry_time_limit=timedelta(seconds=RETRY_SECONDS))
    if filesystem.get_file_info(name).type == pafs.FileType.NotFound:
        raise OSError(f"Bucket '{name}' not found")
    return filesystem


def join(location: str, *parts: str) -> str:
    """Return the location of something inside a folder."""
    return posixpath.join(location, *parts)


def exists(location: str) -> bool:
    """Return whether there is a file or a folder."""
    filesystem, path = open_location(location)
    return bool(filesystem.get_file_info(path).type != pafs.FileType.NotFound)


def list_files(location: str, suffix: str = "") -> list[str]:
    """Return the files directly in a folder, sorted, as paths inside its file system; none if it is not there."""
    filesystem, path = open_location(location)
    found = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    return sorted(info.path for info in found if info.type == pafs.FileType.File and info.path.endswith(suffix))


def write_bytes(location: str, data: bytes) -> None:
    """Write a file whole: it gets its name only when every byte is written."""
    filesystem, path = open_location(location)
    filesystem.create_dir(posixpath.dirname(path), recursive=True)
    if isinstance(filesystem, pafs.LocalFileSystem):
        partial = f"{path}.{uuid.uuid4().hex}.partial"  # a name of its own, since two attempts of a task may write at once
        Path(partial).write_bytes(data)
        Path(partial).replace(path)
        return

    def upload() -> None:
        with filesystem.open_output_stream(path) as stream:
            stream.write(data)

    # In a thread, which no Ctrl-C interrupts: a stream that is left before its bytes are written makes the object empty.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(upload).result()


@contextmanager
def write_whole(location: str) -> Iterator[IO[bytes]]:
    """Yield a stream that writes a new file piece by piece: it is there after the context, and not at all after an error.

    In object storage one upload makes it, so that it may be larger than what a store can rename (S3: 5 GiB).
    """
    filesystem, path = open_location(location)
    if isinstance(filesystem, pafs.LocalFileSystem):
        final, partial = Path(path), Path(f"{path}.{uuid.uuid4().hex}.partial")
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                yield file
            partial.replace(final)
        finally:
            partial.unlink(missing_ok=True)
        return
    stream = filesystem.open_output_stream(path)
    try:
        yield stream
    except BaseException:
        with suppress(OSError):  # pyarrow cannot give up an upload; where closing fails, the store has made no object of it
            stream.close()
            filesystem.delete_file(path)
        raise
    stream.close()


def read_bytes(location: str) -> bytes:
    """Return a file's content; FileNotFoundError when there is none."""
    filesystem, path = open_location(location)
    with open_input(path, filesystem) as file:
        return bytes(file.read())


def open_input(path: str, filesystem: pafs.FileSystem) -> pa.NativeFile:
    """Open a file to read from anywhere in it; FileNotFoundError when there is none."""
    file = filesystem.open_input_file(path)
    return file if isinstance(filesystem, pafs.LocalFileSystem) else pa.PythonFile(RemoteFile(file), "r")


def write_json(location: str, value: object) -> None:
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
