"""A process of its own for the decoder, with limits: a hostile video costs that video and no other.

    parent ── {"uri": ..., "count": ...} as a line of JSON ──▶ child (this module, run as a script)
    parent ◀── one row of `DECODED` as an Arrow IPC stream ── child

The child stays from video to video. It is replaced after a crash, after a hang, and when it ran out of memory. It is a
plain subprocess because one of `multiprocessing` would first import the main module of the Ray worker, and Ray with it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import BinaryIO, cast

import pyarrow as pa

from dfd_ray.errors import ConfigurationError, Reason, Stage, Status, VideoError
from dfd_ray.sections import Preprocess
from dfd_ray.store.remote_file import RangeReader
from dfd_ray.store.storage import open_location
from dfd_ray.video import decode_video
from dfd_ray.video.arrow import DECODED, error_row, frames_to_arrow, one_row

ATTEMPTS = 2
"""Times a video is tried whose decoder dies. After the second death it becomes an error row."""
GRACE = 5.0
"""Seconds beyond the deadline after which the child is killed. The child's own deadline comes first."""
LEAST_SHARE = Fraction(1, 3)
"""Share of the frames that would be judged, below which a video is an error. One that breaks off half-way is judged by its
half."""
PIPE_BYTES = 2**20
"""Size of the pipe between the two. With Linux's default of 64 KiB a row takes twice as long to cross."""


class DecoderProcess:
    """Decodes videos in a child process, which starts with the first video and ends with `close` or with this process.

    `command` starts the child; a test may give another one.
    """

    def __init__(self, settings: Preprocess, command: Sequence[str] = (sys.executable, "-m", __name__)) -> None:
        self.settings = settings
        self.command = command
        self.child: subprocess.Popen[bytes] | None = None

    def decode(self, uri: str, count: int) -> pa.Table:
        """Return a row of `DECODED` with `count` frames of a video, or with the reason why it could not be read.

        Raises VideoError when the child died of the video twice, or was killed `GRACE` seconds after the deadline.
        """
        request = json.dumps({"uri": uri, "count": count}).encode() + b"\n"
        for _ in range(ATTEMPTS):
            answer, death = self._ask(request)
            if answer is not None:
                return answer
        raise VideoError(Stage.DECODE, Reason.CRASH, f"the decoder's process died of {death}")

    def close(self) -> None:
        """End the child."""
        if self.child is not None:
            self.child.kill()
            with self.child:  # closes the pipes and waits
                self.child = None

    def _ask(self, request: bytes) -> tuple[pa.Table | None, str]:
        """Return the child's answer, or None and what the child died of."""
        child = self._start_child()
        late = threading.Event()

        def end() -> None:
            late.set()
            child.kill()

        watchdog = threading.Timer(self.settings.video_deadline + GRACE, end)
        watchdog.start()
        try:
            to_child, from_child = cast(BinaryIO, child.stdin), cast(BinaryIO, child.stdout)
            to_child.write(request)
            to_child.flush()
            return pa.ipc.open_stream(from_child).read_all(), ""
        except (OSError, EOFError, pa.ArrowInvalid):
            code = _await_exit_code(child)
            self.close()
            if late.is_set():
                detail = f"killed, not done in {self.settings.video_deadline:g} s"
                raise VideoError(Stage.DECODE, Reason.DEADLINE, detail) from None
            return None, signal.Signals(-code).name if code < 0 else f"exit code {code}"
        finally:
            watchdog.cancel()

    def _start_child(self) -> subprocess.Popen[bytes]:
        """Return the child; start one where none runs."""
        if self.child is not None and self.child.poll() is not None:
            self.close()
        if self.child is None:
            path = os.pathsep.join(entry for entry in sys.path if entry)
            self.child = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pipesize=PIPE_BYTES,
                env=os.environ | {"PYTHONPATH": path},
            )
            cast(BinaryIO, self.child.stdin).write(self.settings.model_dump_json().encode() + b"\n")
        return self.child


def _await_exit_code(child: subprocess.Popen[bytes]) -> int:
    """Return the exit code of a child whose answer broke off. A child that has only written nonsense is killed."""
    try:
        return child.wait(timeout=2.0)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def answer_requests() -> None:
    """Answer requests until there are no more: the child's side."""
    _die_with_parent()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    settings = Preprocess.model_validate_json(sys.stdin.readline())
    _limit_memory(settings.decoder_memory_gib)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            row, exhausted = decode_row(request["uri"], request["count"], settings), False
        except VideoError as error:
            row, exhausted = error_row(error), error.reason == Reason.MEMORY
        with pa.ipc.new_stream(answers, DECODED) as stream:
            stream.write_table(row)
        answers.flush()
        if exhausted:
            return


def decode_row(uri: str, count: int, settings: Preprocess) -> pa.Table:
    """Return a video's row of `DECODED` with `count` frames, fewer where it breaks off: below `LEAST_SHARE` it is an error.

    Raises VideoError when the video cannot be read.
    """
    try:
        with open_source(uri) as source:
            video = decode_video(
                source,
                count,
                containers=settings.containers,
                comb=settings.comb,
                most=settings.most_frames,
                max_pixels=settings.max_pixels,
                max_packets=settings.max_packets,
                deadline=settings.video_deadline,
            )
            frames = frames_to_arrow(video.frames)
    except VideoError:
        raise
    except MemoryError:
        raise VideoError(Stage.DECODE, Reason.MEMORY, f"more than {settings.decoder_memory_gib:g} GiB") from None
    except Exception as error:  # what a decoder raises costs one video, not the job
        raise VideoError(Stage.DECODE, Reason.BROKEN_STREAM, f"{type(error).__name__}: {error}") from error
    facts = {name: getattr(video.stream, name) for name in ("width", "height", "fps", "frame_count", "codec")}
    facts |= {"frames_wanted": video.frames_wanted, "frames_decoded": len(video.frames)}
    # Of the combs that every label has, so that a video is not an error by its label.
    wanted = sum(video.wanted_by_comb[: settings.shared_combs])
    decoded = sum(frame.comb < settings.shared_combs for frame in video.frames)
    if decoded < LEAST_SHARE * wanted:
        short = VideoError(Stage.DECODE, Reason.CUT_SHORT, f"{decoded} of {wanted} frames")
        facts |= {"status": Status.ERROR, "error_stage": short.stage, "error": str(short)}
        return one_row(DECODED, facts, frames_to_arrow([]))
    return one_row(DECODED, {"status": Status.OK, **facts}, frames)


@contextmanager
def open_source(uri: str) -> Iterator[str | BinaryIO]:
    """Yield what the decoder reads: a local path, or an open file of object storage."""
    if "://" not in uri:
        yield uri
        return
    try:
        filesystem, path = open_location(uri)
        file = filesystem.open_input_file(path)
    except FileNotFoundError:
        raise VideoError(Stage.OPEN, Reason.MISSING) from None
    except (OSError, ConfigurationError) as error:
        raise VideoError(Stage.OPEN, Reason.UNREADABLE, str(error)) from None
    with file:
        yield cast(BinaryIO, RangeReader(file))


def _limit_memory(gib: float) -> None:
    """Let this process take `gib` more address space than it has now. Linux only; elsewhere there is no such limit."""
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + int(gib * 2**30),) * 2)


def _die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, even of SIGKILL. Linux only."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    answer_requests()
