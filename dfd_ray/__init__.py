"""dfd_ray: distributed, large-scale deepfake detection on Ray."""

__version__ = "0.1.0"
