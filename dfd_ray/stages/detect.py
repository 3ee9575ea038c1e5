"""detect: finding and cutting out the faces of decoded frames, as a Ray Data stage."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from ray.actor import ActorHandle
from ray.data import Dataset

from dfd_ray.arrays import Image
from dfd_ray.config import Config
from dfd_ray.errors import Reason, Stage, Status, VideoError
from dfd_ray.faces.crop import cut_face, encode_jpeg
from dfd_ray.runtime.progress import report_done, try_video
from dfd_ray.runtime.session import check_placeable, limit_exit, pick_device, run_as_actors, run_as_tasks
from dfd_ray.runtime.telemetry import observe
from dfd_ray.sections import Preprocess
from dfd_ray.stages.extract import extract
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.video import Frame
from dfd_ray.video.arrow import frames_from_arrow
from dfd_ray.video.decoder_process import ATTEMPTS

if TYPE_CHECKING:
    from dfd_ray.faces.detector import Faces


def find_faces_of(videos: Dataset, config: Config, counter: ActorHandle | None = None, pools: int = 1) -> Dataset:
    """Return rows of `faces/` for rows of the manifest; `pools` is the number of actor pools of the whole dataset.

    With a GPU, CPU tasks decode and a few GPU actors detect. Without one, the same two functions run in one actor: to copy
    a video's planes, 40 MB on average, through the object store would take a sixth of the time.
    """
    resources = config.resources
    check_placeable("detect", resources.detect)
    device = pick_device(resources.detect)
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

    In: `EXTRACTED`. Out: the schema of `faces/`, one row for each row. Never raises for a video.
    """

    def __init__(self, settings: Preprocess, device: str, counter: ActorHandle | None = None) -> None:
        import torch

        from dfd_ray.faces.detector import FaceDetector

        limit_exit()
        torch.set_num_threads(1)  # one core for each actor: many processes are faster than threads in one
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

    def detect_row(self, video: dict[str, Any], frames: Sequence[Frame]) -> dict[str, Any]:
        """Return the row of `faces/` for a row of `EXTRACTED` and its frames."""
        started = time.monotonic()
        try:
            with try_video(self.counter, video["video_id"], ATTEMPTS) as allowed:
                if not allowed:
                    detail = f"the process that looked for its faces died, {ATTEMPTS} times"
                    raise VideoError(Stage.DETECT, Reason.CRASH, detail)
                faces = self.collect_faces(frames)
        except Exception as error:  # one odd video must not end the job
            if not isinstance(error, VideoError):
                error = VideoError(Stage.DETECT, Reason.DETECTOR, f"{type(error).__name__}: {error}")
            failed = {"status": Status.ERROR, "error_stage": error.stage, "error": str(error)}
            return video | failed | {"sampled": list_sampled(frames), "faces": []}
        if frames:
            # What a player shows: a picture turned by a quarter swaps its sides.
            sides = (frames[0].width, frames[0].height)
            video["width"], video["height"] = sides[::-1] if frames[0].rotation % 180 else sides
        spent = video["seconds_spent"] + time.monotonic() - started
        found = {"status": decide_status(video["status"], faces), "sampled": list_sampled(frames), "faces": faces}
        return video | found | {"seconds_spent": spent}

    def collect_faces(self, frames: Sequence[Frame]) -> list[dict[str, Any]]:
        """Return the faces of a video's frames, in the order of the frames.

        Each comb is looked at by itself. So what is found in a frame does not depend on how many combs are taken, and thus
        not on the label.
        """
        from dfd_ray.faces.following import find_faces

        rows: list[dict[str, Any]] = []
        for comb in split_combs(frames):
            pictures = [frame.to_rgb for frame in comb]
            for position, picture, found in find_faces(self.detector, pictures, self.settings.search_every):
                rows += cut_faces(comb[position], picture, found, self.settings)
        return sorted(rows, key=lambda row: (row["frame_index"], row["face_index"]))


class ExtractAndDetect(Detect):
    """`extract` and `Detect`, one after the other.

    In: `LISTED` columns of the manifest. Out: the schema of `faces/`, one row for each row, in blocks of one video.
    """

    def __call__(self, videos: pa.Table) -> Iterator[pa.Table]:
        """Decode some videos and detect their faces."""
        for extracted in extract(videos, self.settings):
            yield super().__call__(extracted)


def split_combs(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Return the frames of each comb in the order of time, the comb that is taken first in front; one may be empty."""
    combs = range(max((frame.comb for frame in frames), default=-1) + 1)
    return [sorted((frame for frame in frames if frame.comb == comb), key=lambda frame: frame.index) for comb in combs]


def list_sampled(frames: Sequence[Frame]) -> list[list[int]]:
    """Return the `frame_index` of the frames of each comb, as `faces/` keeps them."""
    return [[frame.index for frame in comb] for comb in split_combs(frames)]


def decide_status(decoded: str, faces: Sequence[object]) -> str:
    """Return the status of a video that the detector has looked at: a video without any face is `no_face`."""
    return Status.NO_FACE if decoded == Status.OK and not faces else decoded


def cut_faces(frame: Frame, picture: Image, found: Faces, settings: Preprocess) -> list[dict[str, Any]]:
    """Return the faces of a frame that are probable enough, the most probable first, up to the number wanted."""
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
