from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from pyarrow.fs import LocalFileSystem

from dfd_ray.config import Config
from dfd_ray.errors import Reason, Stage, VideoError
from dfd_ray.video import decode_video

CONTAINERS = Config().preprocess.containers
PYRAMID = "bframes=3:b-adapt=0:b-pyramid=normal:keyint=24"
CLIPS: dict[str, dict[str, Any]] = {
    "h264 with a b-pyramid": {},
    "h264 without B frames": {"options": {"preset": "ultrafast", "bf": "0", "g": "30"}},
    "h264 of one key frame": {"options": {"x264-params": "bframes=3:b-adapt=0:keyint=infinite", "preset": "veryfast"}},
    "h264 of open groups": {"options": {"x264-params": "bframes=3:b-adapt=0:keyint=20:open-gop=1", "preset": "veryfast"}},
    "h264 in matroska": {"suffix": ".mkv"},
    "h264 in a transport stream": {"suffix": ".ts"},
    "h264 in avi, which has no presentation times": {"suffix": ".avi"},
    "mpeg4": {"codec": "mpeg4"},
    "mpeg4 of odd size": {"codec": "mpeg4", "width": 161, "height": 121},
    "hevc": {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": "bframes=4:log-level=none"}},
    "vp9": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}, "suffix": ".webm"},
    "av1": {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "lp=1"}},
    "h264 in fragments": {"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    "4:4:4 of odd size": {"width": 161, "height": 121, "pixel_format": "yuv444p"},
    "4:2:2": {"pixel_format": "yuv422p"},
    "10 bits": {"pixel_format": "yuv420p10le"},
    "10 bits in hevc": {
        "codec": "libx265",
        "pixel_format": "yuv420p10le",
        "options": {"preset": "ultrafast", "x265-params": "bframes=4:log-level=none"},
    },
    "full range": {"colorspace": 5, "color_range": 2},
    "interlaced": {"options": {"preset": "veryfast", "x264-params": f"tff=1:{PYRAMID}"}},
    "interlaced in a transport stream": {"options": {"preset": "veryfast", "x264-params": f"tff=1:{PYRAMID}"}, "suffix": ".ts"},
    "pixels that are not square": {"options": {"preset": "veryfast", "x264-params": f"sar=16/11:{PYRAMID}"}},
}


def planes_of(frame: av.VideoFrame) -> bytes:
    """Return 8-bit planes one after the other, rows unpadded, by another way than the code under test."""
    if frame.format.name == "yuv420p10le":
        frame = frame.reformat(format="yuv420p")
    rows = []
    for plane in frame.planes:
        data, stride = bytes(plane), plane.line_size
        rows += [data[row * stride : row * stride + plane.width] for row in range(plane.height)]
    return b"".join(rows)


def refusal(path: str | io.BytesIO, count: int = 8, **limits: Any) -> tuple[Stage, Reason]:
    with pytest.raises(VideoError) as caught:
        decode_video(path, count, **{"containers": CONTAINERS, **limits})
    assert "\n" not in str(caught.value)
    return caught.value.stage, caught.value.reason


@pytest.mark.parametrize("count", [1, 8, 60, 500])
@pytest.mark.parametrize("clip", CLIPS)
def test_frames_are_those_of_a_full_decode_byte_for_byte(make_clip: Any, decode_all: Any, clip: str, count: int) -> None:
    path = make_clip(**CLIPS[clip])
    reference = decode_all(path)
    video = decode_video(str(path), count, containers=CONTAINERS)
    assert video.stream.frame_count == len(reference) == 72
    assert len(video.frames) == min(count, 72)
    assert all(before.index < after.index for before, after in pairwise(video.frames))
    for frame in video.frames:
        assert frame.planes.tobytes() == planes_of(reference[frame.index]), frame.index


