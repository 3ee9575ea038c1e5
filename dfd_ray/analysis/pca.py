"""Principal component analysis of a table in blocks: moments per block, merged, then one eigenproblem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfd_ray.arrays import Float32Array, Float64Array, finite_matrix


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean and scatter of a set of rows, which merge with those of another set.

    `count` is the number of rows, `mean` (d,) float64, and `scatter` (d, d) float64 the sum of the outer products of the
    centred rows. Blocks are centred before they are multiplied, because a raw sum of squares loses all digits of the variance
    if the mean is large. Merging in the same order gives the same result to the bit.
    """

    count: int
    mean: Float64Array
    scatter: Float64Array

    @classmethod
    def empty(cls, dimensions: int) -> Moments:
        """Return the moments of 0 rows of `dimensions` columns, the neutral element of `merge`."""
        return cls(0, np.zeros(dimensions), np.zeros((dimensions, dimensions)))

    @classmethod
    def of(cls, block: npt.ArrayLike) -> Moments:
        """Return the moments of one block.

        `block` is (n, d) of any float dtype; n may be 0. The mean is computed in float64. The centred rows of a float16 or
        float32 block are multiplied in float32, which takes half the time with an error of about 1e-7; such a block should
        have at most some thousand rows. Raises ValueError if the block is not a matrix, or holds NaN or infinity.
        """
        rows = finite_matrix(block, "block")
        if not len(rows):
            return cls.empty(rows.shape[1])
        mean = rows.mean(axis=0)
        narrow = np.asarray(block).dtype in (np.float16, np.float32)
        centred = (rows - mean).astype(np.float32 if narrow else np.float64, copy=False)
        return cls(len(rows), mean, (centred.T @ centred).astype(np.float64, copy=False))

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets of rows together.

        Raises ValueError if the sets differ in their number of columns. Source: the pairwise update of Chan, Golub and
        LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"moments of {len(self.mean)} and of {len(other.mean)} columns cannot be merged")
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        difference = other.mean - self.mean
        mean = self.mean + difference * (other.count / count)
        between = np.outer(difference, difference) * (self.count * other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)


@dataclass(frozen=True, eq=False)
class PCA:
    """A fitted principal component analysis.

    `mean` (d,), `components` (k, d) with orthonormal rows in descending order of variance, `explained_variance` (k,)
    (unbiased: divided by count - 1), `explained_variance_ratio` (k,) of the total variance; all float64.
    """

    mean: Float64Array
    components: Float64Array
    explained_variance: Float64Array
    explained_variance_ratio: Float64Array

    @classmethod
    def fit(cls, moments: Moments, components: int) -> PCA:
        """Fit to the moments of all rows.

        `components` is the number of components to keep. The largest loading of each is made positive, so that a repeated run
        gives the same picture. Raises ValueError if `components` is below 1 or above min(count - 1, d), the most that the rows
        determine.
        """
        import scipy.linalg

        dimensions = len(moments.mean)
        most = min(moments.count - 1, dimensions)
        if not 1 <= components <= most:
            raise ValueError(
                f"components = {components} must be from 1 to min(count - 1, d) = {most} "
                f"(count = {moments.count}, d = {dimensions})"
            )
        covariance = moments.scatter / (moments.count - 1)
        ascending, vectors = scipy.linalg.eigh(
            covariance, subset_by_index=[dimensions - components, dimensions - 1], check_finite=False
        )
        # Rounding leaves eigenvalues of a rank-deficient matrix a little below zero.
        variance = np.maximum(ascending[::-1], 0.0)
        total = float(np.trace(covariance))
        ratio = variance / total if total > 0 else np.zeros_like(variance)
        return cls(moments.mean, _fix_signs(vectors.T[::-1]), variance, ratio)

    def transform(self, block: npt.ArrayLike, whiten: bool = False) -> Float32Array:
        """Project rows on the components.

        `block` is (n, d) of any float dtype; returns (n, k) float32. `whiten` divides each component by its standard deviation;
        a component whose variance is only rounding error becomes zero.
        Raises ValueError if the block is not (n, d) or holds NaN or infinity.
        """
        rows = finite_matrix(block, "block")
        if rows.shape[1] != len(self.mean):
            raise ValueError(f"block has {rows.shape[1]} columns, the PCA was fitted to {len(self.mean)}")
        scores = (rows - self.mean) @ self.components.T
        if whiten:
            variance = self.explained_variance
            usable = variance > variance[0] * len(self.mean) * np.finfo(np.float64).eps
            scores *= np.where(usable, 1.0 / np.sqrt(np.where(usable, variance, 1.0)), 0.0)
        return scores.astype(np.float32)


def _fix_signs(components: Float64Array) -> Float64Array:
    """Flip the rows (k, d) whose loading of largest magnitude is negative."""
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(len(components)), largest])
    return np.ascontiguousarray(components * signs[:, None])
