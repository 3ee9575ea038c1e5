"""The face detector: MTCNN's cascade of three nets, batched over candidates, on any device.

Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks" (2016), with
facenet-pytorch's weights and constants. Two things differ from facenet-pytorch's `MTCNN`. The candidates' crops are
taken in one indexed read instead of one call each (`area.py`); this moves no box. The image pyramid has the same levels,
but leaves out the finest ones, where only faces smaller than `smallest_face` could be found; this moves hardly a box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from dfd_ray.arrays import Float32Array, Image
from dfd_ray.faces.area import resize_boxes, resize_frames, summed_area
from dfd_ray.faces.nets import Net, load_nets

CELL = 12
"""Pixels; side of the square that P-Net judges at a time."""
STRIDE = 2
"""Pixels between P-Net's judgements."""
STOCK_SMALLEST = 20
"""Pixels; facenet-pytorch's `min_face_size`, at which its pyramid begins."""
PYRAMID_FACTOR = 0.709
"""Each level's size relative to the one before: half the area."""
NET_THRESHOLDS = (0.6, 0.7, 0.7)
"""Probability a candidate needs to pass P-Net, R-Net and O-Net."""
SEEDS = tuple((x, y) for x in (-0.25, 0.0, 0.25) for y in (-0.25, 0.0, 0.25))
"""Shifts, in sides of a followed face's square, of the places that R-Net judges. One place finds as many faces; nine, scattered
like P-Net's proposals, give boxes more like those of a whole search."""
CANDIDATES_AT_ONCE = 512
"""Crops a net judges in one call: this bounds memory."""


@dataclass(frozen=True, slots=True)
class Faces:
    """The faces of one frame, the most probable first."""

    boxes: Float32Array
    """(n, 4): x1, y1, x2, y2 in pixels; may reach past the frame's edge."""
    landmarks: Float32Array
    """(n, 5, 2): x, y in pixels of left eye, right eye, nose, left and right corner of the mouth, as seen in the picture."""
    probabilities: Float32Array
    """(n,): of being a face."""


