"""The cross-validation fold of each video."""

from __future__ import annotations

import warnings

import numpy as np


def assign_folds(labels: list[str | None], groups: list[str], folds: int, seed: int) -> tuple[list[int | None], str]:
    """Return each labelled video's fold, stratified by label and never splitting a group, and a remark or an empty string."""
    labelled = [i for i, label in enumerate(labels) if label is not None]
    result: list[int | None] = [None] * len(labels)
    group_count = len({groups[i] for i in labelled})
    if not labelled:
        return result, ""
    if group_count < 2:
        return [0 if label else None for label in labels], "one group of linked videos only: no folds to train on"
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    target = np.array([labels[i] == "FAKE" for i in labelled])
    used = min(folds, group_count)
    # sklearn can stratify only where one class has a video for every fold.
    stratify = max(target.sum(), len(target) - target.sum()) >= used
    splitter = StratifiedGroupKFold(used, shuffle=True, random_state=seed) if stratify else GroupKFold(used)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # training checks for a class with fewer videos than folds
        parts = list(splitter.split(target, target, [groups[i] for i in labelled]))
    for fold, (_, held_out) in enumerate(parts):
        for position in held_out:
            result[labelled[position]] = fold
    return result, f"{used} folds, not {folds}: there are only {group_count} groups of linked videos" if used < folds else ""
