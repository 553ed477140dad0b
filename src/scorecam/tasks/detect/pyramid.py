"""Which level of a feature pyramid each box came from."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

PYRAMIDS: tuple[tuple[int, ...], ...] = (
    (8, 16, 32),
    (8, 16, 32, 64),
    (4, 8, 16, 32),
    (16, 32),
    (8, 16, 32, 64, 128),
    (16, 32, 64),
    (8,),
    (16,),
    (32,),
)
"""Strides of the levels that detectors have, the finest first."""

BOXES_PER_CELL = (1, 3, 2, 9)
"""Boxes that a cell proposes: one, or one per anchor."""


def cells(size: Sequence[int], stride: int) -> int:
    """The number of cells of a level."""
    return math.prod(math.ceil(side / stride) for side in size)


def strides_of(size: Sequence[int], boxes: int) -> tuple[tuple[int, ...], int] | None:
    """The strides of a pyramid with this number of boxes, and the boxes of each cell.

    Args:
        size: (height, width) of the input.
    """
    for per_cell in BOXES_PER_CELL:
        for strides in PYRAMIDS:
            if per_cell * sum(cells(size, stride) for stride in strides) == boxes:
                return strides, per_cell
    return None


def levels_of(counts: Sequence[int], device: torch.device) -> Tensor | None:
    """The level of each box, `m`, if each level has this number of boxes; None without levels."""
    if not counts:
        return None
    rows = [torch.full((count,), level, device=device) for level, count in enumerate(counts)]
    return torch.cat(rows)


def counts_of(size: Sequence[int], boxes: int) -> tuple[tuple[int, ...], str]:
    """The number of boxes of each level, and a sentence part; both empty if it is not known."""
    found = strides_of(size, boxes)
    if found is None:
        return (), ""
    strides, per_cell = found
    counts = tuple(per_cell * cells(size, stride) for stride in strides)
    return counts, f" from levels of stride {', '.join(map(str, strides))}"
