"""Area resampling of many boxes of many frames at once, with the results of `adaptive_avg_pool2d`, which takes one at a time.

A summed-area table (Crow, 1984) gives the mean over any rectangle by four look-ups, so the thousands of candidate crops
of a batch become one indexed read. Sums are 32-bit integers and exact: where they wrap around, the difference of four of
them is still right.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from dfd_ray.arrays import Image


def summed_area(frames: Sequence[Image], device: torch.device) -> Tensor:
    """Return the summed-area table of frames, each (h, w, 3) uint8, as (b, h + 1, w + 1, 3) int32 on a device."""
    if device.type == "cpu":  # OpenCV takes a tenth of the time of two torch.cumsum
        tables = [torch.from_numpy(cv2.integral(frame, sdepth=cv2.CV_32S)) for frame in frames]
        return torch.stack(tables) if len(tables) > 1 else tables[0][None]
    return _accumulate(torch.from_numpy(np.stack(frames)).to(device))


def _accumulate(frames: Tensor) -> Tensor:
    batch, height, width, channels = frames.shape
    table = torch.zeros((batch, height + 1, width + 1, channels), dtype=torch.int32, device=frames.device)
    inner = table[:, 1:, 1:]
    torch.cumsum(frames, dim=1, dtype=torch.int32, out=inner)
    torch.cumsum(inner, dim=2, out=inner)
    return table


def resize_frames(table: Tensor, height: int, width: int) -> Tensor:
    """Return whole frames resized to (b, 3, height, width) float32, channels last in memory."""
    edges = torch.zeros(1, device=table.device)
    top, bottom = (bins[0] for bins in _bins(edges, edges + table.shape[1] - 1, height))
    left, right = (bins[0] for bins in _bins(edges, edges + table.shape[2] - 1, width))
    # Rows first: whole rows are read in one piece, and only the few that remain are read column by column. In place:
    # new memory for arrays of this size costs more time than the arithmetic.
    rows = table.index_select(1, bottom).sub_(table.index_select(1, top))
    sums = rows.index_select(2, right).sub_(rows.index_select(2, left))
    area = ((bottom - top)[:, None] * (right - left)).unsqueeze(-1)
    return (sums / area).permute(0, 3, 1, 2)


def resize_boxes(table: Tensor, frame: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Return the content of boxes, each resized to (n, 3, size, size) float32, channels last in memory.

    `frame` (n,) int64 is the frame of the table that each box is in; `boxes` (n, 4) are x1, y1, x2, y2 in whole pixels,
    x2 and y2 exclusive, inside the frame and not empty.
    """
    left, right = _bins(boxes[:, 0], boxes[:, 2], size)
    top, bottom = _bins(boxes[:, 1], boxes[:, 3], size)
    height, width = table.shape[1:3]
    pixels = table.reshape(-1, 3)
    above, below = ((frame[:, None] * height + rows) * width for rows in (top, bottom))
    shape = (len(frame), size, size, 3)

    def corner(rows: Tensor, columns: Tensor) -> Tensor:
        return pixels.index_select(0, (rows[:, :, None] + columns[:, None, :]).flatten()).reshape(shape)

    sums = corner(below, right) - corner(above, right) - corner(below, left) + corner(above, left)
    area = ((bottom - top)[:, :, None] * (right - left)[:, None, :]).unsqueeze(-1)
    return (sums / area).permute(0, 3, 1, 2)


def _bins(start: Tensor, end: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return where adaptive pooling's `size` bins begin and end: floor(i L / size) and ceil((i + 1) L / size)."""
    start = start.to(torch.int64)[:, None]
    length = end.to(start)[:, None] - start
    step = torch.arange(size, device=start.device)
    return start + step * length // size, start - (-(step + 1) * length // size)
