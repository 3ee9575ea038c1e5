"""The constants that several packages share: the labels of videos, and the numbers that stand for "none"."""

LABELS = ("REAL", "FAKE")
"""The labels, in the order of a classifier's two outputs."""
TRAIN_ONLY = -1
"""The fold of videos that every model learns from and that are never scored."""
NO_FOLD = -2
"""Stands for null, the fold of a video without a label, in arrays of integers."""
NOISE = -1
"""The cluster number of faces and videos that are in no cluster."""
