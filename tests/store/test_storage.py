from __future__ import annotations

import errno
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dfd_ray.errors import ConfigurationError, RunError
from dfd_ray.store import storage

if TYPE_CHECKING:
    from tests.bucket import Bucket


def names_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("s3://bucket/run", "s3://bucket/run"),
        ("gs://bucket/run/", "gs://bucket/run"),
        ("file:///data/run", "file:///data/run"),
        ("/data/run", "/data/run"),
        ("/data/run/", "/data/run"),
    ],
)
def test_a_location_that_is_absolute_stays_what_it_is(location: str, expected: str) -> None:
    assert storage.absolute_uri(location) == expected


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage.absolute_uri("runs/one") == str(tmp_path / "runs" / "one")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert storage.absolute_uri("~/run") == str(tmp_path / "run")


@pytest.mark.parametrize("name", ["plain", "with space", "ünï-çødé", "per%20cent", "a#b?c", "semi;colon"])
def test_a_path_of_any_name_is_written_and_read(tmp_path: Path, name: str) -> None:
    location = str(tmp_path / name / "file")
    storage.write_bytes(location, b"\x00\xff")
    assert (tmp_path / name / "file").read_bytes() == b"\x00\xff"
    assert storage.read_bytes(location) == b"\x00\xff"
    assert storage.exists(location)


def test_a_location_of_no_known_kind_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigurationError, match="nonsense://x") as caught:
        storage.open_location("nonsense://x")
    assert "\n" not in str(caught.value)


def test_parts_are_joined_below_a_folder_or_uri() -> None:
    assert storage.join("s3://bucket/run", "faces", "a.parquet") == "s3://bucket/run/faces/a.parquet"
    assert storage.join("/run", "faces") == "/run/faces"


def test_a_file_is_there_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    storage.write_bytes(str(tmp_path / "deep" / "er" / "file.bin"), b"first")
    storage.write_bytes(str(tmp_path / "deep" / "er" / "file.bin"), b"2")
    assert names_under(tmp_path) == ["deep/er/file.bin"]
    assert (tmp_path / "deep" / "er" / "file.bin").read_bytes() == b"2"


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    storage.write_bytes(str(path), b"old")

    def write_half(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match="No space left"):
        storage.write_bytes(str(path), b"newer")
    assert path.read_bytes() == b"old"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Have an interrupt raise KeyboardInterrupt. A shell starts what it puts into the background with interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_during_an_upload_does_not_empty_the_object(bucket: Bucket, interruptible: None) -> None:
    storage.write_bytes("s3://bucket/file", b"old")

    def interrupt(kind: str, path: str) -> None:
        if kind == "write":
            time.sleep(0.05)  # by then the caller waits
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(0.05)

    bucket.fail = interrupt
    with pytest.raises(KeyboardInterrupt):
        storage.write_bytes("s3://bucket/file", b"newer")
    assert bucket.objects["bucket/file"][0] == b"newer"


