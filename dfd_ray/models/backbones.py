"""Backbones: any timm model, its weights and its input, and the embeddings it makes of faces."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import timm
import torch
from torch import nn

from dfd_ray.arrays import Float32Array
from dfd_ray.errors import ConfigurationError
from dfd_ray.models import weights as sources

Images = npt.NDArray[np.uint8] | Sequence[npt.NDArray[np.uint8]]
"""Faces, RGB: one array (n, h, w, 3) uint8, or a sequence of arrays (h, w, 3) uint8, of any sizes."""


@dataclass(frozen=True)
class InputSpec:
    """What a network expects: squares of `size` pixels; RGB in [0, 1] minus `mean`, over `std`, channel by channel."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def create_backbone(
    name: str,
    *,
    weights: str = "auto",
    num_classes: int = 0,
    drop_rate: float = 0.0,
    image_size: int | None = None,
    field: str = "embed.weights",
) -> tuple[nn.Module, InputSpec]:
    """Return a timm model in eval mode, on the CPU, in channels-last layout, and the input it expects.

    `weights`: "auto" takes an installed pip package's file where there is one for the model, else the Hugging Face hub;
    "package" and "hub" insist on one of them; "random" loads none; anything else is the path of a `.safetensors` or
    `.pth` file. `num_classes` 0 gives a network whose output is the pooled features, otherwise logits; a head that
    the weights do not hold for that number of classes is random (torch's global generator). Random weights without
    a head are always the same ones, so that several processes embed alike. `drop_rate` is the dropout before the head;
    `image_size` is in pixels, None for the model's own; `field` names the setting in messages.
    Raises ConfigurationError if timm does not know the name or cannot build it so, WeightsError if weights cannot be
    had.
    """
    check_name(name)
    options: dict[str, Any] = {"num_classes": num_classes}
    if drop_rate:
        options["drop_rate"] = drop_rate
    config = timm.get_pretrained_cfg(name)
    if image_size is not None and config is not None and config.fixed_input_size:
        options["img_size"] = image_size
    source = weights
    if weights == "auto":
        source = "package" if sources.find_package_file(name) else "hub"
    if source == "hub":
        module = sources.create_from_hub(name, field, options)
    else:
        with fix_seed() if num_classes == 0 else contextlib.nullcontext():
            module = build_model(name, options)
        if source == "package":
            sources.load_package(module, name, field)
        elif source != "random":
            sources.load_file(module, name, source, field)
    return module.eval().to(memory_format=torch.channels_last), read_input_spec(module, image_size)


def check_name(name: str) -> None:
    """Raise ConfigurationError, with the closest names, if timm has no such model or no such weights tag of it."""
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        remedy = f"did you mean {', '.join(close)}?" if close else "timm.list_models() lists the names"
        raise ConfigurationError(f"timm {timm.__version__} has no model named {name!r}; {remedy}")
    architecture, _, tag = name.partition(".")
    if tag and name not in timm.list_models(f"{architecture}.*", pretrained=True):
        tags = timm.list_models(f"{architecture}.*", pretrained=True)
        raise ConfigurationError(f"timm has no weights {name!r}; it has {', '.join(tags) or 'none of that model'}")


def build_model(name: str, options: dict[str, Any]) -> nn.Module:
    """Return a timm model with random weights; ConfigurationError if the model refuses an option."""
    try:
        return timm.create_model(name, pretrained=False, **options)
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        settings = ", ".join(f"{key}={value}" for key, value in options.items())
        raise ConfigurationError(f"{name} cannot be built with {settings}: {sources.first_line(error)}") from error


@contextlib.contextmanager
def fix_seed() -> Iterator[None]:
    """Make what is random inside the same every time, and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def read_input_spec(module: nn.Module, image_size: int | None) -> InputSpec:
    """Return the input that a timm model's configuration asks for, at `image_size` pixels if given."""
    config: dict[str, Any] = cast(Any, module).pretrained_cfg
    mean, std = (cast("tuple[float, float, float]", tuple(map(float, config[key]))) for key in ("mean", "std"))
    return InputSpec(image_size or int(config["input_size"][-1]), mean, std)


def feature_size(module: nn.Module) -> int:
    """Return the number of pooled features of a timm model, the width of its embeddings."""
    # Some models have a layer between pooling and head; timm's `num_features` is the width before that layer.
    return int(cast(int, getattr(module, "head_hidden_size", None) or module.num_features))


def normalise(
    images: torch.Tensor, spec: InputSpec, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Turn RGB images into what a network takes.

    `images` (n, h, w, 3) uint8 → (n, 3, size, size) of `dtype` in channels-last layout on `device`. Images of another
    size are resized (bilinear, antialiased, the aspect ratio not kept). Raises ValueError for other shapes or dtypes.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"images must be (n, h, w, 3) uint8, not {tuple(images.shape)} {images.dtype}")
    # Moved as bytes: a quarter of the traffic of float32.
    pixels = images.to(device).permute(0, 3, 1, 2).float()
    if pixels.shape[2:] != (spec.size, spec.size):
        pixels = nn.functional.interpolate(pixels, (spec.size, spec.size), mode="bilinear", antialias=True)
    mean = torch.tensor(spec.mean, device=device).view(3, 1, 1)
    std = torch.tensor(spec.std, device=device).view(3, 1, 1)
    return ((pixels / 255 - mean) / std).to(dtype).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def embed_faces(
    module: nn.Module,
    spec: InputSpec,
    images: Images,
    batch_size: int = 8,
) -> Float32Array:
    """Return a network's output for every face: embeddings, or logits if it has a head.

    `images`: n RGB faces of any sizes, see `Images`. Returns (n, d) float32, d = `feature_size(module)` or the number
    of classes. Computed on the module's device, as it is; `Embedder` is faster. Raises ValueError if the module is in
    training mode, where batch normalisation would mix the faces of a batch and then remember them.
    """
    if module.training:
        raise ValueError("the network is in training mode; call its .eval() first")
    device = next(module.parameters()).device
    width = int(cast(int, module.num_classes)) or feature_size(module)
    outputs = [np.empty((0, width), np.float32)]
    for start in range(0, len(images), batch_size):
        batch = normalise_all(images[start : start + batch_size], spec, device)
        outputs.append(module(batch).cpu().numpy())
    return np.concatenate(outputs)


def normalise_all(images: Images, spec: InputSpec, device: torch.device) -> torch.Tensor:
    """Turn a batch of RGB faces, of one size or of several, into (n, 3, size, size) float32."""
    if len({image.shape for image in images}) == 1:
        return normalise(torch.from_numpy(np.stack(list(images))), spec, device)
    return torch.cat([normalise(torch.from_numpy(image[None].copy()), spec, device) for image in images])
