"""Decoded frames as Arrow, on their way from `extract` to `detect`. Laying them one after the other is the only copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from dfd_ray.errors import Status, VideoError
from dfd_ray.store.schemas import SCHEMAS
from dfd_ray.video import Frame

PLANES = pa.struct(
    [
        ("index", pa.int64()),
        ("time", pa.float64()),
        ("planes", pa.large_binary()),
        ("pixel_format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("rotation", pa.int32()),
        ("mirrored", pa.bool_()),
        ("colorspace", pa.int32()),
        ("color_range", pa.int32()),
        ("comb", pa.int32()),
    ]
)
"""A `Frame`."""
IDENTITY = ("video_id", "label", "group", "fold")
"""Columns of a video that are known before it is opened."""
EXTRACTED = pa.schema([field for field in SCHEMAS["faces"] if field.name not in ("sampled", "faces")]).append(
    pa.field("frames", pa.list_(PLANES))
)
"""What `extract` hands to `detect`: a row for each video, about 3 MB for each frame of 1080p."""
DECODED = pa.schema([field for field in EXTRACTED if field.name not in (*IDENTITY, "seconds_spent")])
"""What the decoder finds out about a video."""


def one_row(schema: pa.Schema, facts: Mapping[str, object], frames: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return one row of `DECODED` or `EXTRACTED` from its `frames` and the other columns; a missing one is null."""
    columns = [frames if field.name == "frames" else pa.array([facts.get(field.name)], field.type) for field in schema]
    return pa.table(columns, schema=schema)


def error_row(error: VideoError) -> pa.Table:
    """Return the row of `DECODED` that says why a video could not be read."""
    facts = {"status": Status.ERROR, "error_stage": error.stage, "error": str(error)}
    return one_row(DECODED, facts, frames_to_arrow([]))


def frames_to_arrow(frames: Sequence[Frame]) -> pa.Array:
    """Return the frames of one video as one value of `list<PLANES>`."""
    sizes = [len(frame.planes) for frame in frames]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    data = np.concatenate([frame.planes for frame in frames]) if frames else np.empty(0, np.uint8)
    planes = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(frames), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    columns = [
        planes if field.name == "planes" else pa.array([getattr(frame, field.name) for frame in frames], field.type)
        for field in PLANES
    ]
    values = pa.StructArray.from_arrays(columns, fields=list(PLANES))
    return pa.ListArray.from_arrays(pa.array([0, len(frames)], pa.int32()), values)


def frames_from_arrow(value: pa.ListScalar) -> list[Frame]:
    """Return the frames that `frames_to_arrow` was given. Their planes are views of Arrow's memory."""
    if value.values is None:
        return []
    facts = pa.Table.from_struct_array(value.values).drop_columns("planes").to_pylist()
    buffers = (plane.as_buffer() for plane in value.values.field("planes"))
    return [Frame(planes=np.frombuffer(buffer, np.uint8), **row) for buffer, row in zip(buffers, facts, strict=True)]
