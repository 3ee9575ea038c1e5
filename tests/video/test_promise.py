"""A file that breaks off says so: the frames wanted of it, and those that it gave."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from dfd_ray.errors import Reason, Stage, Status
from dfd_ray.sections import Preprocess
from dfd_ray.video import choose_frames, decode_video
from dfd_ray.video.decoder_process import LEAST_SHARE, decode_row
from dfd_ray.video.promise import read_declared_size

KINDS: dict[str, dict[str, Any]] = {
    "mp4 with its index first": {"movflags": "faststart"},
    "matroska": {"suffix": ".mkv"},
    "webm": {"codec": "libvpx", "options": {"deadline": "realtime", "cpu-used": "8"}, "suffix": ".webm"},
    "avi": {"suffix": ".avi"},
    "flv": {"suffix": ".flv"},
    "wmv": {"codec": "wmv2", "suffix": ".wmv"},
}


def row_of(path: Path, count: int = 8) -> dict[str, Any]:
    [row] = decode_row(str(path), count, Preprocess()).to_pylist()
    assert len(row["frames"]) == (row["frames_decoded"] if row["status"] == Status.OK else 0)
    return row


def kept(path: Path, share: float, folder: Path, zeros: bool = False) -> Path:
    """Write a copy that ends after a share of the file, or holds nothing but zeros from there."""
    content = path.read_bytes()
    end = int(share * len(content))
    copy = folder / path.name
    copy.write_bytes(content[:end] + bytes(len(content) - end if zeros else 0))
    return copy


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_video_gives_what_is_wanted_of_it(make_clip: Any, kind: str) -> None:
    row = row_of(make_clip(**KINDS[kind]))
    assert (row["status"], row["frames_wanted"], row["frames_decoded"]) == (Status.OK, 8, 8)


@pytest.mark.parametrize("count", [1, 72, 500])
def test_no_more_is_wanted_of_a_short_video_than_there_is(make_clip: Any, count: int) -> None:
    row = row_of(make_clip(), count)
    assert row["frames_wanted"] == row["frames_decoded"] == min(count, 72)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_video_that_breaks_off_says_how_much_of_it_is_there(make_clip: Any, tmp_path: Path, kind: str, zeros: bool) -> None:
    row = row_of(kept(make_clip(**KINDS[kind]), 0.7, tmp_path, zeros), 40)
    assert (row["status"], row["frames_wanted"]) == (Status.OK, 40)
    assert 40 / 3 < row["frames_decoded"] < 36


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_of_which_hardly_anything_is_there_is_an_error_with_its_facts(
    make_clip: Any, tmp_path: Path, kind: str
) -> None:
    row = row_of(kept(make_clip(**KINDS[kind]), 0.25, tmp_path))
    assert (row["status"], row["error_stage"]) == (Status.ERROR, Stage.DECODE)
    assert row["error"] == f"{Reason.CUT_SHORT}: {row['frames_decoded']} of {row['frames_wanted']} frames"
    assert row["frames_decoded"] < LEAST_SHARE * row["frames_wanted"]
    assert (row["width"], row["height"]) == (160, 120)


@pytest.mark.parametrize("share", np.linspace(0.25, 0.5, 26))
def test_whether_a_video_is_cut_short_does_not_depend_on_its_label(make_clip: Any, tmp_path: Path, share: float) -> None:
    path, settings = kept(make_clip(movflags="faststart"), share, tmp_path), Preprocess()
    counts = (settings.frames_real, settings.frames_fake, settings.frames_unlabelled)
    assert len({row_of(path, count)["status"] for count in counts}) == 1


@pytest.mark.parametrize("share", np.linspace(0.1, 1, 10))
def test_the_share_decides(make_clip: Any, tmp_path: Path, share: float) -> None:
    video = decode_video(str(kept(make_clip(movflags="faststart"), share, tmp_path)), 12)
    there = Fraction(video.stream.frame_count, 72)
    assert video.frames_wanted == 12
    assert abs(len(video.frames) - 12 * there) <= 1


def test_damage_in_the_middle_costs_the_frames_after_it_and_none_before(
    make_clip: Any, decode_all: Any, tmp_path: Path
) -> None:
    whole = make_clip(movflags="faststart")
    content = bytearray(whole.read_bytes())
    start = content.find(b"mdat")
    content[start + (len(content) - start) * 3 // 5 :] = bytes(len(content) - start - (len(content) - start) * 3 // 5)
    path = tmp_path / "zeros.mp4"
    path.write_bytes(content)
    video = decode_video(str(path), 72)
    reference = [frame.to_ndarray().tobytes() for frame in decode_all(whole)]
    assert (video.stream.frame_count, video.frames_wanted) == (72, 72)
    assert 30 < len(video.frames) < 50
    assert [frame.index for frame in video.frames][:30] == list(range(30))
    same = [frame.planes.tobytes() == reference[frame.index] for frame in video.frames]
    assert all(same[:-4])  # the frame in which the zeros begin is half there, and others may depend on it


@pytest.mark.parametrize("movflags", ["", "faststart"])
@pytest.mark.parametrize("count", [8, 30, 72])
def test_damage_costs_the_frames_up_to_the_next_key_frame_alone(
    make_clip: Any, decode_all: Any, tmp_path: Path, count: int, movflags: str
) -> None:
    whole = make_clip(movflags=movflags)
    content = bytearray(whole.read_bytes())
    with av.open(str(whole)) as container:
        entries = list(container.streams.video[0].index_entries)
    for entry in entries[8:12]:  # of the first of three groups of pictures
        content[entry.pos : entry.pos + entry.size] = bytes(entry.size)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    reference = [frame.to_ndarray().tobytes() for frame in decode_all(whole)]
    video = decode_video(str(path), count)
    assert len(video.frames) < video.frames_wanted == count
    later = [frame for frame in video.frames if frame.index >= 24]
    candidates = np.arange(72) if count == 72 else video.stream.references
    assert [frame.index for frame in later] == [index for index in choose_frames(candidates, count) if index >= 24]
    assert all(frame.planes.tobytes() == reference[frame.index] for frame in later)


@pytest.mark.parametrize("size", [0, 2**32 - 1])
def test_a_size_that_its_writer_did_not_know_promises_nothing(make_clip: Any, tmp_path: Path, size: int) -> None:
    content = bytearray(make_clip(suffix=".avi").read_bytes())
    content[4:8] = size.to_bytes(4, "little")
    path = tmp_path / "piped.avi"
    path.write_bytes(content[: len(content) // 2])
    row = row_of(path)
    assert row["status"] == Status.OK
    assert read_declared_size(bytes(content)) == 0


def test_a_matroska_file_of_unknown_size_promises_nothing() -> None:
    header = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67"
    assert read_declared_size(header + b"\x01" + b"\xff" * 7) == 0
    assert read_declared_size(header + b"\xff") == 0
    assert read_declared_size(header + b"\x82") == len(header) + 1 + 2
    assert read_declared_size(header + b"\x01" + (1000).to_bytes(7, "big")) == len(header) + 8 + 1000
    assert read_declared_size(b"") == read_declared_size(header) * 0 == 0


@pytest.mark.parametrize("count", [0, 2**31 - 1])
def test_a_whole_file_whose_header_lies_is_not_cut_short(make_clip: Any, tmp_path: Path, count: int) -> None:
    content = bytearray(make_clip(suffix=".avi", codec="mpeg4").read_bytes())
    for field in (content.find(b"avih") + 24, content.find(b"strh") + 40):
        content[field : field + 4] = count.to_bytes(4, "little")
    path = tmp_path / "lying.avi"
    path.write_bytes(content)
    row = row_of(path)
    assert (row["status"], row["frame_count"], row["frames_wanted"], row["frames_decoded"]) == (Status.OK, 72, 8, 8)
