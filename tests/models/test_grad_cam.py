from __future__ import annotations

import numpy as np
import pytest
import torch

from dfd_ray.errors import ConfigurationError
from dfd_ray.models.backbones import InputSpec, create_backbone
from dfd_ray.models.grad_cam import check_grad_cam, explain_face, paint_heat


class Brightness(torch.nn.Module):
    """A network to which a face is the more FAKE the brighter it is."""

    feature_info = [{"module": "stage"}]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.stage = torch.nn.Sequential(torch.nn.AvgPool2d(8), torch.nn.Conv2d(3, 1, 1, bias=False))
        torch.nn.init.ones_(self.stage[1].weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        brightness = self.stage(images).mean((2, 3))
        return torch.cat([-brightness, brightness], dim=1)


def test_heat_colours_only_where_it_is() -> None:
    face = np.full((8, 8, 3), 100, np.uint8)
    heat = np.zeros((8, 8), np.float32)
    heat[2, 3] = 1
    painted = paint_heat(face, heat)
    assert painted.dtype == np.uint8
    changed = np.argwhere((painted != face).any(axis=2)).tolist()
    assert changed == [[2, 3]]
    red, green, blue = painted[2, 3].tolist()
    assert red > max(green, blue)


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install grad-cam$"):
        check_grad_cam()


def test_the_place_that_speaks_for_fake_is_found() -> None:
    pytest.importorskip("pytorch_grad_cam", reason="an extra: pip install -e '.[explain]'")
    module = Brightness().eval()
    face = np.zeros((64, 64, 3), np.uint8)
    face[8:24, 40:56] = 255
    heat = explain_face(module, InputSpec(64, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), face)
    assert heat.shape == (64, 64)
    assert heat.dtype == np.float32
    assert heat[16, 48] == pytest.approx(1, abs=0.05)
    assert heat[40:].max() < 0.05
    with pytest.raises(ConfigurationError, match="convolutional"):
        explain_face(*create_backbone("test_vit", weights="random", num_classes=2), face)
