"""The classifier: a timm model with two logits, its file, and the score it gives a face."""

from __future__ import annotations

import json
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
"""Columns of the logits, and values of a label."""
FORMAT_VERSION = 2
METADATA_KEY = "dfd_ray"
PATTERNS, PATTERN_SIZE = 4, 200
"""Pictures that every classifier is tried on, and their side in pixels."""
GOLDEN_TOLERANCE = 0.05
"""Most that the log-odds of a pattern may differ: a little over a hundredth of a probability."""


def save_classifier(
    path: str | PathLike[str],
    module: nn.Module,
    *,
    backbone: str,
    spec: InputSpec,
    crop_margin: float,
    extra: dict[str, str] | None = None,
) -> None:
    """Write a classifier as one `.safetensors` file that says in its metadata how to build and feed it.

    `backbone` is the timm name, `crop_margin` the margin of the faces it was trained on as a share of the face's width,
    `extra` any further facts. With it goes what it scores patterns that anyone can draw, see `check_golden`. Raises
    ValueError if a name in `extra` is taken, or the module is in training mode.
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

    The facts are `format_version`, `backbone`, `input_size`, `mean`, `std`, `classes`, `crop_margin`, `golden`, and what was
    given as `extra`. Raises WeightsError, in one line, if the file is missing, corrupt, no classifier, or of another
    format, or if it does not score as it did when it was saved.
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
    """Return the metadata of a classifier's file; WeightsError if it is no such file, or another version's."""
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
    """Return pictures (PATTERNS, PATTERN_SIZE, PATTERN_SIZE, 3) uint8 of slanting waves, the same ones anywhere."""
    n, y, x, channel = np.ogrid[:PATTERNS, :PATTERN_SIZE, :PATTERN_SIZE, :3]
    wave = np.abs(x * (n + 2 + channel) + y * (2 * n + 3 - channel) + 60 * channel) % 510
    return np.asarray(np.abs(wave - 255), np.uint8)


def check_golden(module: nn.Module, spec: InputSpec, golden: Any, source: str) -> None:
    """Raise WeightsError unless a classifier scores the patterns, where it is now, as it did when it was saved.

    Wrong preprocessing, another version of a library or a GPU's arithmetic change scores without a word otherwise.
    `golden` is the scores that were saved, `source` names the classifier. Raises ValueError if they are no such scores.
    """
    saved = np.array([float(value) for value in golden])
    if saved.shape != (PATTERNS,):
        raise ValueError(f"{len(saved)} golden scores, not {PATTERNS}")
    found = score_faces(module, spec, draw_patterns())
    furthest = int(np.nan_to_num(np.abs(found - saved), nan=np.inf).argmax())
    if not np.allclose(found, saved, rtol=GOLDEN_TOLERANCE / 5, atol=GOLDEN_TOLERANCE):
        device = next(module.parameters()).device
        raise WeightsError(
            f"{source} does not score as it did when it was saved: a pattern has log-odds {found[furthest]:.3f} on {device}, "
            f"and had {saved[furthest]:.3f}; the file, a library or the device is to blame"
        )


def read_triple(values: Any) -> tuple[float, float, float]:
    """Return three numbers as a tuple; ValueError or TypeError if they are not three numbers."""
    red, green, blue = map(float, values)
    return red, green, blue


def score_faces(module: nn.Module, spec: InputSpec, images: Images, batch_size: int = 8) -> Float32Array:
    """Return the log-odds of FAKE of every face.

    `images`: n RGB faces, see `Images`. Returns (n,) float32, the logit of FAKE minus that of REAL, whose sigmoid is
    softmax's probability of FAKE. Raises ValueError if the module is in training mode or has not two classes.
    """
    if module.num_classes != len(LABELS):
        raise ValueError(f"a classifier has {len(LABELS)} classes, this network has {module.num_classes}")
    logits = embed_faces(module, spec, images, batch_size)
    return logits[:, FAKE] - logits[:, REAL]
