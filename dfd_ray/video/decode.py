"""Decoding the frames that were asked for, byte for byte as a full decode gives them, and no more than needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import av.error
import numpy as np

from dfd_ray.arrays import BoolArray
from dfd_ray.errors import Reason, Stage, VideoError
from dfd_ray.video.frame import Frame
from dfd_ray.video.probe import Source, Stream, deadline_check, first_picture_stream, open_container, walk_packets
from dfd_ray.video.sampling import choose_frames


@dataclass(frozen=True, slots=True)
class Video:
    """What was read of a video."""

    stream: Stream
    frames: list[Frame]
    """The chosen frames in display order; fewer than asked for when the stream is shorter or breaks off."""


def decode_video(
    source: Source,
    count: int,
    *,
    enough_references: int | None = None,
    containers: Sequence[str] = ("mov", "mp4"),
    max_pixels: int = 2**25,
    max_packets: int = 1_000_000,
    deadline: float = 120.0,
) -> Video:
    """Decode `count` evenly spaced frames of a video.

    Where an H.264 stream has at least `enough_references` frames that other frames depend on (None: `count`), only those
    are decoded and sampled among: about 40 % of the work is saved and no pixel differs. The others are encoded more coarsely,
    so where `count` depends on a label, one number for all keeps the kind of frame from telling it. (Skipping every B frame
    would save more and be wrong: with x264's b-pyramid P frames depend on B frames.) Between the chosen frames, decoding
    starts again at the last key frame that allows it, so an hour costs as many groups of pictures as frames, not the hour.

    Raises VideoError, with stage and reason, when nothing can be decoded, when the stream is larger than `max_pixels` a
    frame or `max_packets`, or after `deadline` seconds.
    """
    check_deadline = deadline_check(deadline)
    stream = walk_packets(source, containers, max_packets, check_deadline)
    if stream.frame_count == 0:
        raise VideoError(Stage.DECODE, Reason.NO_FRAMES)
    if stream.width * stream.height > max_pixels:
        raise VideoError(Stage.OPEN, Reason.TOO_LARGE, f"{stream.width} x {stream.height} pixels")
    skip = len(stream.references) >= max(count, enough_references or 0)
    candidates = stream.references if skip else np.arange(stream.frame_count, dtype=np.int64)
    chosen = choose_frames(candidates, count)
    frames = _decode_chosen(source, stream, set(chosen.tolist()), skip, containers, max_pixels, check_deadline)
    return Video(stream, frames)


def _decode_chosen(
    source: Source,
    stream: Stream,
    chosen: set[int],
    skip: bool,
    containers: Sequence[str],
    max_pixels: int,
    check_deadline: Callable[[], None],
) -> list[Frame]:
    needed = packets_needed(stream, chosen)
    frames: list[Frame] = []
    broken = ""
    with open_container(source, containers) as container:
        pictures = first_picture_stream(container)
        # The decoder counts whole macroblocks, so it is given room; the frame itself is measured below.
        pictures.codec_context.options = {"max_pixels": str(2 * max_pixels)}
        if skip:
            pictures.codec_context.skip_frame = "NONREF"
        try:
            for position, decoded in enumerate(_decode_packets(container, pictures, needed)):
                check_deadline()
                index = _frame_index(stream, decoded, position, skip or not needed.all())
                if index in chosen:
                    _refuse_large(decoded, max_pixels)
                    frames.append(Frame.from_decoded(decoded, index, _seconds(stream, decoded, pictures.time_base)))
                    if len(frames) == len(chosen):
                        break
        except MemoryError:
            raise
        except av.error.FFmpegError as error:
            broken = error.strerror or type(error).__name__
    if not frames:
        raise VideoError(Stage.DECODE, Reason.BROKEN_STREAM if broken else Reason.NO_FRAMES, broken)
    return frames


def packets_needed(stream: Stream, chosen: set[int]) -> BoolArray:
    """Return which packets, in the order of decoding, must be decoded for the chosen frames: (frame_count,) bool.

    For each frame those from the last restart before it, in the order of decoding and of display both: frames shown
    before a key frame and sent after it may look behind it.
    """
    if not len(stream.display) or not len(stream.restarts):
        return np.ones(stream.frame_count, np.bool_)
    needed = np.zeros(stream.frame_count, np.bool_)
    for position in np.flatnonzero(np.isin(stream.display, list(chosen))):
        restarts = stream.restarts[stream.restarts <= position]
        restarts = restarts[stream.display[restarts] <= stream.display[position]]
        needed[restarts[-1] if len(restarts) else 0 : position + 1] = True
    return needed


def _decode_packets(
    container: av.container.InputContainer, pictures: av.VideoStream, needed: BoolArray
) -> Iterator[av.VideoFrame]:
    """Yield what the decoder makes of the needed packets; across a gap it is emptied and starts afresh."""
    position, feeding = 0, False
    last = np.flatnonzero(needed)[-1]
    for packet in container.demux(pictures):
        if packet.size == 0 or position > last:
            break
        if needed[position]:
            feeding = True
            yield from pictures.decode(packet)
        elif feeding:
            yield from pictures.decode(None)
            pictures.codec_context.flush_buffers()
            feeding = False
        # A packet that an edit list hides is decoded for the sake of those behind it, and is no frame.
        position += not packet.is_discard
    if feeding:
        yield from pictures.decode(None)


def _frame_index(stream: Stream, decoded: av.VideoFrame, position: int, gaps: bool) -> int:
    # Without gaps, what comes out is counted: some containers' time stamps are those of decoding.
    return stream.order.get(decoded.pts, -1) if gaps and stream.order is not None else position


def _seconds(stream: Stream, decoded: av.VideoFrame, time_base: Fraction | None) -> float:
    if decoded.pts is None or time_base is None:
        return 0.0
    return float((decoded.pts - stream.start) * time_base)


def _refuse_large(decoded: av.VideoFrame, max_pixels: int) -> None:
    if decoded.width * decoded.height > max_pixels:
        raise VideoError(Stage.DECODE, Reason.TOO_LARGE, f"a frame of {decoded.width} x {decoded.height} pixels")
