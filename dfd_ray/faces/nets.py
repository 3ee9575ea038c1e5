"""MTCNN's three nets with facenet-pytorch's weights, each run by the fastest library on the device."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache

import openvino as ov
import torch
from torch import Tensor, nn

Net = Callable[[Tensor], tuple[Tensor, ...]]
"""Takes (n, 3, h, w) float32 pixels in [-1, 1]; returns the outputs of facenet-pytorch's net, in its order."""


@cache
def load_nets(device: torch.device) -> tuple[Net, Net, Net]:
    """Return P-Net, R-Net and O-Net. On a CPU they run on OpenVINO, which takes half of torch's time for P-Net.

    Compiling takes some seconds, so a process does it once.
    """
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    nets = [net().eval().requires_grad_(False) for net in (PNet, RNet, ONet)]
    if device.type != "cpu":
        proposal, refine, output = (net.to(device, memory_format=torch.channels_last) for net in nets)
    else:
        proposal, refine, output = (_compile(net, side) for net, side in zip(nets, (None, 24, 48), strict=True))
    return proposal, refine, output


def _compile(net: nn.Module, side: int | None) -> Net:
    """Compile a net for the CPU; `side` is its input's in pixels, None for any."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about code that does not run here
        model = ov.convert_model(net, example_input=torch.zeros(1, 3, side or 48, side or 48))
    model.reshape([-1, 3, side or -1, side or -1])
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    request = ov.compile_model(model, "CPU", settings).create_infer_request()

    def run(pixels: Tensor) -> tuple[Tensor, ...]:
        outputs = request.infer([pixels.contiguous().numpy()])
        return tuple(torch.from_numpy(output) for output in outputs.values())

    return run
