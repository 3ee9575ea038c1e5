"""The few constants that several rooms share: labels of videos, and the numbers that stand for "none" of something."""

LABELS = ("REAL", "FAKE")
"""What a label may be, in the order of a classifier's two outputs."""
TRAIN_ONLY = -1
"""The fold of videos that every model learns from and none is scored by."""
NO_FOLD = -2
"""Stands for null, the fold of a video without a label, where folds are integers."""
NOISE = -1
"""The cluster of faces, and of videos, that are in none."""
