"""Networks and their numbers: backbones, the classifier, augmentations, aggregation, calibration and metrics.

Import the modules; this package itself imports nothing, so that `import dfd_ray.models` costs no torch.
"""
