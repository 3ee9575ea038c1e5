"""embed: faces to vectors, as a Ray Data stage."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Required, TypedDict, TypeVar, cast

import numpy as np
import pyarrow as pa
import ray
from ray.actor import ActorHandle
from ray.data import Dataset

from dfd_ray.errors import WeightsError
from dfd_ray.faces.crop import decode_jpeg
from dfd_ray.models.backbones import create_backbone
from dfd_ray.models.embedder import Embedder, Precision, choose_precision
from dfd_ray.runtime.progress import report_done
from dfd_ray.runtime.session import ATTEMPTS, check_placeable, limit_exit, pick_device, read_wait_limit, run_as_actors
from dfd_ray.runtime.telemetry import observe
from dfd_ray.sections import Embed, Pool
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import embeddings_schema
from dfd_ray.store.tables import flatten_faces, iterate_batches, nest_faces, read_metadata

if TYPE_CHECKING:
    import torch

BATCHES_AHEAD = 4
"""Batches that the decoding threads may be ahead of the network. It bounds the memory, and feeds the network."""

FACES_MEASURED = 16
"""Faces on which the precision is measured."""

VIDEOS_AT_ONCE = 16
"""Videos whose faces are put together, so that the network's batches are full although most videos have eight faces."""

T = TypeVar("T")
U = TypeVar("U")


class Arithmetic(TypedDict, total=False):
    """How the vectors of a table are computed, as its metadata hold it."""

    precision: Required[Precision]
    cosine_to_fp32: float | None
    """What was measured to choose the precision, where it was."""


def embed_faces_of(videos: Dataset, run: Run, precision: Precision, counter: ActorHandle) -> Dataset:
    """Return rows of `embeddings/` for rows of `faces/` with `video_id`, `status` and `faces`."""
    pool = run.config.resources.embed
    return videos.map_batches(
        EmbedFaces,
        fn_constructor_args=(run.config.embed, precision, pool, counter),
        batch_format="pyarrow",
        batch_size=VIDEOS_AT_ONCE,
        **run_as_actors(pool),
    )


def settle_precision(run: Run) -> Arithmetic:
    """Return the arithmetic of the whole table: what is set, or what its rows have, or what suits the actors' machine.

    It is chosen once, because on a cluster of several kinds of machines the actors would choose differently.
    """
    pool = run.config.resources.embed
    check_placeable("embed", pool)
    if run.config.embed.precision != "auto":
        return {"precision": run.config.embed.precision}
    stored = read_metadata(run.location, "embeddings")
    if stored:
        return {"precision": stored["precision"], "cosine_to_fp32": stored["cosine_to_fp32"]}
    ask = ray.remote(measure_precision).options(num_cpus=pool.num_cpus, num_gpus=pool.num_gpus, max_retries=ATTEMPTS)
    return cast(Arithmetic, ray.get(ask.remote(run), timeout=read_wait_limit()))


def measure_precision(run: Run) -> Arithmetic:
    """Choose the precision by the first faces of the table, one of each video."""
    settings, images = run.config.embed, list[bytes]()
    for batch in iterate_batches(run.location, "faces", ["faces"]):
        images += [faces[0]["image"] for faces in batch.column("faces").to_pylist() if faces]
        if len(images) >= FACES_MEASURED:
            break
    module, spec = create_backbone(settings.backbone, weights=settings.weights, image_size=settings.image_size)
    faces = [decode_jpeg(image) for image in images[:FACES_MEASURED]]
    precision, cosine = choose_precision(module, spec, faces, device=pick_device(run.config.resources.embed))
    return {"precision": precision, "cosine_to_fp32": cosine}


class EmbedFaces:
    """Turn the faces of a batch of videos into vectors; an actor that keeps the network.

    In: `video_id`, `status`, `faces` with `image`. Out: the schema of `embeddings/`, one row per row. The network on a CPU
    and the decoding have a thread for each of the actor's CPUs.
    """

    def __init__(self, settings: Embed, precision: Precision, pool: Pool, counter: ActorHandle | None = None) -> None:
        import torch

        limit_exit()
        threads = max(1, int(pool.num_cpus))
        torch.set_num_threads(threads)
        module, spec = create_backbone(settings.backbone, weights=settings.weights, image_size=settings.image_size)
        self.embedder = Embedder(module, spec, device=pick_device(pool), precision=precision, batch_size=settings.batch_size)
        self.decoders = ThreadPoolExecutor(threads)
        self.backbone = settings.backbone
        self.counter = counter
        self.schema = embeddings_schema(self.embedder.dimensions)

    def __call__(self, videos: pa.Table) -> pa.Table:
        """Embed the faces of some videos; WeightsError if a vector has NaN, or a number that float16 cannot hold."""
        started = time.monotonic()
        faces = flatten_faces(videos, ["video_id"])
        images, size = faces.column("image").to_pylist(), self.embedder.batch_size
        batches = [images[start : start + size] for start in range(0, len(images), size)]
        with np.errstate(over="ignore"):  # an overflow becomes infinity, which the next lines look for
            vectors = self.embedder.run(run_ahead(self.decoders, self.decode, batches)).astype(np.float16)
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(broken):
            video = faces.column("video_id")[broken[0]]
            raise WeightsError(f"{self.backbone} makes NaN or infinity of a face of {video}; its weights are unusable")
        face_type = self.schema.field("faces").type.value_type
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), face_type["vector"].type.list_size)
        columns = [faces.column(name).combine_chunks() for name in ("frame_index", "face_index")]
        report_done(self.counter, videos.column("status").to_pylist())
        observe("embed", videos.select(["video_id", "status"]).to_pylist(), time.monotonic() - started)
        return nest_faces(
            videos.drop_columns("status"), pa.StructArray.from_arrays([*columns, flat], fields=list(face_type))
        ).cast(self.schema)

    def decode(self, images: list[bytes]) -> torch.Tensor:
        """Return JPEGs as a batch for the network."""
        return self.embedder.prepare([decode_jpeg(image) for image in images])


def run_ahead(threads: ThreadPoolExecutor, function: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """Yield `function` of every item, in order; threads compute it up to `BATCHES_AHEAD` items before it is asked for."""
    waiting: deque[Future[U]] = deque()
    for item in items:
        waiting.append(threads.submit(function, item))
        if len(waiting) > BATCHES_AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
