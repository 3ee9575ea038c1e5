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
from dfd_ray.video.arrow import EXTRACTED, IDENTITY, error_row, one_row
from dfd_ray.video.decoder_process import DecoderProcess

LISTED = ["video_id", "uri", "label", "group", "fold"]
"""Columns of the manifest that decoding takes."""

_decoder: DecoderProcess | None = None


def extract(videos: pa.Table, settings: Preprocess) -> Iterator[pa.Table]:
    """Decode the sampled frames of each video; one row in, one row out, in blocks of one video.

    In: `LISTED` columns of the manifest. Out: `EXTRACTED`. Never raises for a video: the decoder runs in a process of its own,
    which this worker keeps from task to task.
    """
    decoder = _keep_decoder(settings)
    for video in videos.to_pylist():
        started = time.monotonic()
        try:
            _refuse_outside(video, settings)
            decoded = decoder.decode(video["uri"], frames_wanted(video["label"], settings))
        except VideoError as error:
            decoded = error_row(error)
        identity = {name: value for name, value in video.items() if name in IDENTITY}
        [facts] = decoded.drop_columns("frames").to_pylist()
        spent = {"seconds_spent": time.monotonic() - started}
        yield one_row(EXTRACTED, identity | facts | spent, decoded.column("frames"))


def frames_wanted(label: str | None, settings: Preprocess) -> int:
    """Return the number of frames to sample: more of a REAL video, because there are fewer of them."""
    return {"REAL": settings.frames_real, "FAKE": settings.frames_fake}.get(label or "", settings.frames_unlabelled)


def _keep_decoder(settings: Preprocess) -> DecoderProcess:
    """Return this worker's decoder; replace one that has other settings."""
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
    if video["fold"] == TRAIN_ONLY:  # a video of index.extra_real, whose folder's name begins the id
        corpus += video_id.split("/")[0]
    if os.path.commonpath([os.path.realpath(corpus), os.path.realpath(uri)]) != os.path.realpath(corpus):
        detail = f"it links to {os.path.realpath(uri)}; --set preprocess.follow_links=true allows that"
        raise VideoError(Stage.OPEN, Reason.OUTSIDE, detail)
