"""embed: from the faces to their vectors.

faces ──read──▶ Embed (actors, GPU or CPU) ──▶ embeddings/
"""

from __future__ import annotations

import time
from typing import Any, cast

import pyarrow as pa

from dfd_ray.config import Config, Embed
from dfd_ray.faces.crop import decode_jpeg
from dfd_ray.models.backbones import create_backbone, embed_faces, feature_size
from dfd_ray.pipelines.cluster import actors, check_placeable, ray_session, torch_device
from dfd_ray.pipelines.progress import progress_bar, report_done
from dfd_ray.pipelines.resume import check_whole, is_complete, read_rows, require, resumable, write_rows
from dfd_ray.pipelines.summary import Summary, elapsed
from dfd_ray.storage import absolute_uri, join
from dfd_ray.tables import count_faces, count_rows, embeddings_schema, flatten_faces, nest_faces, with_metadata

VIDEOS_AT_ONCE = 16
"""Videos whose faces are put together, so that the network's batches are full although most videos have eight faces."""


def embed(config: Config) -> Summary:
    """Write `embeddings/`: one row per video, a vector for every face."""
    started = time.monotonic()
    run = cast(str, config.run)
    if is_complete(run, "embeddings", config):
        return summarise(config, started, note="already complete; nothing done")
    require(run, "faces", config)
    # Weights that cannot be had are found out here, before anything is started or written.
    dimensions = feature_size(
        create_backbone(config.embed.backbone, weights=config.embed.weights, image_size=config.embed.image_size)[0]
    )
    schema = with_metadata(embeddings_schema(dimensions), "embeddings", config, dimensions=dimensions)
    with ray_session(config), resumable(run, "embeddings"), progress_bar("embed", run, "embeddings") as counter:
        check_placeable("embed", config.resources.embed)
        videos = read_rows(run, "faces", ["video_id", "status", "faces"], VIDEOS_AT_ONCE)
        videos = videos.map_batches(
            EmbedFaces,
            fn_constructor_args=(config.embed, torch_device(config.resources.embed), counter),
            batch_format="pyarrow",
            batch_size=VIDEOS_AT_ONCE,
            **actors(config.resources.embed),
        )
        write_rows(videos, run, "embeddings", schema, config.resources.videos_per_file)
        check_whole(run, "embeddings")
    return summarise(config, started)


class EmbedFaces:
    """Turn the faces of a batch of videos into vectors; an actor that keeps the network.

    In: `video_id`, `status`, `faces` with `image`. Out: the schema of `embeddings/`, one row per row.
    """

    def __init__(self, settings: Embed, device: str, counter: Any = None) -> None:
        import torch

        torch.set_num_threads(1)
        module, self.spec = create_backbone(settings.backbone, weights=settings.weights, image_size=settings.image_size)
        self.module = module.to(device)
        self.settings = settings
        self.counter = counter
        self.schema = embeddings_schema(feature_size(module))

    def __call__(self, videos: pa.Table) -> pa.Table:
        """Embed the faces of some videos."""
        faces = flatten_faces(videos, ["video_id"])
        vectors = embed_faces(
            self.module,
            self.spec,
            [decode_jpeg(image) for image in faces.column("image").to_pylist()],
            batch_size=self.settings.batch_size,
            precision=self.settings.precision,
        )
        face_type = self.schema.field("faces").type.value_type
        flat = pa.FixedSizeListArray.from_arrays(
            pa.array(vectors.astype("float16").ravel()), face_type["vector"].type.list_size
        )
        columns = [faces.column(name).combine_chunks() for name in ("frame_index", "face_index")]
        report_done(self.counter, videos.column("status").to_pylist())
        return nest_faces(
            videos.drop_columns("status"), pa.StructArray.from_arrays([*columns, flat], fields=list(face_type))
        ).cast(self.schema)


def summarise(config: Config, started: float, note: str = "") -> Summary:
    """Count what the table holds."""
    run = cast(str, config.run)
    rows = count_rows(run, "embeddings")
    seconds = elapsed(started)
    faces = count_faces(run, "embeddings")
    return Summary(
        job="embed",
        table=absolute_uri(join(run, "embeddings")),
        rows=rows,
        ok=rows,
        seconds=seconds,
        notes=[note] if note else [],
        details={"backbone": config.embed.backbone, "faces": faces, "faces_per_second": round(faces / seconds, 1)},
    )
