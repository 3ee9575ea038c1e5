from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from dfd_ray.models.augment import training_augmentation

FACE = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)


@pytest.mark.parametrize("recipe", ["none", "report"])
@pytest.mark.parametrize("shape", [(60, 60, 3), (30, 50, 3), (300, 200, 3)])
def test_faces_become_squares_without_a_warning(recipe, shape):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        augment = training_augmentation(48, recipe, seed=0)
        for value in (0, 255):
            for _ in range(20):
                image = augment(np.full(shape, value, np.uint8))
                assert image.shape == (48, 48, 3) and image.dtype == np.uint8


def test_none_leaves_the_right_size_alone():
    np.testing.assert_array_equal(training_augmentation(60, "none")(FACE), FACE)


def test_report_varies_and_repeats_with_its_seed():
    first, second, other = (training_augmentation(48, "report", seed) for seed in (1, 1, 2))
    images = [first(FACE) for _ in range(10)]
    assert len({image.tobytes() for image in images}) == 10
    assert all(np.array_equal(image, second(FACE)) for image in images)
    assert not all(np.array_equal(image, other(FACE)) for image in images)


def test_unknown_recipe():
    with pytest.raises(ValueError, match="recipe"):
        training_augmentation(48, "more")  # type: ignore[arg-type]


def test_import_opens_no_socket_and_the_package_imports_no_torch():
    code = """
import sys, socket
def refuse(*a, **k): raise SystemExit("the network was asked")
socket.socket.connect = socket.getaddrinfo = refuse
import dfd_ray.models
assert "torch" not in sys.modules
import dfd_ray.models.augment
"""
    environment = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
