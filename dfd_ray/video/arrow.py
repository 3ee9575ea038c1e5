"""Decoded frames as Arrow, on their way from `extract` to `detect`: no copy but the one that lays them one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

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
        ("colorspace", pa.int32()),
        ("color_range", pa.int32()),
    ]
)
"""A `Frame`."""

IDENTITY = ("video_id", "label", "group", "fold")
"""Columns a video has before it is opened."""

EXTRACTED = pa.schema([field for field in SCHEMAS["faces"] if field.name != "faces"]).append(
    pa.field("frames", pa.list_(PLANES))
)
"""What `extract` hands to `detect`: a row a video, about 3 MB a frame of 1080p."""

DECODED = pa.schema([field for field in EXTRACTED if field.name not in (*IDENTITY, "seconds_spent")])
"""What the decoder knows of a video."""


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
    """Return the frames that `frames_to_arrow` was given; their planes are views of Arrow's memory."""
    if value.values is None:
        return []
    facts = pa.Table.from_struct_array(value.values).drop_columns("planes").to_pylist()
    buffers = (plane.as_buffer() for plane in value.values.field("planes"))
    return [Frame(planes=np.frombuffer(buffer, np.uint8), **row) for buffer, row in zip(buffers, facts, strict=True)]
