"""detect: finding and cutting out the faces of decoded frames, as a Ray Data stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from ray.data import Dataset

from dfd_ray.config import Config
from dfd_ray.errors import Reason, Stage, Status
from dfd_ray.faces.crop import cut_face, encode_jpeg
from dfd_ray.runtime.progress import report_done, try_video
from dfd_ray.runtime.session import check_placeable, limit_exit, run_as_actors, run_as_tasks, torch_device
from dfd_ray.runtime.telemetry import observe
from dfd_ray.sections import Preprocess
from dfd_ray.stages.extract import extract
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.video import Frame
from dfd_ray.video.arrow import frames_from_arrow
from dfd_ray.video.process import ATTEMPTS

if TYPE_CHECKING:
    from dfd_ray.faces.detector import Faces


def find_faces_of(videos: Dataset, config: Config, counter: Any = None, pools: int = 1) -> Dataset:
    """Return rows of `faces/` for rows of the manifest; `pools` is how many actor pools the whole dataset has.

    With a GPU, CPU tasks decode and a few GPU actors detect. Without one, the same two functions run in one actor: the
    planes of a video, 40 MB on average, would else be copied through the object store, a sixth of the time.
    """
    resources = config.resources
    check_placeable("detect", resources.detect)
    device = torch_device(resources.detect)
    pool = run_as_actors(resources.detect, pools, deaths_of_a_task=ATTEMPTS * resources.videos_per_task)
    if device == "cpu":
        return videos.map_batches(
            ExtractAndDetect,
            fn_constructor_args=(config.preprocess, device, counter),
            batch_format="pyarrow",
            batch_size=resources.videos_per_task,
            **pool,
        )
    check_placeable("extract", resources.extract)
    extracted = videos.map_batches(
        extract,
        fn_kwargs={"settings": config.preprocess},
        batch_format="pyarrow",
        batch_size=resources.videos_per_task,
        **run_as_tasks(resources.extract),
    )
    return extracted.map_batches(
        Detect, fn_constructor_args=(config.preprocess, device, counter), batch_format="pyarrow", batch_size=1, **pool
    )


class Detect:
    """Find and cut out the faces; an actor that keeps the nets.

    In: `EXTRACTED`. Out: the schema of `faces/`, one row per row. Never raises for a video.
    """

    def __init__(self, settings: Preprocess, device: str, counter: Any = None) -> None:
        import torch

        from dfd_ray.faces.detector import FaceDetector

        limit_exit()
        torch.set_num_threads(1)  # one core an actor: many processes beat threads inside one
        self.settings = settings
        self.counter = counter
        self.detector = FaceDetector(device, settings.smallest_face)

    def __call__(self, videos: pa.Table) -> pa.Table:
        """Detect the faces of some videos."""
        rows = videos.drop_columns("frames").to_pylist()
        found = [
            self.detect_row(row, frames_from_arrow(value)) for row, value in zip(rows, videos.column("frames"), strict=True)
        ]
        report_done(self.counter, (row["status"] for row in found))
        observe("preprocess", found, sum(row["seconds_spent"] for row in found))
        return pa.Table.from_pylist(found, schema=SCHEMAS["faces"])

    def detect_row(self, video: dict[str, Any], frames: list[Frame]) -> dict[str, Any]:
        """Return a row of `faces/` for a row of `EXTRACTED` and its frames."""
        started = time.monotonic()
        try:
            with try_video(self.counter, video["video_id"], ATTEMPTS) as allowed:
                if not allowed:
                    detail = f"{Reason.CRASH}: the process that looked for its faces died, {ATTEMPTS} times"
                    return video | {"status": Status.ERROR, "error_stage": Stage.DETECT, "error": detail, "faces": []}
                video["faces"] = self.find_faces(frames)
        except Exception as error:  # one odd video must not end the job
            detail = f"{Reason.DETECTOR}: {type(error).__name__}: {error}"
            return video | {"status": Status.ERROR, "error_stage": Stage.DETECT, "error": detail, "faces": []}
        if video["status"] == Status.OK and not video["faces"]:
            video["status"] = Status.NO_FACE
        if frames:
            # What a player shows: a picture turned by a quarter swaps its sides.
            sides = (frames[0].width, frames[0].height)
            video["width"], video["height"] = sides[::-1] if frames[0].rotation % 180 else sides
        video["seconds_spent"] += time.monotonic() - started
        return video

    def find_faces(self, frames: list[Frame]) -> list[dict[str, Any]]:
        """Return the faces of a video's frames, in the order of the frames."""
        from dfd_ray.faces.following import find_faces

        rows: list[dict[str, Any]] = []
        for position, picture, found in find_faces(
            self.detector, [frame.to_rgb for frame in frames], self.settings.search_every
        ):
            rows += cut_faces(frames[position], picture, found, self.settings)
        return sorted(rows, key=lambda row: (row["frame_index"], row["face_index"]))


class ExtractAndDetect(Detect):
    """`extract` and `Detect`, one after the other.

    In: `video_id`, `uri`, `label`, `group`, `fold`. Out: the schema of `faces/`, one row per row, in blocks of one video.
    """

    def __call__(self, videos: pa.Table) -> Iterator[pa.Table]:
        """Decode some videos and detect their faces."""
        for extracted in extract(videos, self.settings):
            yield super().__call__(extracted)


def cut_faces(frame: Frame, picture: npt.NDArray[np.uint8], found: Faces, settings: Preprocess) -> list[dict[str, Any]]:
    """Return the rows of a frame's faces: those probable enough, the most probable first, up to the number wanted."""
    rows: list[dict[str, Any]] = []
    for box, landmarks, probability in zip(found.boxes, found.landmarks, found.probabilities, strict=True):
        if probability < settings.min_probability or len(rows) == settings.faces_per_frame:
            break
        image = cut_face(picture, box, settings.margin, settings.crop_size)
        if image is not None:
            rows.append(
                {
                    "frame_index": frame.index,
                    "time": frame.time,
                    "face_index": len(rows),
                    "box": box.tolist(),
                    "landmarks": landmarks.ravel().tolist(),
                    "probability": float(probability),
                    "image": encode_jpeg(image, settings.jpeg_quality),
                }
            )
    return rows
