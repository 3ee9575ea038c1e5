"""What the files alone give away: a classifier of videos that never looks at a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def probe_scores(numbers: npt.ArrayLike, words: Sequence[str | None], label: npt.ArrayLike, fold: npt.ArrayLike) -> FloatArray:
    """Return the probability of FAKE (n,) of each video by its file's facts, from a model that never saw its fold.

    `numbers` (n, k) such as bytes, width, frames a second: positive, and NaN where unknown; `words` (n,) such as the
    codec; `label` (n,) of 0 and 1, `fold` (n,) of integers. A forest of random trees; where the other folds hold one
    class only, their share of FAKE. A probe that ranks as well as the network says that the network need not have
    looked at faces. Raises ValueError for lengths that differ or no videos.
    """
    from sklearn.ensemble import RandomForestClassifier

    facts = np.asarray(numbers, np.float64)
    truth, part = np.asarray(label), np.asarray(fold)
    if facts.ndim != 2 or not len(facts) or not len(facts) == len(words) == len(truth) == len(part):
        raise ValueError(f"need rows of one length, not empty: {facts.shape}, {len(words)}, {truth.shape}, {part.shape}")
    kinds = sorted({word for word in words if word is not None})
    codes = np.array([[word == kind for kind in kinds] for word in words], np.float64).reshape(len(facts), len(kinds))
    table = np.hstack([np.nan_to_num(facts, nan=-1.0), codes])
    probability = np.zeros(len(facts))
    for one in np.unique(part):
        own = part == one
        seen = truth[~own]
        if len(np.unique(seen)) < 2:
            probability[own] = seen.mean() if len(seen) else 0.5
            continue
        forest = RandomForestClassifier(200, min_samples_leaf=2, class_weight="balanced", random_state=0)
        probability[own] = forest.fit(table[~own], seen).predict_proba(table[own])[:, 1]
    return probability