def test_files_are_listed_sorted_by_suffix_and_not_from_below(tmp_path: Path) -> None:
    for name in ("b.parquet", "a.parquet", "c.json", "d.parquet.partial", "below/e.parquet"):
        storage.write_bytes(str(tmp_path / name), b"")
    (tmp_path / "folder.parquet").mkdir()
    assert storage.list_files(str(tmp_path), ".parquet") == [str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")]
    assert len(storage.list_files(str(tmp_path))) == 4


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert storage.list_files(str(tmp_path / "absent")) == []


@pytest.mark.parametrize("value", [{"z": 1, "a": [1.5, None, True]}, [], "ünï", 3])
def test_json_is_read_back_as_written(tmp_path: Path, value: Any) -> None:
    location = str(tmp_path / "value.json")
    storage.write_json(location, value)
    assert storage.read_json(location) == value
    assert (tmp_path / "value.json").read_text(encoding="utf-8").endswith("\n")


def test_json_keeps_the_order_of_its_keys(tmp_path: Path) -> None:
    storage.write_json(str(tmp_path / "value.json"), {"z": 1, "a": 2})
    assert list(storage.read_json(str(tmp_path / "value.json"))) == ["z", "a"]


def test_json_holds_no_value_that_other_readers_refuse(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_json(str(tmp_path / "value.json"), {"loss": float("nan")})
    assert names_under(tmp_path) == []


def test_json_that_is_missing_is_an_error_of_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"summary\.json is missing"):
        storage.read_json(str(tmp_path / "summary.json"))


def test_bytes_that_are_missing_are_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(str(tmp_path / "absent"))


def test_a_folder_is_deleted_with_all_in_it_and_nothing_beside_it(tmp_path: Path) -> None:
    for name in ("run/faces/a", "run/faces/deep/b", "run/faces-old/c"):
        storage.write_bytes(str(tmp_path / name), b"")
    storage.delete_folder(str(tmp_path / "run" / "faces"))
    assert names_under(tmp_path) == ["run/faces-old/c"]
    assert not storage.exists(str(tmp_path / "run" / "faces"))


def test_deleting_a_folder_that_is_not_there_or_a_file_does_nothing(tmp_path: Path) -> None:
    storage.write_bytes(str(tmp_path / "file"), b"1")
    storage.delete_folder(str(tmp_path / "absent"))
    storage.delete_folder(str(tmp_path / "file"))
    assert names_under(tmp_path) == ["file"]


def test_a_refusing_disk_is_told_in_words_through_ray_too() -> None:
    class RaisedInATaskError(OSError):
        cause = OSError(errno.ENOSPC, "Error writing bytes to file")

    assert storage.describe_refusal(OSError(errno.EROFS, "x")) == "Read-only file system"
    assert storage.describe_refusal(RaisedInATaskError()) == "No space left on device"
    assert storage.describe_refusal(FileNotFoundError(errno.ENOENT, "x")) is None
    assert storage.describe_refusal(OSError("no number")) is None


@pytest.mark.parametrize("location", ["s3://key:hush@bucket/run", "s3://hush@bucket", "gs://key:hush@bucket/run"])
def test_a_uri_with_credentials_is_refused_without_repeating_them(location: str) -> None:
    with pytest.raises(ConfigurationError, match="credentials do not belong in a URI") as caught:
        storage.absolute_uri(location)
    assert "hush" not in str(caught.value)
    assert "bucket" in str(caught.value)


def test_an_at_sign_in_the_name_of_an_object_is_no_credential() -> None:
    assert storage.absolute_uri("s3://bucket/mail@home/run") == "s3://bucket/mail@home/run"


@pytest.mark.parametrize("location", ["s3://bucket/run?endpoint_override=localhost", "gs://bucket/run?project_id=a"])
def test_a_uri_with_options_is_refused_since_names_are_made_from_it(location: str) -> None:
    with pytest.raises(ConfigurationError, match="a URI takes no options; AWS_REGION and AWS_ENDPOINT_URL set them"):
        storage.absolute_uri(location)


def test_a_store_that_does_not_answer_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    monkeypatch.setattr(storage, "REQUESTS", 1)
    with pytest.raises(ConfigurationError, match=r"NETWORK_CONNECTION.*; check the network, AWS_REGION") as caught:
        storage.open_location("s3://bucket/a name with % and spaces")
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("AWS Error NO_SUCH_BUCKET during ListObjectsV2 operation: gone (Request ID: abc)", "make the bucket"),
        ("AWS Error ACCESS_DENIED during HeadObject operation: No response body.", "check the credentials"),
        ("AWS Error SLOW_DOWN during PutObject operation: Please reduce your request rate.", "check the network"),
        ("google::cloud::Status(PERMISSION_DENIED: no)", "check the credentials"),
    ],
)
def test_what_object_storage_says_is_told_with_what_mends_it(said: str, remedy: str) -> None:
    told = storage.describe_refusal(OSError(said))
    assert told is not None
    assert remedy in told
    assert "Request ID" not in told
