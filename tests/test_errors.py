from __future__ import annotations

import inspect
import re
from enum import StrEnum

import pytest

from dfd_ray import errors
from dfd_ray.errors import DfdError, Reason, Stage, Status, VideoError, reason_of

EXCEPTIONS = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)]


def drawn() -> list[str]:
    return re.findall(r"[├└]── (\w+)", errors.__doc__ or "")


def test_the_tree_that_is_drawn_is_the_tree_of_classes() -> None:
    assert sorted(drawn()) == sorted(cls.__name__ for cls in DfdError.__subclasses__())
    assert all(not cls.__subclasses__() for cls in DfdError.__subclasses__())


def test_every_exception_is_named_in_the_drawing() -> None:
    for cls in EXCEPTIONS:
        assert re.search(rf"\b{cls.__name__}\b", errors.__doc__ or ""), cls


def test_a_broken_video_is_no_error_that_ends_a_job() -> None:
    assert not issubclass(VideoError, DfdError)


@pytest.mark.parametrize(
    ("members", "values"),
    [
        (Status, {"ok", "no_face", "error", "in_training"}),
        (Stage, {"open", "decode", "detect"}),
        (
            Reason,
            {
                *("missing", "empty", "unreadable", "not_a_video", "no_video_stream"),
                *("no_frames", "broken_stream", "too_large", "deadline", "detector"),
                *("memory", "crash", "outside", "cut_short"),
            },
        ),
    ],
)
def test_a_closed_set_holds_what_tables_may_hold(members: type[StrEnum], values: set[str]) -> None:
    assert {member.value for member in members} == values
    assert all(isinstance(member, str) and f"{member}" == member.value for member in members)


@pytest.mark.parametrize("members", [Status, Stage, Reason])
def test_a_word_outside_a_closed_set_is_refused(members: type[StrEnum]) -> None:
    with pytest.raises(ValueError, match="sideways"):
        members("sideways")


@pytest.mark.parametrize("members", [Status, Stage, Reason])
def test_every_member_of_a_closed_set_is_explained(members: type[StrEnum]) -> None:
    lines = inspect.getsource(members).splitlines()
    for number, line in enumerate(lines):
        if re.match(r"    [A-Z_]+ = ", line):
            assert lines[number + 1].strip().startswith('"""'), line


def test_a_reason_can_be_a_parquet_value_and_a_key() -> None:
    assert all(re.fullmatch(r"[a-z_]+", reason) for reason in Reason)


@pytest.mark.parametrize(("detail", "text"), [("moov atom not found", "not_a_video: moov atom not found"), ("", "not_a_video")])
def test_a_video_error_says_its_reason_then_the_detail(detail: str, text: str) -> None:
    error = VideoError(Stage.OPEN, Reason.NOT_A_VIDEO, detail)
    assert str(error) == text
    assert (error.stage, error.reason) == (Stage.OPEN, Reason.NOT_A_VIDEO)


def test_the_reason_of_a_row_is_found_before_its_colon() -> None:
    error = VideoError(Stage.DECODE, Reason.BROKEN_STREAM, "a: b: c")
    assert Reason(reason_of(str(error))) is Reason.BROKEN_STREAM
