"""The score of a box in a masked image: its best match there."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scorecam.base.wording import constructor
from scorecam.shapes import BatchedScores
from scorecam.tasks.detect.decoder import Decoder
from scorecam.tasks.detect.detections import Detections, intersection_over_union

LARGEST = 2**18
"""Pairs of boxes that are compared at once, unless one box has more: they fit into the cache."""


@dataclass(frozen=True, eq=False)
class BoxScores:
    """A readout: for each box, its best match among the detections.

        score of box t = max over detections d of IoU(t, d) · p_d(class of t)

    Detections count whatever their probability is, and before non-maximum suppression where the
    detector returns them, so that the score changes smoothly with the image.

    Args:
        decoder: of the model's output.
        boxes: `n 4`.
        classes: `n`, the class of each box.
    """

    decoder: Decoder
    boxes: Tensor
    classes: Tensor

    __repr__ = constructor

    @property
    def trace_key(self) -> Hashable:
        """Every box is read from the same tensors."""
        return "detect", self.decoder

    def __call__(self, output: Any) -> BatchedScores:
        return best_matches(self.decoder.decode(output), self.boxes, self.classes)


def best_matches(found: Detections, boxes: Tensor, classes: Tensor) -> BatchedScores:
    """The score of each box in each image, `b n`; see `BoxScores`.

    Args:
        boxes: `n 4`.
        classes: `n`.
    """
    proposed = found.boxes.float()
    boxes = boxes.to(proposed.device, torch.float32)
    classes = classes.to(proposed.device)
    batch, count = proposed.shape[:2]
    if count == 0:
        return proposed.new_zeros(batch, len(boxes))
    step = max(1, LARGEST // (batch * count))
    parts: list[Tensor] = []
    for some, kinds in zip(boxes.split(step), classes.split(step), strict=True):
        overlaps = intersection_over_union(proposed, some)
        parts.append((overlaps * found.probability_of(kinds).float()).amax(-1))
    return torch.cat(parts, dim=1)
