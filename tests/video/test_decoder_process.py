from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dfd_ray.errors import Reason, Stage, Status, VideoError
from dfd_ray.labels import TRAIN_ONLY
from dfd_ray.sections import Preprocess
from dfd_ray.stages.extract import extract
from dfd_ray.video import decode_video
from dfd_ray.video.arrow import DECODED, EXTRACTED, frames_from_arrow, frames_to_arrow
from dfd_ray.video.decoder_process import ATTEMPTS, DecoderProcess

SETTINGS = Preprocess(video_deadline=60)
CHILD = """
import os, sys, time
from dfd_ray.video import decoder_process
real = decoder_process.decode_video
def decode_video(uri, count, **limits):
    with open({log!r}, "a") as file:
        print(os.getpid(), uri, file=file)
    name = os.path.basename(uri)
    if "crash" in name:
        os.abort()
    if "once" in name:
        if sum(uri in line for line in open({log!r})) == 1:
            os.kill(os.getpid(), 9)
        uri = uri.replace("once.mp4", "good.mp4")
    if "hang" in name:
        time.sleep(1000)
    if "eat" in name:
        hoard = bytearray(2**33)
    if "noise" in name:
        print("a library's chatter", flush=True)
        uri = uri.replace("noise.mp4", "good.mp4")
    return real(uri, count, **limits)
decoder_process.decode_video = decode_video
decoder_process.answer_requests()
"""


class Hostile:
    """A decoder whose child does as the name of the video says, and what was asked of it."""

    def __init__(self, folder: Path, settings: Preprocess) -> None:
        self.log = folder / "log"
        self.decoder = DecoderProcess(settings, [sys.executable, "-c", CHILD.format(log=str(self.log))])

    def asked(self) -> list[tuple[int, str]]:
        lines = self.log.read_text().splitlines()
        return [(int(line.split()[0]), Path(line.split(maxsplit=1)[1]).stem) for line in lines]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    made: list[Hostile] = []

    def make(**settings: Any) -> Hostile:
        made.append(Hostile(tmp_path, SETTINGS.model_copy(update=settings)))
        return made[-1]

    yield make
    for hostile in made:
        hostile.decoder.close()


@pytest.fixture
def good(tmp_path: Path, clips_with_faces: list[Path]) -> str:
    path = tmp_path / "good.mp4"
    path.write_bytes(clips_with_faces[0].read_bytes())
    return str(path)


def test_what_the_child_sends_is_what_decoding_here_gives(make: Any, good: str) -> None:
    row = make().decoder.decode(good, 6)
    assert row.schema == DECODED
    [facts] = row.drop_columns("frames").to_pylist()
    here = decode_video(good, 6, comb=SETTINGS.comb, most=SETTINGS.most_frames)
    assert facts["status"] == Status.OK
    assert facts["frame_count"] == here.stream.frame_count
    frames = frames_from_arrow(row.column("frames")[0])
    assert len(frames) == 6
    for sent, frame in zip(frames, here.frames, strict=True):
        assert np.array_equal(sent.planes, frame.planes)
        assert (sent.index, sent.time, sent.pixel_format) == (frame.index, frame.time, frame.pixel_format)
        assert np.array_equal(sent.to_rgb(), frame.to_rgb())


def test_the_kind_of_frame_does_not_tell_the_label(make: Any, good: str) -> None:
    references = set(decode_video(good, 1).stream.references.tolist())
    assert len(references) > 8, "FAKE videos could do with references alone"
    rows = [make(frames_real=len(references) + 1).decoder.decode(good, count) for count in (8, len(references) + 1)]
    for fake_or_real in rows:
        assert not {frame.index for frame in frames_from_arrow(fake_or_real.column("frames")[0])} <= references


def test_no_frames_cross_as_no_frames() -> None:
    assert frames_from_arrow(frames_to_arrow([])[0]) == []


def test_a_decoder_that_crashes_is_tried_twice_and_costs_one_video(make: Any, good: str) -> None:
    hostile = make()
    with pytest.raises(VideoError, match="crash: the decoder's process died of SIGABRT") as caught:
        hostile.decoder.decode(good.replace("good", "crash"), 4)
    assert (caught.value.stage, caught.value.reason) == (Stage.DECODE, Reason.CRASH)
    assert [name for _, name in hostile.asked()] == ["crash"] * ATTEMPTS
    assert hostile.decoder.decode(good, 4).column("status").to_pylist() == [Status.OK]


def test_a_video_whose_decoder_was_killed_once_is_read_by_the_next(make: Any, good: str) -> None:
    hostile = make()
    row = hostile.decoder.decode(good.replace("good", "once"), 4)
    assert row.column("status").to_pylist() == [Status.OK]
    (first, _), (second, _) = hostile.asked()
    assert first != second
    assert (
        frames_from_arrow(row.column("frames")[0])[0].planes.tobytes()
        == frames_from_arrow(make().decoder.decode(good, 4).column("frames")[0])[0].planes.tobytes()
    )


