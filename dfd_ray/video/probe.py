"""Opening a video that may be broken or hostile, and finding out what is really in it.

Headers lie (frame counts of 2^31, rates of 8e-05). So the packets are counted instead: the file is read once, and
nothing is decoded.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import av
import av.error
import numpy as np
from av.stream import Disposition

from dfd_ray.arrays import Int64Array
from dfd_ray.errors import Reason, Stage, VideoError
from dfd_ray.video.promise import count_announced, count_unread

SLICE, IDR = 1, 5
"""`nal_unit_type` of a slice of a non-IDR and of an IDR picture (H.264, table 7-1)."""
CLEAN_KEYFRAMES = ("hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "mjpeg", "prores")
"""Decoders at whose key frames decoding can start. In H.264 a key frame may be a recovery point only: there IDR counts."""
VOP, EMPTY_VOP = b"\x00\x00\x01\xb6", 19
"""Start code of an MPEG-4 picture (ISO/IEC 14496-2, table 6-3), and the most bytes of one without content, as in FFmpeg."""
TIMED_CONTAINERS = ("mov", "matroska")
"""Demuxers that give presentation times; others (AVI) may give times of decoding instead."""

Source = str | BinaryIO
"""A path of a local file, or an open binary file that can seek (object storage)."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The facts of a video's picture stream, from its packets."""

    width: int
    height: int
    """Width and height in pixels, as coded: pixels that are not square are not stretched."""
    fps: float
    """Frames per second on average; 0 when the stream does not say."""
    codec: str
    """FFmpeg's name of the decoder, such as "h264"."""
    frame_count: int
    """Frames, counted."""
    start: int
    """The first presentation time stamp, in the stream's time base; 0 when there is none."""
    order: dict[int, int] | None
    """Presentation time stamp to `frame_index`; None when time stamps are missing or not unique."""
    references: Int64Array
    """`frame_index` (n,) int64, ascending, of the frames that other frames depend on; empty when not known."""
    display: Int64Array
    """`frame_index` (n,) int64 of each packet, in decoding order; empty when not known."""
    restarts: Int64Array
    """Packets (n,) int64 at which a decoder can start: positions in decoding order, ascending."""
    packets: int = 0
    """Packets that are frames, but for doubtful ones."""
    listed: int = 0
    """Frames that the container lists; where it has no list, those read, or those announced where reading failed."""
    announced: int = 0
    """Frames by the container's header or its duration and rate, which may lie; 0 when it does not say."""
    doubtful: int = 0
    """Packets that may hold no frame of their own. Where there are any, only decoding can count the frames."""


@contextmanager
def open_container(source: Source, containers: Sequence[str]) -> Iterator[av.container.InputContainer]:
    """Open a video with the given demuxers only, and nothing but the file itself.

    The limits matter: a text file renamed `.mp4` can be an `ffconcat` script or a playlist that makes FFmpeg read other
    files or hosts. Raises VideoError when the video cannot be opened.
    """
    if isinstance(source, str):
        _refuse_unreadable(source)
    target = f"file:{os.path.abspath(source)}" if isinstance(source, str) else source
    options = {"format_whitelist": _list_demuxers(containers), "protocol_whitelist": "file"}
    try:
        if not isinstance(source, str):
            source.seek(0)
        container = av.open(target, options=options)
    except av.error.FFmpegError as error:
        raise VideoError(Stage.OPEN, Reason.NOT_A_VIDEO, _describe(error)) from None
    except (OSError, ValueError) as error:
        raise VideoError(Stage.OPEN, Reason.UNREADABLE, str(error)) from None
    with container:
        yield container


def walk_packets(container: av.container.InputContainer, max_packets: int, check_deadline: Callable[[], None]) -> Stream:
    """Read every packet of the picture stream without decoding it, and return what the stream holds.

    Raises VideoError when no packet can be read, when there are more than `max_packets`, or when `check_deadline` does.
    """
    stream = find_picture_stream(container)
    read_slice_header = _make_header_reader(stream)
    name, read, doubtful = stream.codec_context.name, 0, 0
    keyed = hidden = failed = False
    trusted = name in CLEAN_KEYFRAMES
    timed = container.format.name.startswith(TIMED_CONTAINERS)
    stamps: list[int | None] = []
    references, restarts = list[int](), list[int]()
    try:
        for packet in container.demux(stream):
            read += packet.size > 0
            keyed |= packet.is_keyframe
            hidden |= packet.is_discard and not stamps
            if packet.size == 0 or not is_shown(packet, name):
                continue
            doubtful += not keyed  # a recording that begins between two key frames: decoders drop what comes before one
            check_deadline()
            doubtful += name == "mpeg4" and is_packed(packet)
            if read_slice_header is not None:
                header = read_slice_header(bytes(packet))
                if header is None or header >> 5 & 3:
                    references.append(len(stamps))
                if header is not None and header & 31 == IDR:
                    restarts.append(len(stamps))
            elif trusted and packet.is_keyframe:
                restarts.append(len(stamps))
            stamps.append(packet.pts)
            if len(stamps) > max_packets:
                raise VideoError(Stage.OPEN, Reason.TOO_LARGE, f"more than {max_packets} packets")
    except av.error.FFmpegError as error:
        if not stamps:
            raise VideoError(Stage.OPEN, Reason.BROKEN_STREAM, _describe(error)) from None
        failed = True
    announced = min(count_announced(container, stream, len(stamps)), max_packets)
    order = _number_stamps(stamps)
    display = np.array([order[stamp] for stamp in stamps if stamp is not None] if order else [], np.int64)
    return Stream(
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        fps=_read_rate(stream),
        codec=name,
        frame_count=len(stamps),
        start=min((stamp for stamp in stamps if stamp is not None), default=0),
        order=order,
        references=np.sort(display[references]) if order and read_slice_header else np.empty(0, np.int64),
        display=display,
        restarts=np.array(restarts if timed else [], np.int64),
        packets=len(stamps),
        listed=max(len(stamps) + count_unread(container, stream, read), announced if failed else 0),
        announced=announced,
        # Pictures sent after the first key frame and shown before it lack what they depend on: many decoders drop them. Behind
        # a start that an edit list hides they have it.
        doubtful=doubtful + int(display[0] if len(display) and keyed and not hidden else 0),
    )


