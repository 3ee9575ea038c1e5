"""Frames equal a full decode's where packets and frames do not match one to one, and in every kind of file that is read."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from dfd_ray.config import Config
from dfd_ray.corpus.listing import VIDEO_SUFFIXES
from dfd_ray.video import decode_video
from dfd_ray.video.frame import PLANAR_FORMATS

CONTAINERS = Config().preprocess.containers
COUNTS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 500)
GROUPS = {"bf": "2", "g": "12"}
KINDS: dict[str, dict[str, Any]] = {
    "vp8 in webm": {"codec": "libvpx", "suffix": ".webm"},
    "vp8 in avi": {"codec": "libvpx", "suffix": ".avi"},
    "vp8 in ogg": {"codec": "libvpx", "suffix": ".ogv"},
    "mpeg4 with B frames in avi": {"codec": "mpeg4", "options": GROUPS, "suffix": ".avi"},
    "mpeg4 with B frames in matroska": {"codec": "mpeg4", "options": GROUPS, "suffix": ".mkv"},
    "h264 in flv": {"suffix": ".flv"},
    "h263 in flv": {"codec": "flv", "suffix": ".flv"},
    "h264 in 3gp": {"suffix": ".3gp"},
    "wmv1": {"codec": "wmv1", "suffix": ".wmv"},
    "wmv2": {"codec": "wmv2", "suffix": ".asf"},
    "mpeg1": {"codec": "mpeg1video", "options": GROUPS, "suffix": ".mpg"},
    "mpeg2": {"codec": "mpeg2video", "options": GROUPS, "suffix": ".mpeg"},
    "mpeg2 of a disc": {"codec": "mpeg2video", "options": GROUPS, "suffix": ".vob"},
    "h264 of a camcorder": {"suffix": ".m2ts"},
    "gif": {"codec": "gif", "pixel_format": "rgb8", "suffix": ".gif"},
}
FAST = {"libvpx": {"deadline": "realtime", "cpu-used": "8", "g": "20"}}


def make_kind(make_clip: Any, kind: str, count: int = 40) -> Path:
    settings = KINDS[kind]
    path: Path = make_clip(**{"options": FAST.get(settings.get("codec", "")), **settings}, count=count, width=96, height=80)
    return path


def planes_of(frame: av.VideoFrame) -> bytes:
    if frame.format.name not in PLANAR_FORMATS:
        frame = frame.reformat(format="yuv420p")
    return b"".join(
        bytes(plane)[row * plane.line_size : row * plane.line_size + plane.width]
        for plane in frame.planes
        for row in range(plane.height)
    )


def check(path: Path, decode_all: Any, frames: int) -> None:
    """Check every frame of several counts against a full decode of so many frames."""
    reference = [planes_of(frame) for frame in decode_all(path)]
    assert len(reference) == frames
    for count in COUNTS:
        video = decode_video(str(path), count, containers=CONTAINERS)
        assert (video.stream.frame_count, video.frames_wanted, len(video.frames)) == (frames, *[min(count, frames)] * 2)
        assert sorted({frame.index for frame in video.frames}) == [frame.index for frame in video.frames]
        for frame in video.frames:
            assert frame.planes.tobytes() == reference[frame.index], (count, frame.index)


def rewrite(source: Path, path: Path, change: Callable[[list[av.Packet]], list[tuple[bytes, av.Packet]]]) -> Path:
    """Write packets anew: their bytes, and the packet whose times and flags they take."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        pictures = old.streams.video[0]
        stream = new.add_stream_from_template(pictures)
        for data, like in change([packet for packet in old.demux(pictures) if packet.size]):
            packet = av.Packet(data)
            packet.pts, packet.dts, packet.time_base, packet.stream = like.pts, like.dts, like.time_base, stream
            packet.is_keyframe = like.is_keyframe
            new.mux(packet)
    return path


def hide_some(packets: list[av.Packet]) -> list[tuple[bytes, av.Packet]]:
    """Clear `show_frame` of every seventh packet (RFC 6386, 9.1), as an encoder does for a frame that is for reference only."""
    changed = []
    for number, packet in enumerate(packets):
        first, *_ = data = bytes(packet)
        hide = number % 7 == 3 and not packet.is_keyframe
        changed.append((bytes([first & ~0x10]) + data[1:] if hide else data, packet))
    return changed


def leave_out_some(packets: list[av.Packet]) -> list[tuple[bytes, av.Packet]]:
    """Put an MPEG-4 picture without content (`vop_coded` 0) in place of some: a decoder shows none for it."""
    return [
        (b"\x00\x00\x01\xb6\x51\x4f" if number % 9 == 4 and not packet.is_keyframe else bytes(packet), packet)
        for number, packet in enumerate(packets)
    ]


