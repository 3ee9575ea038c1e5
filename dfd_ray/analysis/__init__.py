"""Run PCA, t-SNE and HDBSCAN on arrays, by cuML or by CPU libraries, and measure their quality.

Importing this package loads numpy and pyarrow only. The functions import scikit-learn, openTSNE, hdbscan, torch and cuML
when they need them.
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
