"""Embed many faces fast: by OpenVINO on a CPU, by torch on a GPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import cache
from typing import Literal

import numpy as np
import openvino as ov
import torch
from torch import nn

from dfd_ray.arrays import Float32Array
from dfd_ray.errors import ResourceError
from dfd_ray.models.backbones import Images, InputSpec, check_eval, feature_size, normalise_all

Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, Precision] = ("fp32", "bf16")
CPU_BATCH = 2
"""Faces at once on a CPU. More do not fit the cache: with 8, B7 in bf16 takes a tenth longer."""
LEAST_COSINE = 0.999
"""Mean cosine similarity to fp32 below which bf16 is too coarse. Pretrained EfficientNet-Lite0 has 0.9986."""


@cache
def native_precision(device: str) -> Precision:
    """Return the fastest precision that "cpu" or "cuda" of this machine has in hardware: bf16, else fp32."""
    if device == "cpu":
        has_bf16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    else:
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_bf16 else "fp32"


def choose_precision(
    module: nn.Module, spec: InputSpec, images: Images, *, device: str = "cpu"
) -> tuple[Precision, float | None]:
    """Return bf16 if the device has it and the vectors of some faces hardly change, else fp32; and the similarity measured.

    The similarity is the mean cosine of the faces' vectors in bf16 and in fp32. It is None if it was not measured, without
    bf16 or without faces. It has to be measured because the architecture does not show which weights suffer from bf16.
    """
    if native_precision(device) == "fp32" or not len(images):
        return "fp32", None
    exact, coarse = (Embedder(module, spec, device=device, precision=each)(images) for each in PRECISIONS)
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(coarse, axis=1)
    cosine = float(((exact * coarse).sum(axis=1) / lengths).mean())
    return ("bf16" if cosine >= LEAST_COSINE else "fp32"), cosine


class Embedder:
    """Turns faces into vectors. On a CPU, the vector of a face does not depend on the other faces of its batch, to the bit.

    `module` is a timm model without a head, in eval mode, on the CPU; `spec` is its input. A GPU takes `batch_size` faces at
    once, a CPU `CPU_BATCH`, on `torch.get_num_threads()` threads. Raises ValueError in training mode, and ResourceError for
    bf16 on a device without it.
    """

    def __init__(
        self, module: nn.Module, spec: InputSpec, *, device: str = "cpu", precision: Precision = "fp32", batch_size: int = 64
    ) -> None:
        check_eval(module)
        if precision == "bf16" and native_precision(device) != "bf16":
            raise ResourceError(f"this machine's {device} does not compute in bf16; --set embed.precision=fp32")
        self.spec = spec
        self.device = torch.device(device)
        self.batch_size = CPU_BATCH if device == "cpu" else batch_size
        self.dimensions = feature_size(module)
        if device == "cpu":
            self.net = _compile_for_cpu(module, spec.size, precision)
        else:
            self.net = _compile_for_gpu(module.to(self.device), self.device, precision)

    def __call__(self, images: Images) -> Float32Array:
        """Return the vectors (n, d) float32 of n RGB faces of any sizes, see `Images`."""
        starts = range(0, len(images), self.batch_size)
        return self.run(self.prepare(images[start : start + self.batch_size]) for start in starts)

    def prepare(self, images: Images) -> torch.Tensor:
        """Turn at most `batch_size` faces into the network's input, on its device; may be called in another thread."""
        return normalise_all(images, self.spec, self.device)

    def run(self, batches: Iterable[torch.Tensor]) -> Float32Array:
        """Return the vectors (n, d) float32 of faces in batches from `prepare`."""
        return np.concatenate([np.empty((0, self.dimensions), np.float32), *map(self.net, batches)])


def _compile_for_gpu(module: nn.Module, device: torch.device, precision: Precision) -> Callable[[torch.Tensor], Float32Array]:
    @torch.inference_mode()
    def run(batch: torch.Tensor) -> Float32Array:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            vectors: Float32Array = module(batch).float().cpu().numpy()
        return vectors

    return run


def _compile_for_cpu(module: nn.Module, size: int, precision: Precision) -> Callable[[torch.Tensor], Float32Array]:
    example = torch.zeros(CPU_BATCH, 3, size, size)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's, about shapes that are constant here
        # Traced and frozen here because `convert_model` would run the network again to check the trace.
        frozen = torch.jit.freeze(torch.jit.trace(module, example, check_trace=False))  # type: ignore[no-untyped-call]
        model = ov.convert_model(frozen, example_input=example)
    model.reshape(list(example.shape))
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "ENABLE_CPU_PINNING": False,
    }
    request = ov.compile_model(model, "CPU", settings).create_infer_request()

    def run(batch: torch.Tensor) -> Float32Array:
        # Always one shape: another is computed in another order, and differs in the last bits.
        missing = CPU_BATCH - len(batch)
        full = torch.cat([batch, batch[-1:].expand(missing, -1, -1, -1)]) if missing else batch
        vectors: Float32Array = request.infer([full.contiguous().numpy()])[0][: len(batch)].copy()
        return vectors

    return run
