"""Which device is chosen, and what importing the package costs."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest
import torch

from dfd_ray.analysis import choose_device
from dfd_ray.errors import ResourceError


def pretend(monkeypatch: pytest.MonkeyPatch, gpu: bool, cuml: ModuleType | None) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setitem(sys.modules, "cuml", cuml)  # None makes the import fail


def test_gpu_and_cuml(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, gpu=True, cuml=ModuleType("cuml"))
    assert [choose_device(), choose_device("cuda"), choose_device("cpu")] == ["cuda", "cuda", "cpu"]


@pytest.mark.parametrize(("gpu", "cuml", "reason"), [(False, ModuleType("cuml"), "no CUDA GPU"), (True, None, "not installed")])
def test_one_of_them_is_missing(monkeypatch: pytest.MonkeyPatch, gpu: bool, cuml: ModuleType | None, reason: str) -> None:
    pretend(monkeypatch, gpu, cuml)
    assert choose_device("auto") == "cpu"
    with pytest.raises(ResourceError, match=reason) as raised:
        choose_device("cuda")
    message = str(raised.value)
    assert "--set analyze.device=cpu" in message and "\n" not in message


def test_cuml_that_breaks_on_import(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "cuml":
                raise RuntimeError("driver\ntoo old")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delitem(sys.modules, "cuml", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert choose_device("auto") == "cpu"
    with pytest.raises(ResourceError, match="driver too old"):
        choose_device("cuda")


def test_cuml_is_not_touched_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delitem(sys.modules, "cuml", raising=False)
    choose_device("auto")
    assert "cuml" not in sys.modules


def test_unknown_device() -> None:
    with pytest.raises(ValueError, match="'gpu'"):
        choose_device("gpu")


def test_import_is_light() -> None:
    heavy = "{'ray', 'torch', 'sklearn', 'scipy', 'openTSNE', 'hdbscan', 'fast_hdbscan', 'numba', 'cuml', 'pandas'}"
    code = f"import sys, dfd_ray.analysis; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
