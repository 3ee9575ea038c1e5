"""Tell people apart: group the vectors of a face-recognition network by similarity."""

from __future__ import annotations

import numpy as np

from dfd_ray.arrays import Float32Array, Int64Array

BLOCK_MIB = 64
"""Size of the similarities in memory at once, whatever the number of vectors."""


def number_people(vectors: Float32Array, same_person: float) -> Int64Array:
    """Return the number of each vector's person (n,) int64, from 0.

    `vectors` is (n, d), finite, not zero, of any length. Vectors with a cosine of `same_person` or more are of one person, also
    through others: single linkage, cut at that cosine. All pairs are compared a block at a time and none is stored. DBSCAN of
    scikit-learn finds the same people, but stores every pair that is near: 113 GB if 119,154 vectors are all alike.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(vectors)
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = person = np.arange(count)
    block = max(1, int(BLOCK_MIB * 2**20 / (4 * max(count, 1))))
    for start in range(0, count, block):
        one, other = np.nonzero(directions[start : start + block] @ directions[start:].T >= same_person)
        # Joining each vector to the first of its person keeps what the earlier blocks found.
        first = np.unique(person, return_index=True)[1][person]
        ends = np.concatenate([numbers, one + start]), np.concatenate([first, other + start])
        graph = coo_array((np.ones(len(ends[0]), bool), ends), (count, count))
        person = connected_components(graph, directed=False)[1].astype(np.int64)
    return person
