"""embed: faces to vectors, as a Ray Data stage."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from dfd_ray.errors import WeightsError
from dfd_ray.faces.crop import decode_jpeg
from dfd_ray.models.backbones import create_backbone
from dfd_ray.models.embedder import Embedder, Precision, choose_precision
from dfd_ray.runtime.progress import report_done
from dfd_ray.runtime.session import limit_exit, pick_device
from dfd_ray.runtime.telemetry import observe
from dfd_ray.sections import Embed, Pool
from dfd_ray.store.run import Run
from dfd_ray.store.schemas import embeddings_schema
from dfd_ray.store.tables import flatten_faces, iterate_batches, nest_faces

BATCHES_AHEAD = 4
"""Batches a thread that decodes may be ahead of the network; bounds the memory, and is more than enough to feed it."""

FACES_MEASURED = 16
"""Faces by which the precision is chosen."""

T = TypeVar("T")
U = TypeVar("U")


def measure(run: Run, device: str) -> dict[str, Any]:
    """Choose the precision by the first faces of the table, one of a video."""
    settings, images = run.config.embed, list[bytes]()
    for batch in iterate_batches(run.location, "faces", ["faces"]):
        images += [faces[0]["image"] for faces in batch.column("faces").to_pylist() if faces]
        if len(images) >= FACES_MEASURED:
            break
    module, spec = create_backbone(settings.backbone, weights=settings.weights, image_size=settings.image_size)
    faces = [decode_jpeg(image) for image in images[:FACES_MEASURED]]
    precision, cosine = choose_precision(module, spec, faces, device=device)
    return {"precision": precision, "cosine_to_fp32": cosine}


class EmbedFaces:
    """Turn the faces of a batch of videos into vectors; an actor that keeps the network.

    In: `video_id`, `status`, `faces` with `image`. Out: the schema of `embeddings/`, one row per row. Its threads, those
    of the network on a CPU and those that decode, are as many as its CPUs.
    """

    def __init__(self, settings: Embed, precision: Precision, pool: Pool, counter: Any = None) -> None:
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
        """Embed the faces of some videos. Raises WeightsError if a vector has NaN, or a number that float16 cannot hold."""
        started = time.monotonic()
        faces = flatten_faces(videos, ["video_id"])
        images, size = faces.column("image").to_pylist(), self.embedder.batch_size
        batches = [images[start : start + size] for start in range(0, len(images), size)]
        with np.errstate(over="ignore"):  # becomes infinity, which is looked for
            vectors = self.embedder.run(ahead(self.decoders, self.decode, batches)).astype(np.float16)
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(broken):
            video = faces.column("video_id")[broken[0]]
            raise WeightsError(f"{self.backbone} makes NaN or infinity of a face of {video}; its weights are no good")
        face_type = self.schema.field("faces").type.value_type
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), face_type["vector"].type.list_size)
        columns = [faces.column(name).combine_chunks() for name in ("frame_index", "face_index")]
        report_done(self.counter, videos.column("status").to_pylist())
        observe("embed", videos.select(["video_id", "status"]).to_pylist(), time.monotonic() - started)
        return nest_faces(
            videos.drop_columns("status"), pa.StructArray.from_arrays([*columns, flat], fields=list(face_type))
        ).cast(self.schema)

    def decode(self, images: list[bytes]) -> Any:
        """Return JPEGs as a batch for the network."""
        return self.embedder.prepare([decode_jpeg(image) for image in images])


def ahead(threads: ThreadPoolExecutor, function: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """Yield `function` of every item, in order, computed in threads a few items ahead of the one who asks."""
    waiting: deque[Future[U]] = deque()
    for item in items:
        waiting.append(threads.submit(function, item))
        if len(waiting) > BATCHES_AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
