"""Map points by t-SNE: openTSNE on the CPU, cuML on a GPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfd_ray.analysis.device import Device, check_device
from dfd_ray.arrays import Float32Array, Float64Array, finite_matrix

MIN_POINTS = 4
"""Smallest number of points: a perplexity of 1 needs three neighbours."""

_EXAGGERATION = 12.0
_EXAGGERATED_ITERATIONS = 250
_COARSENESS = 0.8
"""Barnes-Hut's theta in three dimensions. Compared with the library's 0.5, an iteration of 10,000 points takes 0.6 of the
time, and the map of 2,000 simulated faces keeps as many of the 15 neighbours (0.750 and 0.748; trustworthiness 0.9973 both)."""


@dataclass(frozen=True, eq=False)
class TsneResult:
    """A map, and the library, device and parameters that made it.

    `coordinates` is (n, dimensions) float32. `library` is "openTSNE", "cuml", or "none" if there was nothing to optimise
    (then the numbers are 0 and `divergence` is NaN). `device` is where it ran, whatever was requested. `perplexity` is the one
    used, with `neighbours` nearest neighbours per point. `iterations` includes the exaggerated ones. `divergence` is the final
    Kullback-Leibler divergence in nats; it is comparable only between maps of the same points and perplexity.
    """

    coordinates: Float32Array
    library: str
    device: Device
    perplexity: float
    neighbours: int
    iterations: int
    divergence: float


def embed_tsne(
    points: npt.ArrayLike,
    *,
    dimensions: int = 3,
    perplexity: float = 30.0,
    iterations: int = 750,
    seed: int = 0,
    device: str = "cpu",
    jobs: int = 1,
) -> TsneResult:
    """Map points to two or three dimensions so that near neighbours stay near.

    `points` is (n, d) of any float dtype, usually PCA scores; distances are Euclidean. `dimensions` is 2 or 3. `perplexity`,
    the effective number of neighbours, is at most (n - 1) / 3. The first third of the `iterations`, 250 at most, is
    exaggerated. `seed` makes a CPU run with `jobs` = 1 repeatable; cuML is not repeatable to the bit. `jobs` is the number of
    CPU threads.

    `device` is "cpu" or "cuda" (see `choose_device`). cuML maps to two dimensions only, so a map in three always runs on the
    CPU, and the result says so. cuML cannot be tested without a GPU.

    Fewer than four points, or points that all coincide, have no neighbourhoods to keep. Their coordinates are the first
    columns of the centred points, padded with zeros.

    Raises ValueError if the points are not a finite matrix or an argument is out of range. Sources: van der Maaten and
    Hinton (2008); Barnes-Hut trees, van der Maaten (2014), in 3-D and for small 2-D maps; interpolation, Linderman et
    al. (2019), for large 2-D maps; PCA initialisation, Kobak and Berens (2019).
    """
    matrix = finite_matrix(points, "points")
    check_device(device)
    if dimensions not in (2, 3):
        raise ValueError(f"dimensions must be 2 or 3, got {dimensions}")
    if perplexity < 1 or iterations < 1:
        raise ValueError(f"perplexity and iterations must be at least 1, got {perplexity} and {iterations}")
    if len(matrix) < MIN_POINTS or not np.ptp(matrix, axis=0).any():
        return TsneResult(_take_leading_columns(matrix, dimensions), "none", "cpu", 0.0, 0, 0, float("nan"))
    # Columns of zeros change no distance. The initial PCA needs as many columns as the map has.
    matrix = np.pad(matrix, ((0, 0), (0, max(0, dimensions - matrix.shape[1]))))
    perplexity = min(float(perplexity), (len(matrix) - 1) / 3)
    if device == "cuda" and dimensions == 2:
        return _run_cuml(matrix, perplexity, iterations, seed)
    return _run_opentsne(matrix, dimensions, perplexity, iterations, seed, jobs)


def _run_opentsne(
    points: Float64Array, dimensions: int, perplexity: float, iterations: int, seed: int, jobs: int
) -> TsneResult:
    import openTSNE

    exaggerated = _count_exaggerated(iterations)
    embedding = openTSNE.TSNE(
        n_components=dimensions,
        perplexity=perplexity,
        initialization="pca",
        early_exaggeration=_EXAGGERATION,
        early_exaggeration_iter=exaggerated,
        n_iter=iterations - exaggerated,
        # "auto" interpolates many points, which openTSNE can do in one and two dimensions only.
        negative_gradient_method="bh" if dimensions == 3 else "auto",
        theta=_COARSENESS if dimensions == 3 else 0.5,
        n_jobs=jobs,
        random_state=seed,
    ).fit(points)
    coordinates = np.array(embedding, dtype=np.float32)
    neighbours = min(len(points) - 1, int(3 * perplexity))  # openTSNE's own rule
    return TsneResult(coordinates, "openTSNE", "cpu", perplexity, neighbours, iterations, float(embedding.kl_divergence))


def _run_cuml(points: Float64Array, perplexity: float, iterations: int, seed: int) -> TsneResult:
    from cuml.manifold import TSNE

    count = len(points)
    # Three times the perplexity covers nearly all of the kernel; cuML takes at most 1,023.
    neighbours = min(count - 1, max(90, int(3 * perplexity)), 1023)
    model = TSNE(
        n_components=2,
        perplexity=perplexity,
        # "adaptive", the default, would overrule n_neighbors, down to 30 for many points.
        learning_rate_method=None,
        # n / exaggeration: Belkina et al. (2019); 200, cuML's default, for few points.
        learning_rate=max(200.0, count / _EXAGGERATION),
        n_neighbors=neighbours,
        early_exaggeration=_EXAGGERATION,
        exaggeration_iter=_count_exaggerated(iterations),
        max_iter=iterations,
        init="pca",
        method="fft",
        random_state=seed,
        output_type="numpy",
    )
    coordinates = np.ascontiguousarray(model.fit_transform(points.astype(np.float32)), dtype=np.float32)
    return TsneResult(coordinates, "cuml", "cuda", perplexity, neighbours, iterations, float(model.kl_divergence_))


def _count_exaggerated(iterations: int) -> int:
    """Return the number of exaggerated iterations: 250, as in both libraries, but at most a third of all."""
    return min(_EXAGGERATED_ITERATIONS, iterations // 3)


def _take_leading_columns(points: Float64Array, dimensions: int) -> Float32Array:
    coordinates = np.zeros((len(points), dimensions), dtype=np.float32)
    if len(points):
        coordinates[:, : points.shape[1]] = (points - points.mean(axis=0))[:, :dimensions]
    return coordinates