def find_picture_stream(container: av.container.InputContainer) -> av.VideoStream:
    """Return the video stream that a player shows, with one decoding thread: many processes are faster than threads in one.

    A cover picture is no video, though FFmpeg lists it as one; nor is a track of one picture beside one of many. Of several
    videos FFmpeg takes the best.
    """
    best = container.streams.best("video")
    videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    videos = [stream for stream in videos if stream.frames != 1] or videos
    if not videos:
        detail = "nothing but a cover picture" if container.streams.video else ""
        raise VideoError(Stage.OPEN, Reason.NO_VIDEO_STREAM, detail)
    stream = best if isinstance(best, av.VideoStream) and best in videos else videos[0]
    if stream.codec_context is None:
        raise VideoError(Stage.OPEN, Reason.NOT_A_VIDEO, "no decoder for its codec")
    stream.codec_context.thread_count = 1
    return stream


def is_shown(packet: av.Packet, codec: str) -> bool:
    """Return whether a packet is a frame of its own: not hidden by an edit list, nor for reference only (VP8, VP9).

    RFC 6386, 9.1; VP9 bitstream specification, 6.2 and annex B (a superframe holds a frame that is shown).
    """
    if packet.is_discard:
        return False
    first: int = memoryview(packet)[0]
    if codec == "vp8":
        return bool(first >> 4 & 1)
    if codec == "vp9" and memoryview(packet)[-1] >> 5 != 0b110 and first >> 4 != 0b1011:  # 1011: profile 3, one bit more
        return bool(first >> 3 & 1 or first >> 1 & 1)
    return True


def is_packed(packet: av.Packet) -> bool:
    """Return whether an MPEG-4 packet holds two pictures, or so little that it stands for one sent before (DivX, Xvid)."""
    return packet.size <= EMPTY_VOP or bytes(packet).count(VOP) > 1


def start_deadline(seconds: float) -> Callable[[], None]:
    """Return a function that raises VideoError once `seconds` have passed from now."""
    end = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > end:
            raise VideoError(Stage.DECODE, Reason.DEADLINE, f"not done in {seconds:g} s")

    return check


def _refuse_unreadable(path: str) -> None:
    try:
        if os.stat(path).st_size == 0:
            raise VideoError(Stage.OPEN, Reason.EMPTY)
        with open(path, "rb"):
            pass
    except FileNotFoundError:
        raise VideoError(Stage.OPEN, Reason.MISSING) from None
    except OSError as error:
        raise VideoError(Stage.OPEN, Reason.UNREADABLE, error.strerror or str(error)) from None


def _list_demuxers(containers: Sequence[str]) -> str:
    # FFmpeg wants all names of its QuickTime demuxer in the list, so one of them stands for all.
    names = dict.fromkeys(containers)
    if {"mov", "mp4"} & names.keys():
        names |= dict.fromkeys(("mov", "mp4", "m4a", "3gp", "3g2", "mj2"))
    return ",".join(names)


def _number_stamps(stamps: list[int | None]) -> dict[int, int] | None:
    """Return each time stamp's place in display order; None when stamps are missing or not unique."""
    present = [stamp for stamp in stamps if stamp is not None]
    order = {stamp: index for index, stamp in enumerate(sorted(present))}
    return order if len(order) == len(stamps) else None


def _read_rate(stream: av.VideoStream) -> float:
    """Return the frames per second; 0 for a rate that cannot be right."""
    rate = float(stream.average_rate or 0)
    return rate if math.isfinite(rate) and 0 < rate <= 1000 else 0.0


def _make_header_reader(stream: av.VideoStream) -> Callable[[bytes], int | None] | None:
    """Return a function from an H.264 packet to the first byte of its first slice (H.264, 7.3.1); None for other streams.

    The byte holds `nal_ref_idc`, by which FFmpeg's `skip_frame = NONREF` decides, so the frames left are known before
    decoding. It also holds `nal_unit_type`, which marks an IDR picture: no later frame depends on one before it.
    """
    extradata = stream.codec_context.extradata
    if stream.codec_context.name != "h264" or not extradata or extradata[0] != 1:
        return None
    length_size = (extradata[4] & 3) + 1  # avcC: lengthSizeMinusOne, ISO/IEC 14496-15

    def read_slice_header(packet: bytes) -> int | None:
        position = 0
        while position + length_size < len(packet):
            header = int(packet[position + length_size])
            if header & 31 in (SLICE, IDR):
                return header
            position += length_size + int.from_bytes(packet[position : position + length_size], "big")
        return None

    return read_slice_header


def _describe(error: av.error.FFmpegError) -> str:
    return error.strerror or type(error).__name__
