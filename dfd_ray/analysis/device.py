"""Where the analysis runs."""

from __future__ import annotations

from typing import Literal

from dfd_ray.errors import ResourceError

Device = Literal["cpu", "cuda"]

_REMEDY = "use --set analyze.device=cpu"


def choose_device(requested: str = "auto") -> Device:
    """Choose where t-SNE and HDBSCAN run: "cuda" if a GPU and cuML are both usable, otherwise "cpu".

    `requested` is "auto", "cpu" or "cuda". Raises ResourceError if "cuda" is requested and impossible, ValueError for
    any other word.
    """
    if requested not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {requested!r}")
    if requested == "cpu":
        return "cpu"
    obstacle = _find_cuda_obstacle()
    if obstacle is None:
        return "cuda"
    if requested == "cuda":
        raise ResourceError(f"analyze.device=cuda: {obstacle}; {_REMEDY}")
    return "cpu"


def check_device(device: str) -> None:
    """Raise ValueError unless the device is a resolved one: "cpu" or "cuda"."""
    if device not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu or cuda (see choose_device), got {device!r}")


def _find_cuda_obstacle() -> str | None:
    """Say in a few words why cuML cannot be used; None if it can."""
    import torch

    # The GPU is looked for first: cuML cannot even be imported on a machine that has none.
    if not torch.cuda.is_available():
        return "no CUDA GPU is visible"
    try:
        import cuml  # noqa: F401
    except ImportError:
        return "cuML is not installed"
    # A driver that is too old shows as whatever exception the first CUDA library that notices raises.
    except Exception as error:
        return f"cuML cannot be imported ({' '.join(str(error).split()) or type(error).__name__})"
    return None
