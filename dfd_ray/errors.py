"""What can go wrong, in closed sets.

Bad *input* is data: it becomes a row whose `status`, `error_stage` and `error` say what happened. Everything else is one of
these exceptions. Each is a single line that a person can act on; the command line prints it and exits with 2:

    DfdError
    ├── ConfigurationError   a field, a flag or a combination of them that cannot work
    ├── CorpusError          the corpus folder or its metadata is not what it should be
    ├── RunError             the run folder: made with another configuration, incomplete, or in use
    ├── WeightsError         weights or a checkpoint that cannot be found, fetched or trusted
    ├── TrainingError        training that cannot start or must stop (one class only, a loss that is not a number)
    └── ResourceError        what the machine or the cluster lacks (CPUs, a GPU, disk)

One more never leaves the worker that raised it, because it becomes a row:

    VideoError               a video that cannot be read; carries the stage and the reason
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """How a video ended; the `status` column of `faces/`, `scores/` and `predictions/`."""

    OK = "ok"
    """At least one face was found (and scored, in `predictions/`)."""
    NO_FACE = "no_face"
    """The video was read from end to end, and no face was found."""
    ERROR = "error"
    """The video could not be read; `error_stage` and `error` say why."""
    IN_TRAINING = "in_training"
    """`predictions/` only: every trained model has seen this video, so no honest score exists."""


class Stage(StrEnum):
    """Where a video failed; the `error_stage` column."""

    OPEN = "open"
    """The file is missing, empty, unreadable, or not a video container."""
    DECODE = "decode"
    """The container opened, but no frame or not enough of the stream could be decoded."""
    DETECT = "detect"
    """The frames were decoded, but the face detector failed on them."""


RESUMES = "once that is mended, the same command resumes where it stopped"
"""How an error ends that the user can mend without losing what is done."""


class DfdError(Exception):
    """Base of every error that the user reads as one line."""


class ConfigurationError(DfdError):
    """A field, a flag or a combination of them that cannot work."""


class CorpusError(DfdError):
    """The corpus folder or its metadata is not what it should be."""


class RunError(DfdError):
    """The run folder was made with another configuration, is incomplete, or is in use."""


class WeightsError(DfdError):
    """Weights or a checkpoint cannot be found, fetched or trusted."""


class TrainingError(DfdError):
    """Training cannot start, or must stop."""


class ResourceError(DfdError):
    """The machine or the cluster lacks what was asked for."""


class VideoError(Exception):
    """A video that cannot be read. It becomes a row with `status` = `error`, never the end of a job.

    `reason` is a word from a closed set for counting (`error` column: "reason: detail"); `detail` is what the decoder or
    the file system said.
    """

    def __init__(self, stage: Stage, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.stage = stage
        self.reason = reason


class Reason(StrEnum):
    """Why a video failed; the first word of the `error` column."""

    MISSING = "missing"
    """The file is not there."""
    EMPTY = "empty"
    """The file has no bytes."""
    UNREADABLE = "unreadable"
    """The file system refuses to open or read it."""
    NOT_A_VIDEO = "not_a_video"
    """The content is not a container that the configuration allows."""
    NO_VIDEO_STREAM = "no_video_stream"
    """The container has no video stream, or none but a cover picture."""
    NO_FRAMES = "no_frames"
    """The video stream gave no frame."""
    BROKEN_STREAM = "broken_stream"
    """The decoder gave up; the detail is its own message."""
    CUT_SHORT = "cut_short"
    """The video breaks off: less than a third of the frames that would be judged could be decoded; the detail says how many."""
    TOO_LARGE = "too_large"
    """The video has more pixels or packets than the configuration allows."""
    DEADLINE = "deadline"
    """The video took longer than `preprocess.video_deadline`."""
    MEMORY = "memory"
    """Decoding took more than `preprocess.decoder_memory_gib`."""
    CRASH = "crash"
    """The process that decoded the video or looked for its faces died, twice; the detail says how."""
    OUTSIDE = "outside"
    """The file is a symbolic link that leads out of the corpus, and `preprocess.follow_links` is off."""
    DETECTOR = "detector"
    """The face detector raised an exception."""


def reason_of(error: str) -> str:
    """Return the reason in a row's `error`: the word before its colon."""
    return error.partition(":")[0]