def pack(packets: list[av.Packet]) -> list[tuple[bytes, av.Packet]]:
    """Pack each P with the B after it, as Xvid and DivX do, with an empty picture at the end of each such group."""
    datas = [bytes(packet) for packet in packets]
    is_b = [data[data.find(b"\x00\x00\x01\xb6") + 4] >> 6 == 2 for data in datas] + [False]
    packed = list[bytes]()
    number = 0
    while number < len(datas):
        end = number + 1
        while is_b[end]:
            end += 1
        group = datas[number:end]
        packed += group if len(group) == 1 else [group[0] + group[1], *group[2:], b"\x00\x00\x01\xb6\x51\x4f"]
        number = end
    place = packed[0].find(b"\x00\x00\x01\xb6")
    packed[0] = packed[0][:place] + b"\x00\x00\x01\xb2DivX503b1393p\x00" + packed[0][place:]
    for number, packet in enumerate(packets):
        packet.pts = packet.dts = number
        packet.time_base = Fraction(1, 25)
    return list(zip(packed, packets, strict=True))


def begin_at_the_second_key_frame(packets: list[av.Packet]) -> list[tuple[bytes, av.Packet]]:
    second = [number for number, packet in enumerate(packets) if packet.is_keyframe][1]
    return [(bytes(packet), packet) for packet in packets[second:]]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_a_full_decodes_frames(make_clip: Any, decode_all: Any, kind: str) -> None:
    path = make_kind(make_clip, kind)
    assert path.suffix in VIDEO_SUFFIXES
    check(path, decode_all, 40)


@pytest.mark.parametrize("suffix", [".webm", ".mkv", ".avi"])
def test_a_vp8_frame_that_is_for_reference_only_is_no_frame(
    make_clip: Any, decode_all: Any, tmp_path: Path, suffix: str
) -> None:
    source = make_kind(make_clip, "vp8 in avi" if suffix == ".avi" else "vp8 in webm")
    check(rewrite(source, tmp_path / f"hidden{suffix}", hide_some), decode_all, 40 - 6)


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_mpeg4_with_two_pictures_in_a_packet(make_clip: Any, decode_all: Any, tmp_path: Path, suffix: str) -> None:
    path = rewrite(make_kind(make_clip, "mpeg4 with B frames in avi"), tmp_path / f"packed{suffix}", pack)
    check(path, decode_all, 40)


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mp4"])
def test_an_mpeg4_picture_without_content_is_no_frame(make_clip: Any, decode_all: Any, tmp_path: Path, suffix: str) -> None:
    source = make_clip(codec="mpeg4", count=40, width=96, height=80, suffix=suffix)
    check(rewrite(source, tmp_path / f"empty{suffix}", leave_out_some), decode_all, 40 - 4)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pictures_that_depend_on_what_was_cut_off_before_them_are_no_frames(
    make_clip: Any, decode_all: Any, tmp_path: Path, suffix: str
) -> None:
    options = {"preset": "ultrafast", "x265-params": "bframes=4:log-level=none:keyint=10:open-gop=1"}
    source = make_clip(codec="libx265", options=options, count=40, width=96, height=80, suffix=suffix)
    path = rewrite(source, tmp_path / f"open{suffix}", begin_at_the_second_key_frame)
    frames = len(decode_all(path))
    with av.open(str(path)) as container:
        assert frames < sum(packet.size > 0 for packet in container.demux(video=0))
    check(path, decode_all, frames)


def test_mpeg2_that_begins_in_the_middle(make_clip: Any, decode_all: Any, tmp_path: Path) -> None:
    source = make_clip(codec="mpeg2video", options=GROUPS, count=40, width=96, height=80, suffix=".ts")
    path = rewrite(source, tmp_path / "open.ts", begin_at_the_second_key_frame)
    check(path, decode_all, len(decode_all(path)))


@pytest.mark.parametrize("headers", [False, True])
def test_damage_in_a_stream_that_must_be_counted_is_not_passed_over(make_clip: Any, tmp_path: Path, headers: bool) -> None:
    path = rewrite(make_kind(make_clip, "mpeg4 with B frames in avi"), tmp_path / "packed.avi", pack)
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for entry in list(container.streams.video[0].index_entries)[12:]:
            start = entry.pos + (0 if headers else 8)  # a chunk's name and size
            content[start : entry.pos + 8 + entry.size] = bytes(entry.pos + 8 + entry.size - start)
    path.write_bytes(content)
    video = decode_video(str(path), 20, containers=CONTAINERS)
    assert video.frames_wanted == 20
    assert 0 < len(video.frames) < 14


def remux(source: Path, target: Path, first: int, **options: str) -> Path:
    """Copy the packets of a clip from one of them on, without encoding anything."""
    with av.open(str(source)) as container, av.open(str(target), "w", options=options) as copy:
        stream = copy.add_stream_from_template(container.streams.video[0])
        for number, packet in enumerate(container.demux(video=0)):
            if packet.size and number >= first:
                packet.stream = stream
                copy.mux(packet)
    return target


@pytest.mark.parametrize("first", [1, 7, 20])
def test_a_recording_that_begins_between_two_key_frames(make_clip: Any, decode_all: Any, tmp_path: Path, first: int) -> None:
    path = remux(make_clip(options={"g": "24", "bf": "0", "sc_threshold": "0"}), tmp_path / "cut.ts", first)
    check(path, decode_all, 48)
