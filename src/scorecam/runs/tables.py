"""The numbers behind tables and plots: rows of means, curves, and points of a sanity check."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorecam.base.wording import constructor
from scorecam.metrics.statistics import Interval
from scorecam.runs.markdown import Markdown, words


@dataclass(frozen=True)
class Row:
    """The mean of one outcome of one method over a group of photos.

    Args:
        group: "all", "small" or "large".
        found: the mean, or the mean difference, with its interval.
        against: for a difference, the method that is subtracted; None for a mean.
        undefined: photos for which the outcome has no value.
    """

    method: str
    outcome: str
    group: str
    found: Interval
    undefined: int = 0
    against: str | None = None

    __repr__ = constructor


@dataclass
class Curve:
    """The mean and the spread of many curves, without storing them."""

    count: int = 0
    total: Any = 0.0
    squares: Any = 0.0

    def add(self, curve: Sequence[float]) -> None:
        """Add a curve, unless its length differs from that of the others."""
        values = np.asarray(curve)
        if self.count and values.shape != self.total.shape:
            return
        self.count += 1
        self.total = self.total + values
        self.squares = self.squares + values**2

    def band(self) -> tuple[Any, Any]:
        """The mean curve, and half the width of its 95 % interval."""
        mean = self.total / self.count
        spread = np.sqrt(np.maximum(self.squares / self.count - mean**2, 0))
        return mean, 1.96 * spread / math.sqrt(max(self.count - 1, 1))


@dataclass(frozen=True)
class Point:
    """How similar the maps of another network and of the trained one are.

    Args:
        measure: spearman, ssim or hog.
        found: the mean similarity with its interval.
        undefined: photos with a constant map.
    """

    method: str
    mode: str
    stage: str
    measure: str
    found: Interval
    undefined: int

    __repr__ = constructor


CHANCE, ANOTHER = "chance", "another photo"
"""The mode and stage of a point that compares the trained network's maps of different photos."""


def in_words(found: Interval, sign: str = "") -> Markdown:
    """A mean and its interval as text.

    Args:
        sign: "+" for differences.
    """
    if not found.n:
        return words("–")
    mean, low, high = (f"{each:{sign}.3f}" for each in (found.mean, found.low, found.high))
    return words("{}", mean) if math.isnan(found.low) else words("{} [{}, {}]", mean, low, high)
