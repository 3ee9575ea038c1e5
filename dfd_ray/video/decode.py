"""Decoding the chosen frames of a video: byte for byte those of a full decode, and no more work than they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import av.error
import numpy as np

from dfd_ray.arrays import BoolArray, Int64Array
from dfd_ray.errors import Reason, Stage, VideoError
from dfd_ray.video.frame import Frame
from dfd_ray.video.probe import (
    Source,
    Stream,
    find_picture_stream,
    is_shown,
    open_container,
    start_deadline,
    walk_packets,
)
from dfd_ray.video.promise import count_promised
from dfd_ray.video.sampling import choose_combs


@dataclass(frozen=True, slots=True)
class Video:
    """What was read of a video."""

    stream: Stream
    frames: list[Frame]
    """The chosen frames in display order; fewer than wanted when the stream breaks off."""
    frames_wanted: int
    """Frames asked for, or all that the file promises where these are fewer."""
    wanted_by_comb: list[int]
    """The same of each comb."""


def decode_video(
    source: Source,
    count: int,
    *,
    comb: int | None = None,
    most: int | None = None,
    containers: Sequence[str] = ("mov", "mp4"),
    max_pixels: int = 2**25,
    max_packets: int = 1_000_000,
    deadline: float = 120.0,
) -> Video:
    """Decode `count` evenly spaced frames of a video.

    `choose_combs` chooses them, in combs of `comb` frames (None: one comb) out of `most` (None: `count`). Where `count`
    depends on a label, give the same `comb` and `most` for all labels: then a frame is the same frame of the same comb for all.

    Where an H.264 stream has at least `most` frames that other frames depend on, only those are decoded and chosen from: that
    saves about 40 % of the work, and no pixel differs. The other frames are encoded more coarsely. (Skipping every B frame
    would save more and be wrong: with x264's b-pyramid P frames depend on B frames.) For each chosen frame, decoding starts
    at the last key frame that allows it. So a long video costs one group of pictures for each frame. The combs of a damaged
    video are decoded one by one: what a decoder makes of damage depends on the frames that it has seen before.

    Of a file that breaks off, the part that is there gives its share of the frames. Where packets and frames do not match one
    to one, the whole stream is decoded first, to count them.

    Raises VideoError, with stage and reason, when nothing can be decoded, when the stream has more than `max_pixels` in a
    frame or more than `max_packets`, or after `deadline` seconds.
    """
    check_deadline = start_deadline(deadline)
    with open_container(source, containers) as container:
        stream = walk_packets(container, max_packets, check_deadline)
    if stream.frame_count == 0:
        raise VideoError(Stage.DECODE, Reason.NO_FRAMES)
    if stream.width * stream.height > max_pixels:
        raise VideoError(Stage.OPEN, Reason.TOO_LARGE, f"{stream.width} x {stream.height} pixels")
    lost = count_lost(stream, source)
    if stream.doubtful:
        with open_container(source, containers) as container:
            stream = _count_frames(container, stream, max_pixels, check_deadline)
        lost += max(0, stream.packets - stream.doubtful - stream.frame_count)
    most = max(count, most or count)
    skip = len(stream.references) >= most
    candidates = stream.references if skip else np.arange(stream.frame_count, dtype=np.int64)
    # Chosen as if the lost frames were there, so that what is left of a video is sampled no more densely than a whole one.
    there = stream.frame_count
    promised = np.arange(there, there + round(lost * len(candidates) / there))
    wanted = choose_combs(np.concatenate([candidates, promised]), count, comb or count, most)
    by_comb = [len(one) for one in wanted]
    combs = [set(one[one < there].tolist()) for one in wanted]
    if not any(combs):
        return Video(stream, [], sum(by_comb), by_comb)

    def decode(chosen: set[int]) -> tuple[list[Frame], str | None]:
        if not chosen:
            return [], None
        # Opened again: seeking back to the start lost frames or was refused in 2 of 1,155 damaged files (Matroska, AVI), and
        # opening takes 1 to 2 % of the time.
        with open_container(source, containers) as container:
            return _decode_chosen(container, stream, chosen, skip, max_pixels, check_deadline)

    found, damage = decode(set().union(*combs))
    frames = [replace(frame, comb=number) for number, one in enumerate(combs) for frame in found if frame.index in one]
    if damage is not None and len(combs) > 1:
        frames = [replace(frame, comb=number) for number, one in enumerate(combs) for frame in decode(one)[0]]
    if not frames:
        raise VideoError(Stage.DECODE, Reason.BROKEN_STREAM if damage else Reason.NO_FRAMES, damage or "")
    return Video(stream, sorted(frames, key=lambda frame: frame.index), sum(by_comb), by_comb)


def count_lost(stream: Stream, source: Source) -> int:
    """Return how many frames the file promises and does not hold, because it breaks off."""
    lost = stream.listed - stream.frame_count
    if lost or 0 < stream.announced <= stream.frame_count:
        return lost
    return count_promised(source, stream.frame_count, stream.announced) - stream.frame_count


def _count_frames(
    container: av.container.InputContainer, stream: Stream, max_pixels: int, check_deadline: Callable[[], None]
) -> Stream:
    """Return the stream with the frames that a full decode gives, which are then known by their position alone."""
    pictures = find_picture_stream(container)
    pictures.codec_context.options = {"max_pixels": str(2 * max_pixels)}
    shown = 0
    try:
        for _ in _decode_packets(container, pictures, np.ones(stream.packets, np.bool_), stream.restarts[:0]):
            check_deadline()
            shown += 1
    except MemoryError:
        raise
    except av.error.FFmpegError as error:
        if not shown:
            raise VideoError(Stage.DECODE, Reason.BROKEN_STREAM, error.strerror or type(error).__name__) from None
    if not shown:
        raise VideoError(Stage.DECODE, Reason.NO_FRAMES)
    none = np.empty(0, np.int64)
    return replace(stream, frame_count=shown, order=None, references=none, display=none, restarts=none)


def _decode_chosen(
    container: av.container.InputContainer,
    stream: Stream,
    chosen: set[int],
    skip: bool,
    max_pixels: int,
    check_deadline: Callable[[], None],
) -> tuple[list[Frame], str | None]:
    """Return the chosen frames, and None where all of them came whole, else what the decoder said, which may be nothing."""
    pictures = find_picture_stream(container)
    # The decoder counts whole macroblocks, so it gets twice the room; the frame itself is measured below.
    pictures.codec_context.options = {"max_pixels": str(2 * max_pixels)}
    if skip:
        pictures.codec_context.skip_frame = "NONREF"
    needed = find_needed_packets(stream, chosen)
    frames: list[Frame] = []
    damage: str | None = None
    try:
        by_time = skip or not needed.all() or len(stream.restarts) > 0
        restarts = stream.restarts if stream.order is not None else stream.restarts[:0]
        for position, decoded in enumerate(_decode_packets(container, pictures, needed, restarts)):
            check_deadline()
            damage = "" if decoded.is_corrupt else damage
            index = _find_index(stream, decoded, position, by_time)
            if index in chosen:
                if decoded.width * decoded.height > max_pixels:
                    detail = f"a frame of {decoded.width} x {decoded.height} pixels"
                    raise VideoError(Stage.DECODE, Reason.TOO_LARGE, detail)
                frames.append(Frame.from_decoded(decoded, index, _read_time(stream, decoded, pictures.time_base)))
                if len(frames) == len(chosen):
                    break
    except MemoryError:  # PyAV's is an FFmpegError, too
        raise
    except av.error.FFmpegError as error:
        damage = error.strerror or type(error).__name__
    return frames, "" if damage is None and len(frames) < len(chosen) else damage


def find_needed_packets(stream: Stream, chosen: set[int]) -> BoolArray:
    """Return which packets, in decoding order, must be decoded for the chosen frames: (packets,) bool.

    For each frame these are the packets from the last restart that comes before it both in decoding order and in display
    order: a frame shown before a key frame and sent after it may depend on what comes before that key frame.
    """
    if not len(stream.display) or not len(stream.restarts):
        return np.ones(stream.packets, np.bool_)
    needed = np.zeros(stream.packets, np.bool_)
    for position in np.flatnonzero(np.isin(stream.display, list(chosen))):
        restarts = stream.restarts[stream.restarts <= position]
        restarts = restarts[stream.display[restarts] <= stream.display[position]]
        needed[restarts[-1] if len(restarts) else 0 : position + 1] = True
    return needed


def _decode_packets(
    container: av.container.InputContainer, pictures: av.VideoStream, needed: BoolArray, restarts: Int64Array
) -> Iterator[av.VideoFrame]:
    """Yield the frames that the decoder makes of the needed packets. At a gap the decoder is emptied and starts afresh.

    Damage costs the frames up to the next restart, where there is one: it clears them in `needed`.
    """
    position, feeding = 0, False
    last = np.flatnonzero(needed)[-1]
    for packet in container.demux(pictures):
        if packet.size == 0 or position > last:
            break
        shown = is_shown(packet, pictures.codec_context.name)
        if needed[position] and (feeding or shown or not position):
            feeding = True
            try:
                yield from pictures.decode(packet)
            except MemoryError:
                raise
            except av.error.FFmpegError:
                if not len(restarts):  # then frames are counted as they come, and one is lost
                    raise
                yield from pictures.decode(None)  # what it was given before the damage
                later = restarts[restarts > position]
                if not len(later):
                    raise
                needed[position : later[0]] = False
                pictures.codec_context.flush_buffers()
                feeding = False
        elif feeding:
            yield from pictures.decode(None)
            pictures.codec_context.flush_buffers()
            feeding = False
        # A hidden packet is decoded because later ones depend on it, and is not counted as a frame.
        position += shown
    if feeding:
        yield from pictures.decode(None)


def _find_index(stream: Stream, decoded: av.VideoFrame, position: int, gaps: bool) -> int:
    # Without gaps, frames are counted as they come: some containers have time stamps of decoding only.
    return stream.order.get(decoded.pts, -1) if gaps and stream.order is not None else position


def _read_time(stream: Stream, decoded: av.VideoFrame, time_base: Fraction | None) -> float:
    if decoded.pts is None or time_base is None:
        return 0.0
    return float((decoded.pts - stream.start) * time_base)
