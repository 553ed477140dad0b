"""How close the map of a branch is to Score-CAM's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scorecam.base.interpolation import upsample
from scorecam.cam import scaled
from scorecam.metrics.similarity import pearson
from scorecam.shapes import Grid, Heatmap


@dataclass(frozen=True)
class Fidelity:
    """Pearson correlations with Score-CAM's scaled maps, over photos that nothing was fitted to.

    Args:
        photos: their number.
        mean: over the photos.
        low: the 5th percentile.
        worst: the smallest.
        variant: of Score-CAM.
        undefined: photos with a constant map, which have no correlation; they are not counted.
    """

    photos: int
    mean: float
    low: float
    worst: float
    variant: str
    undefined: int = 0

    @property
    def sentence(self) -> str:
        text = (
            f"Pearson correlation with Score-CAM ({self.variant}) on {self.photos} held-out "
            f"photos: mean {self.mean:.3f}, 5th percentile {self.low:.3f}, worst {self.worst:.3f}."
        )
        if self.undefined:
            text += f" {self.undefined} more had a constant map."
        return text


def likeness(grid: Grid, heatmap: Heatmap) -> float:
    """The correlation of a branch's map, upsampled, with a heatmap; NaN if one is constant."""
    return pearson(scaled(upsample(grid[None], heatmap.shape)[0]), scaled(heatmap))


def fidelity(values: Sequence[float], variant: str) -> Fidelity | None:
    """The summary; None if no photo has a correlation."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return None
    return Fidelity(
        photos=len(known),
        mean=float(np.mean(known)),
        low=float(np.quantile(known, 0.05)),
        worst=min(known),
        variant=variant,
        undefined=len(values) - len(known),
    )
