"""`dfd-ray analyze` without its tables: PCA, 3-D t-SNE, HDBSCAN and their quality, for as many faces as the report mapped.

    python -m benchmarks.face_map [FACES] [COMMAND-LINE SETTINGS, such as analyze.dimensions=2]

The report took 45 minutes for some 130,000 faces. Vectors have 2,560 numbers, like EfficientNet-B7's: the points of
`benchmarks.curves`, rotated into all dimensions, with noise in every one. `cpu_seconds` is the CPU time of everything, which
does not depend on what else the machine does.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from benchmarks.curves import FACES as OF_A_VIDEO
from benchmarks.curves import make_faces, widen
from benchmarks.machine import keep_result
from dfd_ray.analysis import PCA, Moments
from dfd_ray.analysis.face_map import describe_tsne, map_and_cluster
from dfd_ray.arrays import Float32Array
from dfd_ray.config import Config, load_config

FACES = 130_000
WIDTH = 2560
FOLDS = 5
REPORT_MINUTES = 45


def reduce(points: Float32Array, components: int) -> tuple[Float32Array, float]:
    """Return PCA's scores of the vectors, and the seconds it took, without making the vectors."""
    moments, seconds = Moments.empty(WIDTH), 0.0
    for block in widen(points, WIDTH):
        started = time.perf_counter()
        moments = moments.merge(Moments.of(block))
        seconds += time.perf_counter() - started
    started = time.perf_counter()
    pca, scores = PCA.fit(moments, components), []
    seconds += time.perf_counter() - started
    for block in widen(points, WIDTH):
        started = time.perf_counter()
        scores.append(pca.transform(block))
        seconds += time.perf_counter() - started
    return np.concatenate(scores), seconds


def main(faces: int, config: Config) -> None:
    """Measure, print, and keep the result."""
    points, person = make_faces(faces)
    scores, pca_seconds = reduce(points, config.analyze.components)
    video = np.arange(faces) // OF_A_VIDEO
    truth = {"video": video, "group": person, "fold": person % FOLDS, "label": np.where(video % 5, "FAKE", "REAL")}
    started, used = time.perf_counter(), time.process_time()
    result = map_and_cluster(scores, truth, config.analyze, 0)
    whole, cpu = time.perf_counter() - started, time.process_time() - used
    seconds = {"pca": pca_seconds, **result.seconds}
    keep_result(
        "face_map",
        {
            "faces": faces,
            "seconds": seconds | {"quality": whole - sum(result.seconds.values()), "total": pca_seconds + whole},
            "cpu_seconds": pca_seconds + cpu,
            "report_seconds": REPORT_MINUTES * 60,
            "tsne": describe_tsne(result),
            "clusters": len(set(result.clusters.labels.tolist()) - {-1}),
            "people": int(person[-1]) + 1,
            "quality": result.quality,
        },
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else FACES, load_config(None, sys.argv[2:]))
