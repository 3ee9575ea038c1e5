"""Build any timm model with its weights, and embed faces with it."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

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


class TimmModel(Protocol):
    """What timm adds to `nn.Module`, which declares every unknown attribute a tensor or a module."""

    pretrained_cfg: dict[str, tuple[float, float, float]]
    """Among others `input_size`, `mean` and `std`."""
    feature_info: list[dict[str, str]]

    def get_classifier(self) -> nn.Module | tuple[nn.Module, ...]:
        """Return the head, or the two heads of a network made for distillation."""

    def group_matcher(self, coarse: bool) -> dict[str, object]:
        """Return how the names of parameters map to groups of layers."""


@dataclass(frozen=True)
class InputSpec:
    """The input of a network: squares of `size` pixels; RGB from 0 to 1, minus `mean`, divided by `std`, per channel."""

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

    `weights` "auto" takes the file of an installed pip package if there is one for the model, else the Hugging Face hub;
    "package" and "hub" insist on one of them; "random" loads none; anything else is the path of a `.safetensors` or
    `.pth` file. With `num_classes` 0 the network returns the pooled features, otherwise logits. If the weights have no head
    for that number of classes, the head is random (torch's global generator). Random weights without a head are always the
    same, so that several processes embed alike. `drop_rate` is the dropout before the head; `image_size` is in pixels, None
    for the model's own; `field` is the setting that messages name. Raises ConfigurationError if timm does not know the name
    or cannot build the model, and WeightsError if the weights cannot be found or loaded.
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
    """Raise ConfigurationError, with the closest names, if timm has no such model or no such tag of its weights."""
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        remedy = f"did you mean {', '.join(close)}?" if close else "timm.list_models() lists the names"
        raise ConfigurationError(f"timm {timm.__version__} has no model named {name!r}; {remedy}")
    architecture, _, tag = name.partition(".")
    if tag and name not in timm.list_models(f"{architecture}.*", pretrained=True):
        tags = timm.list_models(f"{architecture}.*", pretrained=True)
        raise ConfigurationError(f"timm has no weights {name!r}; it has {', '.join(tags) or 'none of that model'}")


def build_model(name: str, options: dict[str, Any]) -> nn.Module:
    """Return a timm model with random weights. Raises ConfigurationError if the model refuses an option."""
    try:
        return timm.create_model(name, pretrained=False, **options)
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        settings = ", ".join(f"{key}={value}" for key, value in options.items())
        raise ConfigurationError(f"{name} cannot be built with {settings}: {sources.first_line(error)}") from error


@contextlib.contextmanager
def fix_seed() -> Iterator[None]:
    """Seed torch inside the block, and restore the global generator after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def read_input_spec(module: nn.Module, image_size: int | None) -> InputSpec:
    """Return the input that a timm model's configuration asks for, at `image_size` pixels if given."""
    config = cast("TimmModel", module).pretrained_cfg
    mean, std = (cast("tuple[float, float, float]", tuple(map(float, values))) for values in (config["mean"], config["std"]))
    return InputSpec(image_size or int(config["input_size"][-1]), mean, std)


def feature_size(module: nn.Module) -> int:
    """Return the number of pooled features of a timm model, which is the length of its embeddings."""
    # Some models have a layer between pooling and head. timm's `num_features` is the width before it.
    return int(cast(int, getattr(module, "head_hidden_size", None) or module.num_features))


def normalise(
    images: torch.Tensor, spec: InputSpec, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Turn RGB images into the input of a network.

    `images` is (n, h, w, 3) uint8. Returns (n, 3, size, size) of `dtype` in channels-last layout on `device`. Images of
    another size are resized (bilinear, antialiased; the aspect ratio is not kept). Raises ValueError for other shapes or
    dtypes.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"images must be (n, h, w, 3) uint8, not {tuple(images.shape)} {images.dtype}")
    # Moved as bytes, a quarter of the size of float32.
    pixels = images.to(device).permute(0, 3, 1, 2).float()
    if pixels.shape[2:] != (spec.size, spec.size):
        pixels = nn.functional.interpolate(pixels, (spec.size, spec.size), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (spec.mean, spec.std))
    return ((pixels / 255 - mean) / std).to(dtype).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def embed_faces(module: nn.Module, spec: InputSpec, images: Images, batch_size: int = 8) -> Float32Array:
    """Return a network's output for every face: embeddings, or logits if it has a head.

    `images` are n RGB faces of any sizes (see `Images`). Returns (n, d) float32, where d is `feature_size(module)` or the
    number of classes. Runs on the module's device; `Embedder` is faster. Raises ValueError in training mode.
    """
    check_eval(module)
    device = next(module.parameters()).device
    width = int(cast(int, module.num_classes)) or feature_size(module)
    batches = (normalise_all(images[i : i + batch_size], spec, device) for i in range(0, len(images), batch_size))
    return np.concatenate([np.empty((0, width), np.float32), *(module(batch).cpu().numpy() for batch in batches)])


def check_eval(module: nn.Module) -> None:
    """Raise ValueError in training mode, where batch normalisation mixes the faces of a batch and remembers them."""
    if module.training:
        raise ValueError("the network is in training mode; call its .eval() first")


def normalise_all(images: Images, spec: InputSpec, device: torch.device) -> torch.Tensor:
    """Turn a batch of RGB faces, of one size or of several, into (n, 3, size, size) float32."""
    if len({image.shape for image in images}) == 1:
        return normalise(torch.from_numpy(np.stack(list(images))), spec, device)
    return torch.cat([normalise(torch.from_numpy(image[None].copy()), spec, device) for image in images])