@pytest.mark.parametrize("corpus", ["demo_corpus", "real_corpus"])
def test_frames_of_whole_clips_are_those_of_a_full_decode(decode_all: Any, corpus: str, request: pytest.FixtureRequest) -> None:
    clips = sorted(request.getfixturevalue(corpus).rglob("*.mp4"), key=os.path.getsize)
    for path in [clip for clip in clips if clip.stat().st_size > 50_000][:2]:
        reference = decode_all(path)
        video = decode_video(str(path), 8, containers=CONTAINERS)
        assert (video.stream.frame_count, len(video.frames)) == (len(reference), 8)
        for frame in video.frames:
            assert frame.planes.tobytes() == planes_of(reference[frame.index]), (path.name, frame.index)


def test_the_clips_are_what_they_are_called(make_clip: Any, decode_all: Any) -> None:
    assert decode_all(make_clip(**CLIPS["interlaced"]))[0].interlaced_frame
    with av.open(str(make_clip(**CLIPS["pixels that are not square"]))) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)


def test_a_file_that_an_edit_list_shortens_gives_what_is_shown(make_clip: Any, decode_all: Any, tmp_path: Path) -> None:
    content = bytearray(make_clip().read_bytes())
    entry = content.find(b"elst") + 12  # ISO/IEC 14496-12, 8.6.6, version 0: duration, media time, rate
    start = int.from_bytes(content[entry + 4 : entry + 8], "big")
    scale = content.find(b"mdhd") + 16
    content[entry + 4 : entry + 8] = (start + int.from_bytes(content[scale : scale + 4], "big")).to_bytes(4, "big")  # a second
    path = tmp_path / "edited.mp4"
    path.write_bytes(content)
    reference = decode_all(path)
    assert len(reference) == 72 - 25
    for count in (4, 60):
        video = decode_video(str(path), count)
        assert (video.stream.frame_count, len(video.frames)) == (len(reference), min(count, len(reference)))
        for frame in video.frames:
            assert frame.planes.tobytes() == planes_of(reference[frame.index]), frame.index


@pytest.mark.parametrize("seconds", [0, 1, 10**6])
def test_a_duration_that_lies_is_not_believed(make_clip: Any, tmp_path: Path, seconds: int) -> None:
    content = bytearray(make_clip().read_bytes())
    for name in (b"mvhd", b"mdhd"):
        scale = content.find(name) + 16  # ISO/IEC 14496-12, 8.2.2 and 8.4.2, version 0
        duration = seconds * int.from_bytes(content[scale : scale + 4], "big")
        content[scale + 4 : scale + 8] = min(duration, 2**32 - 1).to_bytes(4, "big")
    path = tmp_path / "lying.mp4"
    path.write_bytes(content)
    honest, lying = decode_video(str(make_clip()), 8), decode_video(str(path), 8)
    assert [(frame.index, frame.time) for frame in lying.frames] == [(frame.index, frame.time) for frame in honest.frames]
    assert all(np.array_equal(a.planes, b.planes) for a, b in zip(honest.frames, lying.frames, strict=True))


@pytest.mark.parametrize("clip", ["h264 with a b-pyramid", "h264 in matroska", "h264 in a transport stream", "mpeg4", "hevc"])
def test_time_counts_seconds_from_the_start_of_the_stream(make_clip: Any, clip: str) -> None:
    for frame in decode_video(str(make_clip(**CLIPS[clip])), 8, containers=CONTAINERS).frames:
        assert frame.time == pytest.approx(frame.index / 25, abs=1e-3)  # matroska counts milliseconds


def test_the_content_of_no_two_frames_is_the_same(make_clip: Any, decode_all: Any) -> None:
    assert len({planes_of(frame) for frame in decode_all(make_clip())}) == 72


