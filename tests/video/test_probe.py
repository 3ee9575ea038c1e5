from __future__ import annotations

import io
import itertools
import shutil
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import av
import numpy as np
import pytest
from av.stream import Disposition

from dfd_ray.config import Config
from dfd_ray.errors import Reason, Stage, VideoError
from dfd_ray.video import Stream, decode_video, walk_packets
from dfd_ray.video.probe import _read_rate, is_shown, open_container, start_deadline

CONTAINERS = Config().preprocess.containers


def walk(path: Path, max_packets: int = 10**6) -> Stream:
    with open_container(str(path), CONTAINERS) as container:
        return walk_packets(container, max_packets, lambda: None)


def skipped_by_ffmpeg(path: Path) -> set[int]:
    """Return the display positions that FFmpeg leaves out when told to decode reference frames only."""
    with av.open(str(path)) as container:
        stamps = sorted(packet.pts for packet in container.demux(video=0) if packet.size)
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.skip_frame = "NONREF"
        kept = {frame.pts for frame in container.decode(video=0)}
    return {index for index, stamp in enumerate(stamps) if stamp not in kept}


@pytest.mark.parametrize(
    "options",
    [
        {"x264-params": "bframes=3:b-adapt=0:b-pyramid=normal:keyint=24"},
        {"x264-params": "bframes=3:b-adapt=0:b-pyramid=none:keyint=24"},
        {"x264-params": "bframes=7:b-adapt=0:b-pyramid=strict:keyint=infinite"},
        {"x264-params": "bframes=2:b-adapt=0:keyint=20:open-gop=1"},
        {"x264-params": "bframes=3:b-adapt=0:slices=4:aud=1:keyint=24"},
        {"x264-params": "bframes=3:b-adapt=0:repeat-headers=1:keyint=24"},
    ],
    ids=lambda options: options["x264-params"],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_references_of_h264_are_the_frames_that_ffmpeg_would_not_skip(
    make_clip: Any, options: dict[str, str], suffix: str
) -> None:
    path = make_clip(options={"preset": "veryfast", **options}, suffix=suffix)
    stream = walk(path)
    assert stream.references.dtype == np.int64
    assert set(stream.references.tolist()) == set(range(72)) - skipped_by_ffmpeg(path)
    assert (np.diff(stream.references) > 0).all()
    assert 0 < len(stream.references) < 72


def test_without_b_frames_every_frame_is_a_reference(make_clip: Any) -> None:
    stream = walk(make_clip(options={"preset": "ultrafast", "bf": "0"}))
    assert stream.references.tolist() == list(range(72))


@pytest.mark.parametrize("codec", ["mpeg4", "libx265"])
def test_of_another_codec_no_references_are_known(make_clip: Any, codec: str) -> None:
    assert walk(make_clip(codec=codec)).references.tolist() == []


@pytest.mark.parametrize(("codec", "name"), [("libx264", "h264"), ("mpeg4", "mpeg4"), ("libx265", "hevc")])
def test_a_stream_is_described_from_its_packets(make_clip: Any, codec: str, name: str) -> None:
    stream = walk(make_clip(codec=codec))
    assert (stream.width, stream.height, stream.codec, stream.frame_count) == (160, 120, name, 72)
    assert stream.fps == pytest.approx(25)


def test_the_order_numbers_the_presentation_times(make_clip: Any, decode_all: Any) -> None:
    path = make_clip()
    order = walk(path).order
    assert order == {frame.pts: index for index, frame in enumerate(decode_all(path))}


def test_a_frame_count_in_the_header_that_lies_is_not_believed(make_clip: Any, tmp_path: Path) -> None:
    content = bytearray(make_clip(suffix=".avi", codec="mpeg4").read_bytes())
    for field in (content.find(b"avih") + 24, content.find(b"strh") + 40):
        content[field : field + 4] = (2**31 - 1).to_bytes(4, "little")
    path = tmp_path / "lying.avi"
    path.write_bytes(content)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames > 72
    assert walk(path).frame_count == 72


@pytest.mark.parametrize(
    ("told", "rate"), [(25, 25.0), (None, 0.0), (0, 0.0), (Fraction(1, 12_500), 8e-5), (90_000, 0.0), (Fraction(-25), 0.0)]
)
def test_a_rate_that_cannot_be_is_none(told: Any, rate: float) -> None:
    assert _read_rate(cast(av.VideoStream, SimpleNamespace(average_rate=told))) == pytest.approx(rate)


def test_every_packet_checks_the_deadline(make_clip: Any) -> None:
    calls = itertools.count()
    with open_container(str(make_clip()), CONTAINERS) as container:
        walk_packets(container, 1000, lambda: next(calls))
    assert next(calls) == 72


def test_a_deadline_is_not_reached_before_its_time() -> None:
    start_deadline(60)()


def test_a_deadline_that_has_passed_says_what_it_was() -> None:
    with pytest.raises(VideoError, match="deadline: not done in 0 s") as caught:
        check = start_deadline(0)
        for _ in range(10**6):
            check()
    assert caught.value.stage is Stage.DECODE


def test_the_walk_ends_soon_after_the_packets_allowed(make_clip: Any) -> None:
    with pytest.raises(VideoError, match="too_large: more than 10 packets"):
        walk(make_clip(), max_packets=10)


def test_a_file_without_permission_is_unreadable(make_clip: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locked.mp4"
    shutil.copy(make_clip(), path)

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(VideoError, match="unreadable: Permission denied") as caught, open_container(str(path), CONTAINERS):
        pass
    assert (caught.value.stage, caught.value.reason) == (Stage.OPEN, Reason.UNREADABLE)


def test_a_stream_that_fails_to_be_read_is_refused_and_not_crashed() -> None:
    class Failing(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return True

        def seek(self, offset: int, whence: int = 0) -> int:
            return offset

        def read(self, size: int = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(VideoError) as caught, open_container(Failing(), CONTAINERS):
        pass
    assert caught.value.stage is Stage.OPEN


def test_a_container_is_closed_after_use(make_clip: Any) -> None:
    with open_container(str(make_clip()), CONTAINERS) as container:
        pass
    with pytest.raises(AssertionError, match="not open"):
        next(container.demux())


def write_with_cover(path: Path, pictures: int) -> Path:
    """Write an mp4 with a cover picture, and so many pictures of video; of none, with sound."""
    with av.open(str(path), "w", format="mp4") as container:
        streams: list[Any] = []
        if pictures:
            streams.append(container.add_stream("libx264", rate=25))
            streams[0].width, streams[0].height, streams[0].pix_fmt = 160, 120, "yuv420p"
        else:
            streams.append(container.add_stream("aac", rate=44100, layout="mono"))
        cover = container.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 64, "yuvj420p", Disposition.attached_pic
        for packet in [*cover.encode(av.VideoFrame(64, 64, "yuvj420p")), *cover.encode()]:
            container.mux(packet)
        for number in range(pictures):
            frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), 20 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(streams[0].encode(frame))
        for number in range(0 if pictures else 5):
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = 44100, 1024 * number, Fraction(1, 44100)
            container.mux(streams[0].encode(sound))
        container.mux(streams[0].encode())
    return path


def test_a_track_of_one_picture_is_not_the_video_beside_one_of_many(tmp_path: Path) -> None:
    """As some editors store a cover: without the mark of one, and as the only track that is on."""
    path = tmp_path / "covered.mp4"
    with av.open(str(path), "w", format="mp4") as container:
        cover, video = container.add_stream("mjpeg", rate=25), container.add_stream("libx264", rate=25)
        cover.width, cover.height, cover.pix_fmt = 320, 240, "yuvj420p"
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        cover.disposition, video.disposition = Disposition.default, Disposition(0)
        for stream, pictures in ((cover, 1), (video, 10)):
            for number in range(pictures):
                frame = av.VideoFrame(stream.width, stream.height, stream.pix_fmt)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    with open_container(str(path), CONTAINERS) as container:
        assert container.streams.best("video").codec_context.name == "mjpeg", "FFmpeg takes the cover"
    video = decode_video(str(path), 4)
    assert (video.stream.codec, video.stream.frame_count, len(video.frames)) == ("h264", 10, 4)


def boxes_of(content: bytes) -> list[bytes]:
    boxes = []
    while content:
        size = int.from_bytes(content[:4], "big")
        boxes.append(content[:size])
        content = content[size:]
    return boxes


@pytest.mark.parametrize("first", [False, True])
def test_a_cover_picture_is_not_the_video(tmp_path: Path, first: bool) -> None:
    path = write_with_cover(tmp_path / "covered.mp4", 10)
    if first:  # the box that holds the cover before that of the video
        boxes = boxes_of(path.read_bytes())
        boxes[-1] = boxes[-1][:8] + b"".join(sorted(boxes_of(boxes[-1][8:]), key=lambda box: box[4:8] != b"udta"))
        path.write_bytes(b"".join(boxes))
    with av.open(str(path)) as container:
        assert [bool(stream.disposition & Disposition.attached_pic) for stream in container.streams] == [first, not first]
    video = decode_video(str(path), 4)
    assert (video.stream.codec, video.stream.frame_count, video.stream.width) == ("h264", 10, 160)
    assert [(frame.width, frame.height) for frame in video.frames] == [(160, 120)] * 4


def test_sound_with_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no_video_stream: nothing but a cover picture") as caught:
        decode_video(str(write_with_cover(tmp_path / "song.m4a", 0)), 4)
    assert caught.value.stage is Stage.OPEN


@pytest.mark.parametrize(
    ("codec", "content", "shown"),
    [
        ("vp8", b"\x10\x00", True),
        ("vp8", b"\x01\x00", False),
        ("vp9", b"\x82\x00", True),
        ("vp9", b"\x84\x00", False),
        ("vp9", b"\x88\x00", True),  # shows a frame that came before
        ("vp9", b"\x84\xc1", True),  # a superframe
        ("h264", b"\x00\x00", True),
    ],
)
def test_a_frame_for_reference_only_is_not_shown(codec: str, content: bytes, shown: bool) -> None:
    assert is_shown(av.Packet(content), codec) == shown
