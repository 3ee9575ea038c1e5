from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from dfd_ray.faces.area import _accumulate, resize_boxes, resize_frames
from dfd_ray.faces.area import summed_area as summed_area_of

PIXEL_ERROR = 1e-4


def noise(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (batch, height, width, 3), dtype=np.uint8))


def summed_area(frames: Tensor) -> Tensor:
    return summed_area_of(list(frames.numpy()), torch.device("cpu"))


def random_boxes(count: int, height: int, width: int, seed: int) -> Tensor:
    random = np.random.default_rng(seed)
    x = np.sort(np.stack([random.permutation(width + 1)[:2] for _ in range(count)]), axis=1)
    y = np.sort(np.stack([random.permutation(height + 1)[:2] for _ in range(count)]), axis=1)
    return torch.tensor(np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1), dtype=torch.float32)


def pooled(frames: Tensor, frame: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Return each box resized by itself, by torch."""
    planes = frames.permute(0, 3, 1, 2).double()
    return torch.stack(
        [
            adaptive_avg_pool2d(planes[image, :, y1:y2, x1:x2], size)
            for image, (x1, y1, x2, y2) in zip(frame.tolist(), boxes.int().tolist(), strict=True)
        ]
    )


@pytest.mark.parametrize("size", [1, 24, 48])
@pytest.mark.parametrize(("height", "width"), [(90, 160), (160, 90), (37, 41)])
def test_boxes_of_several_frames_are_resized_as_torch_resizes_each(height: int, width: int, size: int) -> None:
    frames = noise(3, height, width)
    boxes = random_boxes(60, height, width, seed=size)
    frame = torch.arange(60) % 3
    result = resize_boxes(summed_area(frames), frame, boxes, size)
    assert result.shape == (60, 3, size, size)
    assert result.dtype == torch.float32
    assert (result - pooled(frames, frame, boxes, size)).abs().max() < PIXEL_ERROR


@pytest.mark.parametrize("box", [[5, 5, 6, 6], [5, 5, 7, 30], [0, 0, 40, 1], [39, 29, 40, 30], [0, 0, 40, 30], [3, 4, 26, 27]])
def test_a_box_smaller_than_its_bins_or_at_an_edge_is_resized_as_torch_does(box: list[int]) -> None:
    frames = noise(1, 30, 40, seed=1)
    boxes = torch.tensor([box], dtype=torch.float32)
    result = resize_boxes(summed_area(frames), torch.zeros(1, dtype=torch.int64), boxes, 24)
    assert (result - pooled(frames, torch.zeros(1, dtype=torch.int64), boxes, 24)).abs().max() < PIXEL_ERROR
    x1, y1, x2, y2 = box
    piece = frames[:, y1:y2, x1:x2].permute(0, 3, 1, 2).float()
    assert (result - interpolate(piece, size=(24, 24), mode="area")).abs().max() < PIXEL_ERROR


@pytest.mark.parametrize(("height", "width"), [(12, 12), (1, 1), (27, 48), (90, 160), (89, 159), (200, 200)])
def test_whole_frames_are_resized_as_torch_resizes_them(height: int, width: int) -> None:
    frames = noise(2, 90, 160, seed=2)
    result = resize_frames(summed_area(frames), height, width)
    expected = interpolate(frames.permute(0, 3, 1, 2).double(), size=(height, width), mode="area")
    assert result.shape == (2, 3, height, width)
    assert (result - expected).abs().max() < PIXEL_ERROR


def test_a_white_frame_whose_sum_exceeds_32_bits_is_still_white() -> None:
    frames = torch.full((1, 3000, 3000, 3), 255, dtype=torch.uint8)
    table = summed_area(frames)
    assert int(frames.sum(dtype=torch.int64)) // 3 > 2**31
    boxes = torch.tensor([[2900.0, 2900.0, 3000.0, 3000.0], [0.0, 0.0, 2000.0, 2900.0]])
    assert torch.equal(resize_boxes(table, torch.zeros(2, dtype=torch.int64), boxes, 48), torch.full((2, 3, 48, 48), 255.0))
    assert torch.equal(resize_frames(table, 12, 12), torch.full((1, 3, 12, 12), 255.0))


def test_the_table_holds_the_sum_above_and_left_of_every_pixel() -> None:
    frames = noise(2, 7, 9, seed=3)
    table = summed_area(frames)
    assert table.shape == (2, 8, 10, 3)
    assert (table[:, 0] == 0).all()
    assert (table[:, :, 0] == 0).all()
    assert torch.equal(table[1, 4, 5], frames[1, :4, :5].sum(dim=(0, 1)).int())


def test_no_boxes_give_no_crops() -> None:
    table = summed_area(noise(1, 20, 20))
    assert resize_boxes(table, torch.empty(0, dtype=torch.int64), torch.empty(0, 4), 24).shape == (0, 3, 24, 24)


@pytest.mark.parametrize(("height", "width"), [(37, 41), (120, 90)])
def test_a_gpu_would_make_the_same_table(height: int, width: int) -> None:
    frames = noise(3, height, width, seed=4)
    assert torch.equal(_accumulate(frames), summed_area(frames))