def test_only_frames_that_others_depend_on_are_chosen_when_they_suffice(make_clip: Any) -> None:
    video = decode_video(str(make_clip()), 20)
    assert 20 <= len(video.stream.references) < video.stream.frame_count
    assert {frame.index for frame in video.frames} <= set(video.stream.references.tolist())


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that receives the index of every frame that comes out of the decoder."""
    import dfd_ray.video.decode as module

    indices: list[int] = []
    original = module._find_index

    def note(*arguments: Any) -> int:
        indices.append(original(*arguments))
        return indices[-1]

    monkeypatch.setattr(module, "_find_index", note)
    return indices


def test_the_decoder_really_skips_the_others(make_clip: Any, decoded: list[int]) -> None:
    video = decode_video(str(make_clip()), 20)
    assert set(decoded) <= set(video.stream.references.tolist())
    decoded.clear()
    decode_video(str(make_clip()), len(video.stream.references) + 1)
    assert len(set(decoded)) > len(video.stream.references)


def test_an_hour_costs_as_many_groups_of_pictures_as_frames(make_clip: Any, tmp_path: Path, decoded: list[int]) -> None:
    path = tmp_path / "hour.mp4"
    with av.open(str(make_clip())) as source, av.open(str(path), "w") as container:
        pictures = source.streams.video[0]
        stream = container.add_stream_from_template(pictures)
        packets = [packet for packet in source.demux(pictures) if packet.size]
        length = len(packets) * int(packets[0].duration)
        stamps = [(packet.pts, packet.dts) for packet in packets]
        for repeat in range(1250):
            for packet, (shown, sent) in zip(packets, stamps, strict=True):
                packet.stream, packet.time_base = stream, pictures.time_base
                packet.pts, packet.dts = shown + repeat * length, sent + repeat * length
                container.mux(packet)
    video = decode_video(str(path), 12)
    assert video.stream.frame_count == 90_000
    assert len(video.frames) == 12
    assert video.frames[-1].time - video.frames[0].time > 3000
    assert len(decoded) <= 12 * 2 * 24


@pytest.mark.parametrize("extra", [0, 1])
def test_all_frames_are_candidates_when_more_are_wanted_than_others_depend_on(make_clip: Any, extra: int) -> None:
    references = decode_video(str(make_clip()), 1).stream.references
    video = decode_video(str(make_clip()), len(references) + extra)
    assert len(video.frames) == len(references) + extra
    assert ({frame.index for frame in video.frames} <= set(references.tolist())) == (extra == 0)
    few = decode_video(str(make_clip()), 8, most=len(references) + extra)
    assert ({frame.index for frame in few.frames} <= set(references.tolist())) == (extra == 0)


def test_an_index_is_the_place_in_display_order_also_at_a_variable_rate(make_clip: Any, decode_all: Any) -> None:
    stamps = np.cumsum([0] + [(10, 33, 33, 200, 47)[i % 5] for i in range(71)]).tolist()
    path = make_clip(stamps=stamps)
    reference = decode_all(path)
    for frame in decode_video(str(path), 30).frames:
        assert frame.time == pytest.approx(stamps[frame.index] / 1000, abs=1e-4)
        assert frame.planes.tobytes() == planes_of(reference[frame.index])


@pytest.mark.parametrize("kind", ["file", "memory", "pyarrow"])
def test_an_open_file_gives_what_its_path_gives(make_clip: Any, kind: str) -> None:
    path = make_clip()
    expected = [frame.planes.tobytes() for frame in decode_video(str(path), 10).frames]
    with {
        "file": lambda: path.open("rb"),
        "memory": lambda: io.BytesIO(path.read_bytes()),
        "pyarrow": lambda: LocalFileSystem().open_input_file(str(path)),
    }[kind]() as source:
        assert [frame.planes.tobytes() for frame in decode_video(source, 10).frames] == expected


@pytest.mark.parametrize("name", ["with space.mp4", "http:colon.mp4", "-dash.mp4", "%d.mp4", "ünï.mp4", "concat:a|b.mp4"])
def test_a_name_that_looks_like_something_else_is_still_a_file(make_clip: Any, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(make_clip().read_bytes())
    assert len(decode_video(str(path), 3).frames) == 3


def test_a_relative_path_is_read(make_clip: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clip.mp4").write_bytes(make_clip().read_bytes())
    monkeypatch.chdir(tmp_path)
    assert len(decode_video("clip.mp4", 3).frames) == 3


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    assert refusal(str(tmp_path / "absent.mp4")) == (Stage.OPEN, Reason.MISSING)


def test_a_file_without_bytes_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert refusal(str(tmp_path / "empty.mp4")) == (Stage.OPEN, Reason.EMPTY)


def test_a_folder_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    assert refusal(str(tmp_path / "folder.mp4")) == (Stage.OPEN, Reason.UNREADABLE)


@pytest.mark.parametrize(
    "content",
    [b"This is a letter, not a video.\n" * 50, b"\x00" * 5000, bytes(range(256)) * 40, b"\x89PNG\r\n\x1a\n", b"x"],
    ids=["text", "zeros", "bytes", "png", "one byte"],
)
def test_what_is_no_container_is_not_a_video(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "renamed.mp4"
    path.write_bytes(content)
    assert refusal(str(path)) == (Stage.OPEN, Reason.NOT_A_VIDEO)


SCRIPTS = {
    "ffconcat": "ffconcat version 1.0\nfile {other}\n",
    "playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10.0,\n{other}\n#EXT-X-ENDLIST\n",
    "session": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("way", ["path", "open file"])
@pytest.mark.parametrize("suffix", [".mp4", ".ffconcat", ".m3u8", ".sdp"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_that_names_another_file_does_not_read_it(
    make_clip: Any, tmp_path: Path, script: str, suffix: str, way: str
) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(make_clip().read_bytes())
    path = tmp_path / f"script{suffix}"
    path.write_text(SCRIPTS[script].format(other=other.name))
    source = str(path) if way == "path" else io.BytesIO(path.read_bytes())
    assert refusal(source) == (Stage.OPEN, Reason.NOT_A_VIDEO)


@pytest.mark.parametrize("script", ["ffconcat version 1.0\nfile {url}\n", "#EXTM3U\n#EXTINF:10.0,\n{url}\n#EXT-X-ENDLIST\n"])
def test_a_script_that_names_a_host_does_not_call_it(tmp_path: Path, script: str) -> None:
    path = tmp_path / "script.mp4"
    with socket.create_server(("127.0.0.1", 0)) as server:
        path.write_text(script.format(url=f"http://127.0.0.1:{server.getsockname()[1]}/x.ts"))
        assert refusal(str(path)) == (Stage.OPEN, Reason.NOT_A_VIDEO)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_container_that_is_not_allowed_is_refused(make_clip: Any) -> None:
    matroska = make_clip(suffix=".mkv")
    assert refusal(str(matroska), containers=("mov", "mp4")) == (Stage.OPEN, Reason.NOT_A_VIDEO)
    assert len(decode_video(str(matroska), 2, containers=("matroska",)).frames) == 2


@pytest.mark.parametrize("name", ["mov", "mp4"])
def test_either_name_of_the_quicktime_container_allows_it(make_clip: Any, name: str) -> None:
    assert len(decode_video(str(make_clip()), 2, containers=(name,)).frames) == 2


@pytest.mark.parametrize("name", ["sound.mp4", "sound.m4a"])
def test_sound_alone_has_no_video_stream(sound_only: Callable[[str], Path], name: str) -> None:
    assert refusal(str(sound_only(name))) == (Stage.OPEN, Reason.NO_VIDEO_STREAM)


def test_a_file_whose_index_was_cut_off_is_not_a_video(make_clip: Any, tmp_path: Path) -> None:
    whole = make_clip().read_bytes()
    assert whole.rfind(b"moov") > len(whole) / 2
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: whole.rfind(b"moov") - 4])
    assert refusal(str(path)) == (Stage.OPEN, Reason.NOT_A_VIDEO)


def test_a_file_that_breaks_off_gives_the_frames_before(make_clip: Any, decode_all: Any, tmp_path: Path) -> None:
    whole = make_clip(movflags="faststart")
    content = whole.read_bytes()
    start = content.find(b"mdat")
    assert content.find(b"moov") < start
    path = tmp_path / "cut.mp4"
    path.write_bytes(content[: start + (len(content) - start) // 2])
    video = decode_video(str(path), 60)
    reference = [planes_of(frame) for frame in decode_all(whole)]
    assert 10 < video.stream.frame_count < 60
    assert 10 < len(video.frames) <= video.stream.frame_count
    same = [frame.planes.tobytes() == reference[frame.index] for frame in video.frames]
    assert all(same[:-4])  # at the very end a frame may lack one that it depends on


def test_a_file_that_ends_where_its_pictures_begin_has_no_frames(make_clip: Any, tmp_path: Path) -> None:
    content = make_clip(movflags="faststart").read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(content[: content.find(b"mdat") + 4])
    stage, reason = refusal(str(path))
    assert (stage, reason) in {(Stage.DECODE, Reason.NO_FRAMES), (Stage.OPEN, Reason.BROKEN_STREAM)}


@pytest.mark.parametrize(("limit", "accepted"), [(71, False), (72, True)])
def test_a_stream_of_more_packets_than_allowed_is_too_large(make_clip: Any, limit: int, accepted: bool) -> None:
    if accepted:
        assert len(decode_video(str(make_clip()), 4, max_packets=limit).frames) == 4
    else:
        assert refusal(str(make_clip()), max_packets=limit) == (Stage.OPEN, Reason.TOO_LARGE)


@pytest.mark.parametrize(("limit", "accepted"), [(160 * 120 - 1, False), (160 * 120, True)])
def test_a_frame_of_more_pixels_than_allowed_is_too_large(make_clip: Any, limit: int, accepted: bool) -> None:
    if accepted:
        assert len(decode_video(str(make_clip()), 4, max_pixels=limit).frames) == 4
    else:
        assert refusal(str(make_clip()), max_pixels=limit) == (Stage.OPEN, Reason.TOO_LARGE)


def test_a_frame_that_is_larger_than_its_header_says_is_refused(make_clip: Any, tmp_path: Path) -> None:
    small, large = make_clip(suffix=".ts", count=30), make_clip(suffix=".ts", count=30, width=640, height=480)
    path = tmp_path / "growing.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    try:
        video = decode_video(str(path), 60, containers=CONTAINERS, max_pixels=160 * 120)
    except VideoError as error:
        assert error.reason in (Reason.TOO_LARGE, Reason.BROKEN_STREAM)
    else:
        assert all(frame.width * frame.height <= 160 * 120 for frame in video.frames)


def test_a_video_that_takes_longer_than_its_deadline_is_given_up(make_clip: Any) -> None:
    assert refusal(str(make_clip()), deadline=1e-9) == (Stage.DECODE, Reason.DEADLINE)


@pytest.mark.parametrize("clip", ["h264 with a b-pyramid", "mpeg4", "h264 in matroska", "h264 in a transport stream"])
def test_bytes_that_rot_end_in_a_reason_or_in_frames(make_clip: Any, tmp_path: Path, clip: str) -> None:
    whole = make_clip(**CLIPS[clip]).read_bytes()
    path = tmp_path / f"rotten{CLIPS[clip].get('suffix', '.mp4')}"
    random = np.random.default_rng(3)
    ends = {"frames": 0, "reason": 0}
    for attempt in range(40):
        content = bytearray(whole)
        # Spread over the file, then in the last and the first 3,000 bytes, where the indexes and headers are.
        span = (0, len(content)) if attempt % 2 else ((len(content) - 3000, len(content)), (0, 3000))[attempt // 2 % 2]
        for position in random.integers(*span, size=int(random.choice([1, 10, 60]))):
            content[position] = random.integers(256)
        path.write_bytes(content)
        try:
            video = decode_video(str(path), 8, containers=CONTAINERS, deadline=20, max_pixels=2**20)
        except VideoError:
            ends["reason"] += 1
        else:
            ends["frames"] += 1
            assert video.frames
            assert all(len(frame.planes) <= 3 * 2**20 for frame in video.frames)
    assert ends["frames"] > 5
