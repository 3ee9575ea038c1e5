"""extract: decoding, as a Ray Data stage of its own, so that its many workers load no network library."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dfd_ray.errors import Reason, Stage, VideoError
from dfd_ray.labels import TRAIN_ONLY
from dfd_ray.sections import Preprocess
from dfd_ray.video.arrow import EXTRACTED, IDENTITY
from dfd_ray.video.process import DecoderProcess, error_row

_decoder: DecoderProcess | None = None


def extract(videos: pa.Table, settings: Preprocess) -> Iterator[pa.Table]:
    """Decode the sampled frames of each video; one row in, one row out, in blocks of one video.

    In: `video_id`, `uri`, `label`, `group`, `fold`. Out: `EXTRACTED`. Never raises for a video: the decoder runs in a
    process of its own, which this worker keeps from task to task.
    """
    decoder = _kept_decoder(settings)
    for video in videos.to_pylist():
        started = time.monotonic()
        try:
            _refuse_outside(video, settings)
            row = decoder.decode(video["uri"], frames_wanted(video["label"], settings))
        except VideoError as error:
            row = error_row(error)
        for name in IDENTITY:
            row = row.append_column(EXTRACTED.field(name), pa.array([video[name]], EXTRACTED.field(name).type))
        spent = pa.array([time.monotonic() - started], EXTRACTED.field("seconds_spent").type)
        yield row.append_column(EXTRACTED.field("seconds_spent"), spent).select(EXTRACTED.names)


def frames_wanted(label: str | None, settings: Preprocess) -> int:
    """Return how many frames to sample: REAL videos give more, to balance that there are fewer of them."""
    return {"REAL": settings.frames_real, "FAKE": settings.frames_fake}.get(label or "", settings.frames_unlabelled)


def _kept_decoder(settings: Preprocess) -> DecoderProcess:
    global _decoder
    if _decoder is None or _decoder.settings != settings:
        if _decoder is not None:
            _decoder.close()
        _decoder = DecoderProcess(settings)
    return _decoder


def _refuse_outside(video: dict[str, Any], settings: Preprocess) -> None:
    """Raise VideoError when a local file is a symbolic link that leads out of the corpus, unless that is allowed."""
    uri, video_id = video["uri"], video["video_id"]
    if settings.follow_links or "://" in uri:
        return
    corpus = uri.removesuffix(video_id)
    if video["fold"] == TRAIN_ONLY:  # of index.extra_real, whose name is the first of the id's
        corpus += video_id.split("/")[0]
    if os.path.commonpath([os.path.realpath(corpus), os.path.realpath(uri)]) != os.path.realpath(corpus):
        detail = f"it links to {os.path.realpath(uri)}; --set preprocess.follow_links=true allows that"
        raise VideoError(Stage.OPEN, Reason.OUTSIDE, detail)