class FaceDetector:
    """Finds the faces in frames.

    `smallest_face` is a share of the frame's shorter side: smaller faces may be missed, and most of the speed comes from
    that. `device` is any torch device.
    """

    def __init__(self, device: str = "cpu", smallest_face: float = 1 / 24) -> None:
        self.device = torch.device(device)
        self.smallest_face = smallest_face
        self.proposal, self.refine, self.output = load_nets(self.device)

    @torch.inference_mode()
    def detect(self, frames: Sequence[Image]) -> list[Faces]:
        """Return the faces of each frame. Frames are (h, w, 3) uint8 RGB, all of one size; otherwise ValueError."""
        if not frames:
            return []
        table = self._sum_areas(frames)
        height, width = table.shape[1] - 1, table.shape[2] - 1
        candidates = [self._propose(table, scale) for scale in self.list_scales(height, width)]
        return self._judge_seeds(table, *self._merge(candidates))

    @torch.inference_mode()
    def follow(self, frames: Sequence[Image], near: Sequence[Float32Array]) -> list[Faces]:
        """Return the faces of each frame that are where one is expected, at a tenth of the cost of `detect`.

        `near` has for each frame the boxes (n, 4) of its neighbours' faces. R-Net gets squares around these instead of
        P-Net's proposals, so it finds a face that has moved by up to a third of its side.
        """
        if not frames:
            return []
        boxes = torch.from_numpy(np.concatenate([np.reshape(boxes, (-1, 4)) for boxes in near])).to(self.device)
        counts = torch.tensor([len(boxes) for boxes in near], device=self.device)
        image = torch.arange(len(frames), device=self.device).repeat_interleave(counts)
        squares = _square(torch.cat([boxes, torch.ones_like(boxes[:, :1])], dim=1))
        shifts = torch.tensor(SEEDS, device=self.device).repeat(1, 2) * (squares[:, None, 2:3] - squares[:, None, :1])
        seeds = torch.cat([squares[:, None, :4] + shifts, squares[:, None, 4:].expand(-1, len(SEEDS), 1)], dim=2)
        return self._judge_seeds(self._sum_areas(frames), seeds.flatten(0, 1), image.repeat_interleave(len(SEEDS)))

    def _sum_areas(self, frames: Sequence[Image]) -> Tensor:
        if len({frame.shape for frame in frames}) > 1:
            raise ValueError(f"frames must be of one size, got {sorted({frame.shape for frame in frames})}")
        return summed_area(frames, self.device)

    def _judge_seeds(self, table: Tensor, boxes: Tensor, image: Tensor) -> list[Faces]:
        """Have R-Net and O-Net judge square boxes (n, 5), whose probability is not used, each of the frame in `image`."""
        boxes, image = self._refine(table, boxes, image)
        boxes, landmarks, image = self._locate(table, boxes, image)
        return [_sort_faces(boxes[image == i], landmarks[image == i]) for i in range(len(table))]

    def list_scales(self, height: int, width: int) -> list[float]:
        """Return the scales of facenet-pytorch's pyramid for frames of a size, from the first that is needed."""
        shorter = min(height, width)
        smallest = max(float(STOCK_SMALLEST), self.smallest_face * shorter)
        scale, levels = CELL / STOCK_SMALLEST, list[float]()
        while shorter * scale >= CELL:
            levels.append(scale)
            scale *= PYRAMID_FACTOR
        needed = [level for level in levels if CELL / level * (1 / PYRAMID_FACTOR) > smallest]
        return needed or levels[-1:]

    def _propose(self, table: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Return P-Net's candidates of one level: (n, 9) boxes, probability and offsets, and the frame of each."""
        offsets, probabilities = self.proposal(
            _normalise(resize_frames(table, *(int((side - 1) * scale + 1) for side in table.shape[1:3])))
        )
        passed = probabilities[:, 1] >= NET_THRESHOLDS[0]
        image, row, column = passed.nonzero(as_tuple=True)
        corner = STRIDE * torch.stack([column, row], dim=1).to(offsets.dtype)
        boxes = torch.cat(
            [
                ((corner + 1) / scale).floor(),
                ((corner + CELL) / scale).floor(),
                probabilities[:, 1][passed].unsqueeze(1),
                offsets.permute(0, 2, 3, 1)[passed],
            ],
            dim=1,
        )
        keep = batched_nms(boxes[:, :4], boxes[:, 4], image, 0.5)
        return boxes[keep], image[keep]

    def _merge(self, candidates: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Merge the candidates of all levels, move them by their offsets and make them square."""
        nothing = torch.empty((0, 9), device=self.device), torch.empty(0, dtype=torch.int64, device=self.device)
        boxes, image = (torch.cat(parts) for parts in zip(nothing, *candidates, strict=True))
        keep = batched_nms(boxes[:, :4], boxes[:, 4], image, 0.7)
        boxes, image = boxes[keep], image[keep]
        size = (boxes[:, 2:4] - boxes[:, :2]).repeat(1, 2)
        return _square(torch.cat([boxes[:, :4] + boxes[:, 5:9] * size, boxes[:, 4:5]], dim=1)), image

    def _refine(self, table: Tensor, boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        boxes, image, (offsets, probabilities) = _judge(self.refine, table, boxes, image, 24)
        passed = probabilities[:, 1] > NET_THRESHOLDS[1]
        boxes = torch.cat([boxes[passed, :4], probabilities[passed, 1:]], dim=1)
        image, offsets = image[passed], offsets[passed]
        keep = batched_nms(boxes[:, :4], boxes[:, 4], image, 0.7)
        return _square(_shift(boxes[keep], offsets[keep])), image[keep]

    def _locate(self, table: Tensor, boxes: Tensor, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        boxes, image, (offsets, points, probabilities) = _judge(self.output, table, boxes, image, 48)
        passed = probabilities[:, 1] > NET_THRESHOLDS[2]
        boxes = torch.cat([boxes[passed, :4], probabilities[passed, 1:]], dim=1)
        image, offsets, points = image[passed], offsets[passed], points[passed]
        # O-Net gives the five x, then the five y, as shares of the box's side.
        landmarks = points.reshape(len(points), 2, 5).transpose(1, 2) * _measure_sides(boxes)[:, None] + boxes[:, None, :2] - 1
        # The few that are left are compared one by one, on the CPU: on a GPU each comparison would wait for the device.
        boxes, landmarks, image = _shift(boxes, offsets).cpu(), landmarks.cpu(), image.cpu()
        keep = _suppress_contained(boxes, image, 0.7)
        return boxes[keep], landmarks[keep], image[keep]


def _judge(net: Net, table: Tensor, boxes: Tensor, image: Tensor, size: int) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Run a net on the boxes' content; drop boxes outside the frame."""
    height, width = table.shape[1] - 1, table.shape[2] - 1
    corners = boxes[:, :4].trunc()
    # facenet-pytorch counts pixels from 1 and includes the last, so a box begins one pixel before its x1.
    pixels = torch.cat(
        [corners[:, :2].clamp(min=1) - 1, corners[:, 2:].clamp(max=torch.tensor([width, height]).to(corners))], 1
    )
    inside = (pixels[:, 2:] > pixels[:, :2]).all(dim=1)
    boxes, image, pixels = boxes[inside], image[inside], pixels[inside]
    crops = [
        resize_boxes(table, image[i : i + CANDIDATES_AT_ONCE], pixels[i : i + CANDIDATES_AT_ONCE], size)
        for i in range(0, len(boxes), CANDIDATES_AT_ONCE)
    ]
    # The nets refuse an empty batch, so with nothing to judge they get a blank, whose output is dropped.
    parts = [net(_normalise(crop)) for crop in crops or [torch.zeros((1, 3, size, size), device=boxes.device)]]
    return boxes, image, tuple(torch.cat(output)[: len(boxes)] for output in zip(*parts, strict=True))


def _normalise(pixels: Tensor) -> Tensor:
    return (pixels - 127.5) * 0.0078125


def _measure_sides(boxes: Tensor) -> Tensor:
    return boxes[:, 2:4] - boxes[:, :2] + 1


def _shift(boxes: Tensor, offsets: Tensor) -> Tensor:
    """Move each corner by its offset, given as a share of the box's side."""
    return torch.cat([boxes[:, :4] + offsets * _measure_sides(boxes).repeat(1, 2), boxes[:, 4:]], dim=1)


def _square(boxes: Tensor) -> Tensor:
    """Grow the shorter side of each box about its centre."""
    size = boxes[:, 2:4] - boxes[:, :2]
    longer = size.amax(dim=1, keepdim=True)
    start = boxes[:, :2] + size * 0.5 - longer * 0.5
    return torch.cat([start, start + longer, boxes[:, 4:]], dim=1)


def _suppress_contained(boxes: Tensor, image: Tensor, threshold: float) -> Tensor:
    """Suppress non-maxima by intersection over the *smaller* area, so that a box inside a better one goes too."""
    # Of equal boxes the last wins, as in facenet-pytorch: O-Net's probability is often exactly 1.
    order = boxes[:, 4].argsort(stable=True).flip(0)
    first, last = boxes[order, :2], boxes[order, 2:4]
    start = torch.maximum(first[:, None], first[None])
    end = torch.minimum(last[:, None], last[None])
    area = _measure_sides(boxes[order]).prod(dim=1)
    overlap = (end - start + 1).clamp(min=0).prod(dim=2) / torch.minimum(area[:, None], area[None])
    rivals = (overlap > threshold) & (image[order][:, None] == image[order][None])
    keep: list[int] = []
    for candidate in range(len(order)):
        if not rivals[candidate, keep].any():
            keep.append(candidate)
    return order[keep]


def _sort_faces(boxes: Tensor, landmarks: Tensor) -> Faces:
    order = boxes[:, 4].argsort(descending=True, stable=True)
    boxes, landmarks = boxes[order], landmarks[order]
    return Faces(boxes[:, :4].numpy(), landmarks.numpy(), boxes[:, 4].numpy())
