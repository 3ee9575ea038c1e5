from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dfd_ray.config import load_config
from dfd_ray.report.images import reencode_base64
from dfd_ray.report.training_examples import write_examples
from dfd_ray.store.run import Run
from dfd_ray.store.storage import read_json


@pytest.mark.parametrize("recipe", ["none", "report", "best"])
def test_each_augmentation_is_shown_and_is_visible(draw_run: Callable[..., Path], tmp_path: Path, recipe: str) -> None:
    run = draw_run(tmp_path / "run")
    settings = [f"train.augmentation={recipe}", "train.self_blending=0.5", "train.mixup=0.5"]
    write_examples(Run(str(run), load_config(run / "config.yaml", settings)))
    examples = read_json(str(run / "models" / "examples.json"))["examples"]
    by_kind = {kind: [one for one in examples if one["kind"] == kind] for kind in ("augmentation", "self-blended", "mixed")}
    names = {one["name"] for one in by_kind["augmentation"]}
    expected = {
        "none": set(),
        "report": {"Image Compression", "To Gray", "Fancy PCA", "Affine"},
        "best": {"H264", "Downscale", "Coarse Dropout", "Motion Blur"},
    }
    assert expected[recipe] <= names
    assert bool(names) == (recipe != "none")
    assert "Resize" not in names
    assert len(by_kind["self-blended"]) == len(by_kind["mixed"]) == 4
    for one in examples:
        before, *after = one["pictures"]
        assert any(picture != before for picture in after), one["name"]
        assert reencode_base64(before, 60).startswith("data:image/jpeg;base64,")
