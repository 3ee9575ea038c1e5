"""Faces to train on, one row each, from the nested rows of `faces/`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfd_ray.arrays import Float32Array
from dfd_ray.faces.crop import landmarks_on_crop
from dfd_ray.sections import Preprocess
from dfd_ray.store.tables import flatten_faces


def flatten_labelled(videos: pa.Table) -> pa.Table:
    """Return the faces of labelled videos with all columns of both; `label` becomes 0 for REAL and 1 for FAKE."""
    faces = flatten_faces(videos, [name for name in videos.column_names if name != "faces"])
    label = pc.equal(faces.column("label"), "FAKE").cast(pa.int64())
    return faces.set_column(faces.column_names.index("label"), "label", label)


def locate_landmarks(faces: pa.Table, settings: Preprocess) -> list[Float32Array]:
    """Return the landmarks (5, 2) of rows of `flatten_labelled`, in pixels of the stored image."""
    places = zip(*(faces.column(name).to_pylist() for name in ("landmarks", "box", "width", "height")), strict=True)
    return [
        landmarks_on_crop(points, np.array(box), settings.margin, width, height, settings.crop_size)
        for points, box, width, height in places
    ]
