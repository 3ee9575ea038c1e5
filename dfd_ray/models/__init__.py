"""Backbones, the classifier and its weights, and what training does to faces: augmenting, balancing, blending, mixing.

Import the modules. The package itself imports nothing, so that `import dfd_ray.models` does not load torch.
"""
