"""The boxes of the unmasked image: above the threshold, and one for each object."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scorecam.base.wording import constructor
from scorecam.tasks.detect.detections import Detections, intersection_over_union, usable

MOST_BOXES = 300
"""Boxes that are kept for one image."""

MOST_CANDIDATES = 30_000
"""Candidates that are compared, the most probable ones."""


@dataclass(frozen=True, eq=False)
class FoundBoxes:
    """The boxes of one image, the most probable first.

    Args:
        boxes: `n 4`.
        classes: `n`.
        scores: `n`, the probability of the class in the box.
        best: the highest probability of any box, above the threshold or not; 0 without a box.
    """

    boxes: Tensor
    classes: Tensor
    scores: Tensor
    best: float = 0.0

    __repr__ = constructor

    def __len__(self) -> int:
        return len(self.scores)


def find_boxes(found: Detections, threshold: float, overlap: float | None) -> FoundBoxes:
    """The boxes of the first image of a batch.

    Args:
        threshold: the probability that a box must exceed.
        overlap: of two boxes of one class that overlap by more than this, only the more probable
            one is kept; None if the detector has done this.
    """
    boxes, probabilities = found.boxes[0].float(), found.probabilities[0].float()
    probabilities = torch.where(usable(boxes)[:, None], probabilities, 0.0)
    best = float(probabilities.max()) if probabilities.numel() else 0.0
    rows, classes = (probabilities > threshold).nonzero().unbind(1)
    scores = probabilities[rows, classes]
    order = scores.argsort(descending=True, stable=True)[:MOST_CANDIDATES]
    rows, classes, scores = rows[order], classes[order], scores[order]
    if found.labels is not None:
        classes = found.labels[0, rows].long()
    kept = torch.arange(len(rows), device=rows.device)[:MOST_BOXES]
    if overlap is not None:
        kept = _suppressed(boxes[rows], classes, overlap)
    return FoundBoxes(boxes[rows[kept]].cpu(), classes[kept].cpu(), scores[kept].cpu(), best)


def _suppressed(boxes: Tensor, classes: Tensor, overlap: float) -> Tensor:
    """The candidates that remain, by index: class-wise non-maximum suppression.

    Args:
        boxes, classes: of candidates, the most probable first.
    """
    left = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    kept: list[int] = []
    while len(kept) < MOST_BOXES and bool(left.any()):
        first = int(left.int().argmax())
        kept.append(first)
        shared = intersection_over_union(boxes, boxes[first : first + 1])[0]
        left &= ~((shared > overlap) & (classes == classes[first]))
        left[first] = False
    return torch.tensor(kept, dtype=torch.long, device=boxes.device)
