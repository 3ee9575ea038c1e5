"""embed: from the faces to their vectors.

faces ──read──▶ Embed (actors, GPU or CPU) ──▶ embeddings/
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa
import ray

from dfd_ray.config import Config
from dfd_ray.errors import WeightsError
from dfd_ray.faces.crop import decode_jpeg
from dfd_ray.models.backbones import create_backbone, feature_size
from dfd_ray.models.embedder import Embedder, Precision, choose_precision
from dfd_ray.runtime.progress import progress_bar, report_done
from dfd_ray.runtime.resumable_table import check_whole, is_complete, read_rows, require, resumable, write_rows
from dfd_ray.runtime.session import ATTEMPTS, actors, check_placeable, limit_exit, ray_session, torch_device, waiting
from dfd_ray.runtime.telemetry import observe
from dfd_ray.sections import Embed, Pool
from dfd_ray.store.schemas import embeddings_schema
from dfd_ray.store.storage import absolute_uri, join
from dfd_ray.store.summary import NOTHING_DONE, Summary, elapsed
from dfd_ray.store.tables import (
    count_faces,
    count_rows,
    flatten_faces,
    iterate_batches,
    nest_faces,
    read_metadata,
    with_metadata,
)

VIDEOS_AT_ONCE = 16
"""Videos whose faces are put together, so that the network's batches are full although most videos have eight faces."""
BATCHES_AHEAD = 4
"""Batches a thread that decodes may be ahead of the network; bounds the memory, and is more than enough to feed it."""

FACES_MEASURED = 16
"""Faces by which the precision is chosen."""

T = TypeVar("T")
U = TypeVar("U")


def embed(config: Config) -> Summary:
    """Write `embeddings/`: one row per video, a vector for every face."""
    started = time.monotonic()
    run = cast(str, config.run)
    if is_complete(run, "embeddings", config):
        return summarise(config, started, note=NOTHING_DONE)
    require(run, "faces", config)
    before = count_vectors(run)
    # Weights that cannot be had are found out here, before anything is started or written.
    dimensions = feature_size(
        create_backbone(config.embed.backbone, weights=config.embed.weights, image_size=config.embed.image_size)[0]
    )
    pool = config.resources.embed
    with ray_session(config), resumable(run, "embeddings"), progress_bar("embed", run, "embeddings") as counter:
        check_placeable("embed", pool)
        facts = arithmetic(config)
        schema = with_metadata(embeddings_schema(dimensions), "embeddings", config, dimensions=dimensions, **facts)
        videos = read_rows(run, "faces", ["video_id", "status", "faces"], VIDEOS_AT_ONCE)
        videos = videos.map_batches(
            EmbedFaces,
            fn_constructor_args=(config.embed, facts["precision"], pool, counter),
            batch_format="pyarrow",
            batch_size=VIDEOS_AT_ONCE,
            **actors(pool),
        )
        write_rows(videos, run, "embeddings", schema, config.resources.videos_per_file)
        check_whole(run, "embeddings")
    return summarise(config, started, before)


def arithmetic(config: Config) -> dict[str, Any]:
    """Return the `precision` of the whole table, and under `cosine_to_fp32` what was measured to choose it.

    It is what is set, or what the rows that are there have, or what suits the actors' machine: chosen once, because on a
    cluster of several kinds of machines the actors would choose differently.
    """
    if config.embed.precision != "auto":
        return {"precision": config.embed.precision}
    stored = read_metadata(cast(str, config.run), "embeddings")
    if not stored:
        pool = config.resources.embed
        ask = ray.remote(measure).options(num_cpus=pool.num_cpus, num_gpus=pool.num_gpus, max_retries=ATTEMPTS)
        stored = ray.get(ask.remote(cast(str, config.run), config.embed, torch_device(pool)), timeout=waiting())
    return {key: stored[key] for key in ("precision", "cosine_to_fp32")}


def measure(run: str, settings: Embed, device: str) -> dict[str, Any]:
    """Choose the precision by the first faces of the table, one of a video."""
    images: list[bytes] = []
    for batch in iterate_batches(run, "faces", ["faces"]):
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
        self.embedder = Embedder(module, spec, device=torch_device(pool), precision=precision, batch_size=settings.batch_size)
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


def count_vectors(run: str) -> tuple[int, int]:
    """Return the rows of the table, and their faces."""
    rows = count_rows(run, "embeddings")
    return rows, count_faces(run, "embeddings") if rows else 0


def summarise(config: Config, started: float, before: tuple[int, int] = (0, 0), note: str = "") -> Summary:
    """Count what the table holds; `before` is what it held when the job began."""
    run = cast(str, config.run)
    rows, faces = count_vectors(run)
    seconds = elapsed(started)
    facts = read_metadata(run, "embeddings")
    cosine = facts.get("cosine_to_fp32")
    return Summary(
        job="embed",
        table=absolute_uri(join(run, "embeddings")),
        rows=rows,
        there_before=before[0],
        ok=rows,
        seconds=seconds,
        notes=[note] if note else [],
        details={
            "backbone": config.embed.backbone,
            "precision": facts["precision"],
            "bf16_cosine_to_fp32": cosine if cosine is None else round(cosine, 5),
            "device": torch_device(config.resources.embed),
            "faces": faces,
            **({} if note else {"faces_per_second": round((faces - before[1]) / seconds, 1)}),
        },
    )
