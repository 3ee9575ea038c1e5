"""The array types that the rooms share, and what functions of arrays check about their arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]
Image = npt.NDArray[np.uint8]
"""A picture, (h, w, 3), RGB."""
UInt8Array = npt.NDArray[np.uint8]
"""Bytes or grey levels of any other shape."""
BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]


def sample_rows(count: int, sample: int, seed: int) -> Int64Array:
    """Choose `sample` of `count` rows at random, ascending; all if there are no more. Raises ValueError when `sample` < 1."""
    if sample < 1:
        raise ValueError(f"sample must be at least 1, got {sample}")
    if count <= sample:
        return np.arange(count, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).choice(count, sample, replace=False))


def spread_rows(count: int, most: int) -> Int64Array:
    """Return at most `most` of `count` rows, spread evenly from the first to the last, ascending."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def finite_matrix(values: npt.ArrayLike, name: str) -> Float64Array:
    """Return the values as a float64 matrix.

    Any real dtype is accepted; a float64 array is not copied. Raises ValueError, with `name` in the message, unless the
    shape is (n, d) and every number is finite.
    """
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"{name} must have the shape (n, d), got {matrix.shape}")
    finite_rows = np.isfinite(matrix).all(axis=1)
    if not finite_rows.all():
        first = int(np.argmin(finite_rows))
        raise ValueError(f"{name} holds NaN or infinity in {np.sum(~finite_rows)} rows, first in row {first}")
    return matrix
