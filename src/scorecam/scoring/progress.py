"""How far the scoring of masks has come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scorecam.base.wording import constructor
from scorecam.shapes import Heatmap


@dataclass(frozen=True)
class Progress:
    """How far a computation has come.

    Args:
        done: the number of masked images scored so far, including the empty image.
        total: the number to score. With a reduced budget, an upper bound.
        heatmap: with a reduced budget, the first image's map as estimated so far (`*i` float32,
            not scaled). It becomes more accurate from call to call.
    """

    done: int
    total: int
    heatmap: Heatmap | None = None

    __repr__ = constructor


OnProgress = Callable[[Progress], None]
