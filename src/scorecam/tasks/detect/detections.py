"""What a detector says about a batch of images, and how far boxes overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from scorecam.base.wording import constructor

BatchedBoxes = Annotated[Tensor, "b m 4"]
"""m boxes per image, x1 y1 x2 y2 in pixels of the input."""


@dataclass(frozen=True, eq=False)
class Detections:
    """The boxes that a detector proposes for each image of a batch.

    Args:
        boxes: `b m 4`, x1 y1 x2 y2 in pixels of the input. Rows without a box have no area.
        probabilities: `b m n`, one per class. With `labels`, `b m 1`: that of the box's own class.
        labels: `b m`, the class of each box, if the detector keeps one class per box.
        levels: `m`, the level of the feature pyramid that each box came from, 0 for the finest;
            None if that is not known.
    """

    boxes: BatchedBoxes
    probabilities: Tensor
    labels: Tensor | None = None
    levels: Tensor | None = None

    __repr__ = constructor

    def probability_of(self, classes: Tensor) -> Tensor:
        """The probability of each of these classes in each box, `b k m`.

        Args:
            classes: `k`, indices.
        """
        rows = self.probabilities.mT
        if self.labels is None:
            return rows[:, classes]
        own = self.labels[:, None] == classes[:, None]
        return torch.where(own, rows, torch.zeros((), dtype=rows.dtype, device=rows.device))


def from_centres(boxes: Tensor) -> Tensor:
    """Boxes `… 4` of centre, width and height as x1 y1 x2 y2."""
    centre, half = boxes[..., :2], boxes[..., 2:4] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def intersection_over_union(found: Tensor, boxes: Tensor) -> Tensor:
    """How far boxes overlap, `… k m` in [0, 1]. Boxes that are not finite overlap with none.

    Args:
        found: `… m 4`.
        boxes: `k 4`.
    """
    x1, y1, x2, y2 = found[..., None, :, :].unbind(-1)
    left, top, right, bottom = boxes[:, None].unbind(-1)
    wide = torch.minimum(x2, right) - torch.maximum(x1, left)
    high = torch.minimum(y2, bottom) - torch.maximum(y1, top)
    shared = wide.clamp(min=0) * high.clamp(min=0)
    areas = (x2 - x1).clamp(min=0) * (y2 - y1).clamp(min=0)
    union = areas + (right - left) * (bottom - top) - shared
    return torch.nan_to_num(shared / union, nan=0.0, posinf=0.0, neginf=0.0)


def usable(boxes: Tensor) -> Tensor:
    """Whether boxes `… 4` are finite and have an area, `…` bool."""
    ordered = (boxes[..., 2] > boxes[..., 0]) & (boxes[..., 3] > boxes[..., 1])
    return ordered & boxes.isfinite().all(-1)
