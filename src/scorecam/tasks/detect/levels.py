"""The grid of the pyramid's level that a box came from."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from scorecam.tasks.detect.detections import Detections, intersection_over_union
from scorecam.tasks.detect.pyramid import BOXES_PER_CELL

STRIDES = (4, 8, 16, 32, 64, 128)


def grid_of(
    found: Detections, box: Tensor, kind: Tensor, size: Sequence[int]
) -> tuple[int, ...] | None:
    """The grid of the level of a box's best match; None if the levels are not known.

    Args:
        found: the detections of one image.
        box: `4`.
        kind: its class, a tensor without axes.
        size: (height, width) of the input.
    """
    if found.levels is None:
        return None
    proposed = found.boxes.float()
    overlaps = intersection_over_union(proposed, box[None].to(proposed))
    scores = overlaps * found.probability_of(kind[None].to(proposed.device)).float()
    level = found.levels[scores[0, 0].argmax()]
    boxes = int((found.levels == level).sum())
    for per_cell in BOXES_PER_CELL:
        for stride in STRIDES:
            grid = tuple(math.ceil(side / stride) for side in size)
            if per_cell * math.prod(grid) == boxes:
                return grid
    return None
