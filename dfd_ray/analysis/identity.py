"""Who is the same person: vectors of a face-recognition network, joined where they are alike."""

from __future__ import annotations

import numpy as np

from dfd_ray.arrays import Float32Array, Int64Array

BLOCK_MIB = 64
"""Of the similarities that are held at once, however many vectors there are."""


def number_people(vectors: Float32Array, same_person: float) -> Int64Array:
    """Return a number for each vector (n,), from 0 up: equal where they are of one person.

    `vectors` (n, d), finite, none zero, of any lengths. Two whose cosine is `same_person` or more are of one person, and so is
    whoever is joined to them through others: single linkage, cut at that cosine. Every pair is looked at, and none is kept:
    scikit-learn's DBSCAN, which finds the same, holds the index of every pair that is near: 113 GB if 119,154 are all alike.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(vectors)
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = person = np.arange(count)
    block = max(1, int(BLOCK_MIB * 2**20 / (4 * max(count, 1))))
    for start in range(0, count, block):
        one, other = np.nonzero(directions[start : start + block] @ directions[start:].T >= same_person)
        # Each is joined to the first that is known to be the same person, which says all that the blocks before have found.
        first = np.unique(person, return_index=True)[1][person]
        ends = np.concatenate([numbers, one + start]), np.concatenate([first, other + start])
        graph = coo_array((np.ones(len(ends[0]), bool), ends), (count, count))
        person = connected_components(graph, directed=False)[1].astype(np.int64)
    return person
