"""Save, load and run a classifier of faces: a timm model with two logits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from dfd_ray.arrays import Float32Array
from dfd_ray.errors import ConfigurationError, WeightsError
from dfd_ray.labels import LABELS
from dfd_ray.models.backbones import Images, InputSpec, create_backbone, embed_faces
from dfd_ray.models.weights import first_line, read_state

REAL, FAKE = 0, 1
"""Columns of the logits."""
FORMAT_VERSION = 2
METADATA_KEY = "dfd_ray"
PATTERNS, PATTERN_SIZE = 4, 200
"""Number of the pictures that test a classifier, and their side in pixels."""
GOLDEN_TOLERANCE = 0.05
"""Largest difference of a pattern's log-odds, a little over 0.01 in probability."""


def save_classifier(
    path: str | PathLike[str],
    module: nn.Module,
    *,
    backbone: str,
    spec: InputSpec,
    crop_margin: float,
    extra: dict[str, str] | None = None,
) -> None:
    """Write a classifier as one `.safetensors` file whose metadata say how to build it and what input it takes.

    `backbone` is the timm name, `crop_margin` the margin of the training faces as a share of the face's width, `extra` any
    further facts. The metadata also hold its scores of fixed patterns (see `check_golden`). Raises ValueError if a name in
    `extra` is taken, or the module is in training mode.
    """
    facts = {
        "format_version": FORMAT_VERSION,
        "backbone": backbone,
        "input_size": spec.size,
        "mean": spec.mean,
        "std": spec.std,
        "classes": LABELS,
        "crop_margin": crop_margin,
        "golden": score_faces(module, spec, draw_patterns()).tolist(),
    }
    taken = sorted(facts.keys() & (extra or {}).keys())
    if taken:
        raise ValueError(f"names taken by the format: {', '.join(taken)}")
    # safetensors takes neither channels-last nor shared storage.
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in module.state_dict().items()
    }
    save_file(tensors, fspath(path), metadata={METADATA_KEY: json.dumps({**facts, **(extra or {})})})


def load_classifier(path: str | PathLike[str]) -> tuple[nn.Module, InputSpec, dict[str, Any]]:
    """Return a classifier in eval mode on the CPU, its input, and the facts that were saved with it.

    The facts are `format_version`, `backbone`, `input_size`, `mean`, `std`, `classes`, `crop_margin`, `golden`, and those
    given as `extra`. Raises WeightsError, in one line, if the file is missing, corrupt, not a classifier, or of another
    format, or if the classifier's scores have changed since it was saved.
    """
    facts = read_facts(Path(path))
    try:
        spec = InputSpec(int(facts["input_size"]), read_triple(facts["mean"]), read_triple(facts["std"]))
        module, _ = create_backbone(str(facts["backbone"]), weights="random", num_classes=len(LABELS), image_size=spec.size)
        module.load_state_dict(read_state(Path(path)))
        check_golden(module, spec, facts["golden"], fspath(path))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{fspath(path)} is no classifier of dfd_ray: bad metadata ({first_line(error)})") from error
    except (ConfigurationError, RuntimeError) as error:
        raise WeightsError(f"{fspath(path)} does not fit its backbone: {' '.join(str(error).split())[:200]}") from error
    return module, spec, facts


def read_facts(path: Path) -> dict[str, Any]:
    """Return the metadata of a classifier's file. Raises WeightsError for another file or another version of the format."""
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except Exception as error:  # not only SafetensorError: FileNotFoundError, OSError, UnicodeDecodeError
        raise WeightsError(f"{path} cannot be read as safetensors: {first_line(error)}") from error
    try:
        facts = json.loads(metadata[METADATA_KEY])
        version, classes = facts["format_version"], tuple(facts["classes"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is no classifier of dfd_ray: its metadata do not say how to build it") from error
    if version != FORMAT_VERSION or classes != LABELS:
        raise WeightsError(
            f"{path} is of format {version} with classes {classes}; this version reads {FORMAT_VERSION}: train again"
        )
    return dict(facts)


def draw_patterns() -> npt.NDArray[np.uint8]:
    """Return pictures (PATTERNS, PATTERN_SIZE, PATTERN_SIZE, 3) uint8 of slanting waves, the same on every machine."""
    n, y, x, channel = np.ogrid[:PATTERNS, :PATTERN_SIZE, :PATTERN_SIZE, :3]
    wave = np.abs(x * (n + 2 + channel) + y * (2 * n + 3 - channel) + 60 * channel) % 510
    return np.asarray(np.abs(wave - 255), np.uint8)


def check_golden(module: nn.Module, spec: InputSpec, golden: Sequence[float], source: str) -> None:
    """Raise WeightsError unless a classifier, on its present device, scores the patterns as it did when it was saved.

    Wrong preprocessing, another version of a library or a GPU's arithmetic would otherwise change scores silently. `golden`
    are the scores that were saved, (PATTERNS,); `source` names the classifier. Raises ValueError for another number of them.
    """
    saved = np.array([float(value) for value in golden])
    if saved.shape != (PATTERNS,):
        raise ValueError(f"{len(saved)} golden scores, not {PATTERNS}")
    found = score_faces(module, spec, draw_patterns())
    furthest = int(np.nan_to_num(np.abs(found - saved), nan=np.inf).argmax())
    if not np.allclose(found, saved, rtol=GOLDEN_TOLERANCE / 5, atol=GOLDEN_TOLERANCE):
        raise WeightsError(
            f"{source} does not score as it did when it was saved: a pattern has log-odds {found[furthest]:.3f} on "
            f"{next(module.parameters()).device}, and had {saved[furthest]:.3f}; the file, a library or the device is to blame"
        )


def read_triple(values: Iterable[float]) -> tuple[float, float, float]:
    """Return three numbers as a tuple. Raises ValueError or TypeError if they are not three numbers."""
    red, green, blue = map(float, values)
    return red, green, blue


def score_faces(module: nn.Module, spec: InputSpec, images: Images, batch_size: int = 8) -> Float32Array:
    """Return the log-odds of FAKE of every face, (n,) float32.

    `images` are n RGB faces (see `Images`). The log-odds are the logit of FAKE minus that of REAL; their sigmoid is the
    softmax's probability of FAKE. Raises ValueError in training mode, and for a network without exactly two classes.
    """
    if module.num_classes != len(LABELS):
        raise ValueError(f"a classifier has {len(LABELS)} classes, this network has {module.num_classes}")
    logits = embed_faces(module, spec, images, batch_size)
    return logits[:, FAKE] - logits[:, REAL]
