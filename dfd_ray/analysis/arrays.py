"""The array types of this package, and the one check every entry point makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]


def finite_matrix(values: npt.ArrayLike, name: str) -> Float64Array:
    """Return the values as a float64 matrix.

    Any real dtype is accepted; a float64 array is returned as it is, not copied. `name` is how the message calls it.
    Raises ValueError unless the shape is (n, d) and every number is finite.
    """
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2:
        raise ValueError(f"{name} must have the shape (n, d), got {matrix.shape}")
    finite_rows = np.isfinite(matrix).all(axis=1)
    if not finite_rows.all():
        first = int(np.argmin(finite_rows))
        raise ValueError(f"{name} holds NaN or infinity in {np.sum(~finite_rows)} rows, first in row {first}")
    return matrix
