"""Means over images, with intervals.

Intervals are 95 % percentile bootstrap intervals of the mean (Efron 1979), resampling images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scorecam.io.extras import require

RESAMPLES = 9_999
AT_ONCE = 4_000_000
"""The number of values in memory at a time while resampling."""


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval.

    Args:
        mean: NaN without values.
        low, high: NaN with fewer than two values.
        n: the number of values.
    """

    mean: float
    low: float
    high: float
    n: int

    def plain(self) -> dict[str, float | int | None]:
        """The interval as JSON values; JSON has no NaN, so an unknown number is null."""
        return {key: None if math.isnan(value) else value for key, value in asdict(self).items()}

    def excludes(self, value: float = 0.0) -> bool:
        """Whether `value` is outside the interval."""
        return self.low > value or self.high < value


def interval(
    values: Sequence[float], *, clusters: Sequence[str] | None = None, seed: int = 0
) -> Interval:
    """The mean of some numbers, and its 95 % interval.

    Args:
        values: one per image, all finite.
        clusters: the cluster of each image, if images are not independent. Then whole clusters are
            resampled instead of images.
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
    sums, counts = array, np.ones_like(array)
    if clusters is not None:
        _, cluster = np.unique(np.asarray(clusters), return_inverse=True)
        sums, counts = np.bincount(cluster, array), np.bincount(cluster).astype(np.float64)
        if len(sums) == 1:
            return Interval(mean, math.nan, math.nan, len(array))

    def ratio(sums: Any, counts: Any, axis: int = -1) -> Any:
        return sums.sum(axis=axis) / counts.sum(axis=axis)

    result: Any = _scipy_stats().bootstrap(
        (sums, counts),
        ratio,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, AT_ONCE // len(sums)),
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Interval(mean, float(low), float(high), len(array))


def paired(
    one: Sequence[float],
    other: Sequence[float],
    *,
    clusters: Sequence[str] | None = None,
) -> Interval:
    """The mean of `one − other`, image by image, and its 95 % interval."""
    return interval(np.subtract(one, other).tolist(), clusters=clusters)


def wilson(successes: int, trials: int) -> Interval:
    """A rate and its 95 % interval (Wilson 1927), which stays within [0, 1]."""
    if trials == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    z = 1.959963984540054
    rate = successes / trials
    middle = (rate + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = math.sqrt(rate * (1 - rate) / trials + z**2 / (4 * trials**2))
    half *= z / (1 + z**2 / trials)
    return Interval(rate, middle - half, middle + half, trials)


def _scipy_stats() -> Any:
    return require("scipy.stats", "eval", "compute intervals")
