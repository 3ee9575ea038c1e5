"""One writer for each run in a bucket: who comes second is refused, who is dead is replaced, by one alone."""

from __future__ import annotations

import re
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from dfd_ray.cli import main
from dfd_ray.errors import RunError
from dfd_ray.store import claim
from dfd_ray.store.claim import PREFIX, STALE_SECONDS
from dfd_ray.store.lock import lock_run
from dfd_ray.store.storage import open_location

if TYPE_CHECKING:
    from tests.bucket import Bucket

RUN = "s3://bucket/run"


def claims_in(bucket: Bucket) -> list[str]:
    return [name for name in bucket.names() if PREFIX in name]


def write_dead_claim(bucket: Bucket, name: str = "0dead", age: float = STALE_SECONDS + 1) -> str:
    """Leave the claim of a job that was killed, and return its path."""
    path = f"bucket/run/{PREFIX}{name}"
    bucket.put(path, b"holds: other-host, process 7, since 2026-01-01 00:00 UTC")
    bucket.age(path, age)
    return path


def count_winners(drivers: int) -> int:
    """Let so many jobs begin at once, each holding until all have tried; return how many went on."""
    together, tried, won = threading.Barrier(drivers), threading.Barrier(drivers), list[int]()

    def begin(number: int) -> None:
        together.wait()
        with ExitStack() as held:
            try:
                held.enter_context(lock_run(RUN, create=True))
                won.append(number)
            except RunError as error:
                assert "is in use by another job" in str(error)
            tried.wait()

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(drivers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(won)


@pytest.mark.parametrize("dead", [False, True])
def test_of_jobs_that_begin_at_once_exactly_one_goes_on(dead: bool, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "PAUSE", 0.001)
    # Requests take a while, each another.
    monkeypatch.setattr(bucket, "fail", lambda kind, path: time.sleep(hash((kind, path, time.time_ns())) % 5 / 2000))
    for _ in range(20):
        if dead:
            write_dead_claim(bucket)
        assert count_winners(3) == 1
        assert not claims_in(bucket)


def test_the_second_is_told_who_holds_the_run_since_when_and_what_to_do(
    bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dead_claim(bucket, age=100.0)
    assert main(["index", "--run", RUN, "--corpus", "/none"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    holder = r"other-host, process 7, since 2026-01-01 00:00 UTC; seen 100 s ago"
    assert re.fullmatch(
        rf"dfd-ray index: {RUN} is in use by another job \({holder}\); "
        r"wait for it, or give another --run\. If it was killed, the run is free in 200 s",
        line,
    )
    assert len(claims_in(bucket)) == 1


def test_it_is_let_go_of_after_the_job_and_after_an_error(bucket: Bucket) -> None:
    with lock_run(RUN, create=True):
        assert len(claims_in(bucket)) == 1
    assert not claims_in(bucket)
    with pytest.raises(KeyError), lock_run(RUN, create=True):
        raise KeyError
    assert not claims_in(bucket)


def test_the_claim_of_a_dead_job_is_deleted_by_the_next(bucket: Bucket) -> None:
    dead = write_dead_claim(bucket)
    with lock_run(RUN, create=True):
        assert dead not in claims_in(bucket)


def test_a_claim_is_renewed_while_the_job_runs(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "RENEWAL_SECONDS", 0.01)
    with lock_run(RUN, create=True):
        [path] = claims_in(bucket)
        bucket.age(path, 200.0)
        await_that(lambda: time.time() - bucket.objects[path][1] < 100)


def await_that(condition: object) -> None:
    deadline = time.monotonic() + 10
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_network_that_fails_for_a_while_costs_nothing(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "RENEWAL_SECONDS", 0.01)
    tries = list[str]()

    def fail(kind: str, path: str) -> None:
        tries.append(kind)
        raise OSError("AWS Error NETWORK_CONNECTION")

    with lock_run(RUN, create=True):
        bucket.fail = fail
        await_that(lambda: len(tries) > 3)
        bucket.fail = lambda kind, path: None
        [path] = claims_in(bucket)
        bucket.age(path, 200.0)
        await_that(lambda: time.time() - bucket.objects[path][1] < 100)


@pytest.mark.parametrize("deleted", [True, False])
def test_a_job_that_was_taken_for_dead_ends_when_it_wakes_up(
    deleted: bool, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who takes over has deleted its claim, or it has brought its claim back in the same moment."""
    monkeypatch.setattr(claim, "RENEWAL_SECONDS", 0.01)
    with pytest.raises(RunError, match="was taken over by another job"), lock_run(RUN, create=True):
        [path] = claims_in(bucket)
        if deleted:
            del bucket.objects[path]
        else:
            write_dead_claim(bucket, age=0.0)
        time.sleep(10)
    assert path not in claims_in(bucket)


def test_the_job_that_took_over_stays_when_the_other_wakes_up(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "RENEWAL_SECONDS", 0.01)
    dead = write_dead_claim(bucket)
    with lock_run(RUN, create=True):
        [mine] = claims_in(bucket)
        bucket.put(dead, b"holds: other-host, process 7")
        bucket.age(mine, 200.0)
        await_that(lambda: time.time() - bucket.objects[mine][1] < 100)


def test_a_store_that_cannot_be_written_or_does_not_list_what_was_written_is_one_line(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(kind: str, path: str) -> None:
        if kind == "put":
            raise OSError("AWS Error ACCESS_DENIED during PutObject operation")

    bucket.fail = refuse
    with pytest.raises(RunError, match=f"--run {RUN} cannot be written: .*check the credentials"), lock_run(RUN, create=True):
        pass
    monkeypatch.setattr(bucket, "put", lambda path, data: None)
    with pytest.raises(RunError, match="does not list what was just written"), lock_run(RUN, create=True):
        pass


def test_a_folder_that_is_not_there_is_held_only_when_asked(bucket: Bucket) -> None:
    with lock_run(RUN, create=False):
        assert not bucket.names()


def test_what_another_has_written_into_its_claim_stays_one_line(bucket: Bucket) -> None:
    bucket.put(f"bucket/run/{PREFIX}0", b"holds: \x1b[2J\nroot \xff")
    with pytest.raises(RunError) as raised, lock_run(RUN, create=True):
        pass
    assert str(raised.value).isprintable()


def test_two_jobs_on_a_disk_named_by_a_uri_are_told_apart_as_well(tmp_path: object) -> None:
    with lock_run(f"file://{tmp_path}", create=False), pytest.raises(RunError, match="in use"):  # noqa: SIM117
        with lock_run(f"file://{tmp_path}", create=False):
            pass


def test_a_claim_that_goes_while_it_is_read_says_nothing(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read takes two requests; S3 has no error of its own for an object that goes between them."""
    path = f"bucket/run/{PREFIX}1"

    def go(kind: str, name: str) -> None:
        if (kind, name) == ("get", path):
            del bucket.objects[path]
            raise OSError("AWS Error INTERNAL_FAILURE during GetObject operation")

    mine = claim.Claim(RUN, *open_location(RUN))
    bucket.put(path, b"holds: another")
    assert mine.holds(path)
    monkeypatch.setattr(bucket, "fail", go)
    assert not mine.holds(path)


def test_a_claim_that_cannot_be_read_is_an_error(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(kind: str, name: str) -> None:
        if kind == "get":
            raise OSError("AWS Error NETWORK_CONNECTION")

    write_dead_claim(bucket, age=1.0)
    monkeypatch.setattr(bucket, "fail", fail)
    with pytest.raises(RunError, match="NETWORK_CONNECTION"), lock_run(RUN, create=True):
        pass
    assert len(claims_in(bucket)) == 1
