"""Area resampling of many boxes of many frames at once, exactly as `adaptive_avg_pool2d` does it one at a time.

A summed-area table (Crow, 1984) turns the mean over any rectangle into four look-ups, so the thousands of candidate
crops of a batch become one indexed read. Sums are 32-bit integers: exact, and where they wrap around, the difference
of four of them does not.
"""

from __future__ import annotations

import torch
from torch import Tensor


def summed_area(frames: Tensor) -> Tensor:
    """Return the summed-area table of frames (b, h, w, 3) uint8 as (b, h + 1, w + 1, 3) int32."""
    batch, height, width, channels = frames.shape
    table = torch.zeros((batch, height + 1, width + 1, channels), dtype=torch.int32, device=frames.device)
    inner = table[:, 1:, 1:]
    torch.cumsum(frames, dim=1, dtype=torch.int32, out=inner)
    torch.cumsum(inner, dim=2, out=inner)
    return table


def resize_frames(table: Tensor, height: int, width: int) -> Tensor:
    """Return whole frames resized to (b, 3, height, width) float32, channels last in memory."""
    top, bottom = _bins(torch.zeros(1, device=table.device), torch.full((1,), table.shape[1] - 1.0), height)
    left, right = _bins(torch.zeros(1, device=table.device), torch.full((1,), table.shape[2] - 1.0), width)
    # Rows first: whole rows are read in one piece, and only the few that remain are read column by column.
    rows = table.index_select(1, bottom[0]) - table.index_select(1, top[0])
    sums = rows.index_select(2, right[0]) - rows.index_select(2, left[0])
    area = ((bottom - top)[0, :, None] * (right - left)[0, None, :]).unsqueeze(-1)
    return (sums / area).permute(0, 3, 1, 2)


def resize_boxes(table: Tensor, frame: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Return the content of boxes, each resized to (n, 3, size, size) float32, channels last in memory.

    `frame` (n,) int64 says which frame of the table each box is of; `boxes` (n, 4) are x1, y1, x2, y2 in whole pixels,
    x2 and y2 exclusive, inside the frame and not empty.
    """
    left, right = _bins(boxes[:, 0], boxes[:, 2], size)
    top, bottom = _bins(boxes[:, 1], boxes[:, 3], size)
    image = frame[:, None, None]
    sums = (
        table[image, bottom[:, :, None], right[:, None, :]]
        - table[image, top[:, :, None], right[:, None, :]]
        - table[image, bottom[:, :, None], left[:, None, :]]
        + table[image, top[:, :, None], left[:, None, :]]
    )
    area = ((bottom - top)[:, :, None] * (right - left)[:, None, :]).unsqueeze(-1)
    return (sums / area).permute(0, 3, 1, 2)


def _bins(start: Tensor, end: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return where adaptive pooling's `size` bins begin and end: floor(i L / size) and ceil((i + 1) L / size)."""
    start = start.to(torch.int64)[:, None]
    length = end.to(start)[:, None] - start
    step = torch.arange(size, device=start.device)
    return start + step * length // size, start - (-(step + 1) * length // size)
