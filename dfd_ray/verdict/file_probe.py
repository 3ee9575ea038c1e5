"""Classify videos by the facts of their files, without looking at a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dfd_ray.arrays import Float64Array


def score_files(
    numbers: npt.ArrayLike, words: Sequence[str | None], label: npt.ArrayLike, fold: npt.ArrayLike, judged: npt.ArrayLike
) -> Float64Array | None:
    """Return the probability of FAKE (n,) of the judged videos by the facts of their files; NaN for the others.

    `numbers` (n, k), such as bytes, width and frames a second, are positive, and NaN where unknown; `words` (n,), such as
    the codec, are None where unknown; `label` (n,) is 0 or 1; `fold` (n,) holds integers; `judged` (n,) truth values. A random
    forest scores each judged video; it learns from all videos of the other folds, judged or not. Returns None if the other
    folds lack a class. If this probe ranks the videos as well as the network does, the network may not need the faces.
    Raises ValueError for unequal lengths or no videos.
    """
    from sklearn.ensemble import RandomForestClassifier

    facts = np.asarray(numbers, np.float64)
    truth, part, asked = np.asarray(label), np.asarray(fold), np.asarray(judged, bool)
    if facts.ndim != 2 or not len(facts) or not len(facts) == len(words) == len(truth) == len(part) == len(asked):
        shapes = f"{facts.shape}, {len(words)}, {truth.shape}, {part.shape}, {asked.shape}"
        raise ValueError(f"need rows of one length, not empty: {shapes}")
    kinds = sorted({word for word in words if word is not None})
    codes = np.array([[word == kind for kind in kinds] for word in words], np.float64).reshape(len(facts), len(kinds))
    table = np.hstack([np.nan_to_num(facts, nan=-1.0), codes])
    probability = np.full(len(facts), np.nan)
    for one in np.unique(part[asked]):
        others, own = part != one, asked & (part == one)
        if len(np.unique(truth[others])) < 2:
            return None
        forest = RandomForestClassifier(200, min_samples_leaf=2, class_weight="balanced", random_state=0)
        probability[own] = forest.fit(table[others], truth[others]).predict_proba(table[own])[:, 1]
    return probability
