"""PCA, t-SNE, HDBSCAN and their quality measures, on arrays; cuML or CPU libraries behind one call. Never imports ray.

Importing this package costs numpy and pyarrow, nothing else: scikit-learn, openTSNE, hdbscan, torch and cuML are imported
by the functions that need them.
"""

from __future__ import annotations

from dfd_ray.analysis.clusters import ClusterResult, cluster_hdbscan
from dfd_ray.analysis.device import choose_device
from dfd_ray.analysis.leaks import Leak, find_leaks
from dfd_ray.analysis.pca import PCA, Moments
from dfd_ray.analysis.quality import neighbour_preservation, noise_share, purity, silhouette, stability, trustworthiness
from dfd_ray.analysis.tsne import TsneResult, embed_tsne
from dfd_ray.labels import NOISE

__all__ = [
    "NOISE",
    "PCA",
    "ClusterResult",
    "Leak",
    "Moments",
    "TsneResult",
    "choose_device",
    "cluster_hdbscan",
    "embed_tsne",
    "find_leaks",
    "neighbour_preservation",
    "noise_share",
    "purity",
    "silhouette",
    "stability",
    "trustworthiness",
]