def test_a_decoder_that_never_returns_is_killed_after_the_deadline_and_not_tried_again(
    make: Any, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dfd_ray.video.decoder_process.GRACE", 0.5)
    hostile = make(video_deadline=5.0)  # a child takes a second or two to start
    started = time.monotonic()
    with pytest.raises(VideoError, match="deadline: killed") as caught:
        hostile.decoder.decode(good.replace("good", "hang"), 4)
    assert time.monotonic() - started < 60
    assert caught.value.reason == Reason.DEADLINE
    [(child, _)] = hostile.asked()
    assert not os.path.exists(f"/proc/{child}")
    hostile.decoder.settings = SETTINGS  # time enough for a good video on a loaded machine
    assert hostile.decoder.decode(good, 4).column("status").to_pylist() == [Status.OK]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_a_decoder_that_eats_memory_is_stopped_at_the_limit_and_replaced(make: Any, good: str) -> None:
    hostile = make(decoder_memory_gib=1.0)
    [row] = hostile.decoder.decode(good.replace("good", "eat"), 4).to_pylist()
    assert row["status"] == Status.ERROR
    assert row["error"] == "memory: more than 1 GiB"
    assert hostile.decoder.decode(good, 4).column("status").to_pylist() == [Status.OK]
    (first, _), (second, _) = hostile.asked()
    assert first != second


def test_what_a_library_prints_does_not_get_among_the_answers(make: Any, good: str) -> None:
    assert make().decoder.decode(good.replace("good", "noise"), 4).column("status").to_pylist() == [Status.OK]


def test_one_child_serves_video_after_video(make: Any, good: str) -> None:
    hostile = make()
    for _ in range(3):
        hostile.decoder.decode(good, 2)
    assert len({child for child, _ in hostile.asked()}) == 1


def rows_of(paths: list[str], corpus: Path, settings: Preprocess, fold: int = 1) -> list[dict[str, Any]]:
    names = [os.path.relpath(path, corpus) for path in paths]
    videos = pa.Table.from_pylist(
        [{"video_id": n, "uri": p, "label": "FAKE", "group": "g", "fold": fold} for n, p in zip(names, paths, strict=True)]
    )
    tables = list(extract(videos, settings))
    assert all(table.schema == EXTRACTED for table in tables)
    return [row for table in tables for row in table.drop_columns("frames").to_pylist()]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_what_ends_or_stops_the_decoder_is_a_row_among_others(
    make: Any, good: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dfd_ray.video.decoder_process.GRACE", 0.5)
    limits = {"video_deadline": 10.0, "decoder_memory_gib": 1.0}  # a child takes some seconds to start
    settings = SETTINGS.model_copy(update=limits)
    monkeypatch.setattr("dfd_ray.stages.extract._decoder", make(**limits).decoder)
    paths = [good, *(str(tmp_path / f"{name}.mp4") for name in ("crash", "hang", "eat")), good]
    rows = rows_of(paths, tmp_path, settings)
    assert [row["status"] for row in rows] == [Status.OK, *[Status.ERROR] * 3, Status.OK]
    ends = [(row["video_id"], row["error_stage"], row["error"].split(":")[0]) for row in rows[1:4]]
    assert ends == [
        ("crash.mp4", Stage.DECODE, Reason.CRASH),
        ("hang.mp4", Stage.DECODE, Reason.DEADLINE),
        ("eat.mp4", Stage.DECODE, Reason.MEMORY),
    ]


def test_a_link_out_of_the_corpus_is_refused_unless_allowed(tmp_path: Path, good: str) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "own.mp4").write_bytes(Path(good).read_bytes())
    (corpus / "inside.mp4").symlink_to(corpus / "own.mp4")
    (corpus / "outside.mp4").symlink_to(good)
    paths = [str(corpus / name) for name in ("inside.mp4", "outside.mp4")]
    inside, outside = rows_of(paths, corpus, SETTINGS)
    assert inside["status"] == Status.OK
    assert (outside["status"], outside["error_stage"]) == (Status.ERROR, Stage.OPEN)
    assert outside["error"].startswith("outside: it links to ")
    allowed = rows_of(paths, corpus, SETTINGS.model_copy(update={"follow_links": True}))
    assert [row["status"] for row in allowed] == [Status.OK, Status.OK]


def test_a_folder_of_further_real_videos_may_be_a_link_but_none_of_its_videos(tmp_path: Path, good: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "own.mp4").write_bytes(Path(good).read_bytes())
    (tmp_path / "other.mp4").write_bytes(Path(good).read_bytes())
    (tmp_path / "elsewhere" / "beside.mp4").symlink_to(tmp_path / "other.mp4")
    (tmp_path / "more").symlink_to(tmp_path / "elsewhere")
    paths = [str(tmp_path / "more" / name) for name in ("own.mp4", "beside.mp4")]
    own, beside = rows_of(paths, tmp_path, SETTINGS, fold=TRAIN_ONLY)
    assert (own["status"], beside["status"]) == (Status.OK, Status.ERROR)
    assert beside["error"].startswith("outside: ")


@pytest.mark.parametrize("name", ["a b.mp4", "quote'\".mp4", "line\nbreak.mp4", "ÄÖ漢字.mp4", "{}.mp4", "-v.mp4", "%d.mp4"])
def test_any_name_a_file_can_have_is_read(tmp_path: Path, good: str, name: str) -> None:
    path = tmp_path / "odd" / name
    path.parent.mkdir()
    path.write_bytes(Path(good).read_bytes())
    [row] = rows_of([str(path)], tmp_path, SETTINGS)
    assert row["status"] == Status.OK, json.dumps(row)
    assert row["video_id"] == f"odd/{name}"


def test_what_is_no_video_is_an_error_row_with_its_identity(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")
    [row] = rows_of([str(path)], tmp_path, SETTINGS)
    assert (row["status"], row["video_id"], row["fold"]) == (Status.ERROR, "text.mp4", 1)
    assert row["error"].split(":")[0] == Reason.NOT_A_VIDEO
    assert row["seconds_spent"] > 0
