"""Means with intervals: what many images say, and how surely.

Intervals are 95 % percentile bootstrap intervals of the mean (Efron 1979), resampling images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scorecam.errors import MissingExtra

RESAMPLES = 9_999
AT_ONCE = 4_000_000
"""Numbers that exist at a time while resampling."""


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval.

    Args:
        mean: NaN where there is nothing.
        low, high: NaN where there are fewer than two values.
        n: values.
    """

    mean: float
    low: float
    high: float
    n: int

    def excludes(self, value: float = 0.0) -> bool:
        """Whether `value` lies outside the interval."""
        return self.low > value or self.high < value


def interval(values: Sequence[float], *, seed: int = 0) -> Interval:
    """The mean of some numbers, and where it may lie.

    Args:
        values: one per image, all finite.
        seed: for resampling.
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(array.mean())
    if len(array) == 1:
        return Interval(mean, math.nan, math.nan, 1)
    if (array == array[0]).all():
        return Interval(mean, mean, mean, len(array))
    found: Any = _scipy_stats().bootstrap(
        (array,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, AT_ONCE // len(array)),
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = found.confidence_interval
    return Interval(mean, float(low), float(high), len(array))


def paired(one: Sequence[float], other: Sequence[float], *, seed: int = 0) -> Interval:
    """The mean of `one − other`, image by image, and where it may lie."""
    return interval(np.subtract(one, other).tolist(), seed=seed)


def _scipy_stats() -> Any:
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingExtra(
            "Intervals need scipy, which is not installed.", do="pip install 'scorecam[eval]'"
        ) from error
    return stats
