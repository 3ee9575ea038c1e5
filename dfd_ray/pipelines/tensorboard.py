"""The metrics of training for TensorBoard, which is an extra: `pip install 'dfd-ray[tensorboard]'`."""

from __future__ import annotations

import importlib.util
from typing import Any

from dfd_ray.errors import ConfigurationError
from dfd_ray.storage import join


def check_tensorboard() -> None:
    """Raise ConfigurationError where the package is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigurationError("train.tensorboard = true needs a package: pip install 'dfd-ray[tensorboard]'")


def write_epoch(run: str, fold: int, metrics: dict[str, Any]) -> None:
    """Add an epoch's numbers to `<run>/tensorboard/fold-N/`, on a local disk or wherever TensorBoard itself can write."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(join(run, "tensorboard", f"fold-{fold}")) as writer:
        for name, value in metrics.items():
            if name != "epoch" and value is not None:
                writer.add_scalar(name, value, metrics["epoch"])
