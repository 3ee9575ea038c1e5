"""Choose the device of the analysis."""

from __future__ import annotations

from typing import Literal

from dfd_ray.errors import ResourceError

Device = Literal["cpu", "cuda"]


def choose_device(requested: str = "auto") -> Device:
    """Choose the device of t-SNE and HDBSCAN: "cuda" if a GPU and cuML are usable, otherwise "cpu".

    `requested` is "auto", "cpu" or "cuda". Raises ResourceError if "cuda" is requested but not usable, and
    ValueError for another word.
    """
    if requested not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {requested!r}")
    if requested == "cpu":
        return "cpu"
    obstacle = _find_cuda_obstacle()
    if obstacle is None:
        return "cuda"
    if requested == "cuda":
        raise ResourceError(f"analyze.device=cuda: {obstacle}; use --set analyze.device=cpu")
    return "cpu"


def check_device(device: str) -> None:
    """Raise ValueError unless the device is "cpu" or "cuda"."""
    if device not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu or cuda (see choose_device), got {device!r}")


def _find_cuda_obstacle() -> str | None:
    """Return in a few words why cuML cannot be used; None if it can."""
    import torch

    # The GPU is checked first, because cuML cannot be imported without one.
    if not torch.cuda.is_available():
        return "no CUDA GPU is visible"
    try:
        import cuml  # noqa: F401
    except ImportError:
        return "cuML is not installed"
    # If the driver is too old, the first CUDA library that needs it raises an exception of its own type.
    except Exception as error:
        return f"cuML cannot be imported ({' '.join(str(error).split()) or type(error).__name__})"
    return None
