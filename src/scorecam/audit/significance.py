"""Rank tests, Holm's correction, and effect sizes.

Tests are one-sided and assume no distribution. With few photos, and shares of which most are 0, a
normal approximation finds differences where there are none, so small samples are tested exactly.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from scorecam.base.cached_property import cached_property
from scorecam.io.extras import require

TestedColumns = Annotated[npt.NDArray[np.float64], "n columns"]
Ranks = Annotated[npt.NDArray[np.float64], "n"]
Mask = Annotated[npt.NDArray[np.bool_], "n"]

EXACT_GROUP = 25
"""The rank test is exact up to this many values in the smaller group. Above, it uses a normal
distribution with the exact variance."""

EXACT_SIGNS = 50
"""The signed-rank test is exact up to this many differences, and approximate above."""

MAX_ADDITIONS = 1e8
"""The most additions in one exact test; ranks are made coarser to stay below."""

# ── many tests ───────────────────────────────────────────────────────────────────────────────


def holm(ps: Sequence[float]) -> list[float]:
    """The p values of a family of tests, corrected for their number (Holm 1979).

    The smallest is multiplied by m, the next by m − 1, and so on; they never decrease and are at
    most 1.
    """
    order = sorted(range(len(ps)), key=lambda place: ps[place])
    adjusted = [1.0] * len(ps)
    least = 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, ps[place] * (len(ps) - rank)))
        adjusted[place] = least
    return adjusted


def findable(floors: Sequence[float], alpha: float) -> list[bool]:
    """For each test of a family, whether it can become significant at all (Tarone 1990).

    Leaving out the others keeps the correction small.

    Args:
        floors: the smallest p that each test can have.
        alpha: the significance level of the family.
    """
    ordered, count = np.sort(floors), 1
    while np.searchsorted(ordered, alpha / count) > count:
        count += 1
    return [floor < alpha / count for floor in floors]


# ── two groups ───────────────────────────────────────────────────────────────────────────────


class Pool:
    """Values of many photos, in columns, to compare any of the photos with all others."""

    def __init__(self, values: TestedColumns) -> None:
        self._values = values

    @cached_property
    def _ranks(self) -> TestedColumns:
        return _stats().rankdata(self._values, axis=0)

    def compare(self, mine: Mask, min_delta: float = -1.0) -> tuple[list[float], list[float]]:
        """For each column, Cliff's delta and p of some photos against all others.

        Args:
            mine: whether each photo is one of them.
            min_delta: columns with a smaller delta are not tested; their p is 1.

        Returns:
            Cliff's delta (Cliff 1993), from −1 to 1: how much more often a value of these photos is
            above a value of the others than below it; 0 if one side is empty. And p of the
            Mann-Whitney test that the values of these photos are larger.
        """
        count, columns = int(mine.sum()), self._values.shape[1]
        others = len(mine) - count
        if not count or not others:
            return [0.0] * columns, [1.0] * columns
        ranks = np.concatenate([self._ranks[mine], self._ranks[~mine]])
        above = ranks[:count].sum(axis=0) - count * (count + 1) / 2
        deltas: list[float] = (2 * above / (count * others) - 1).tolist()
        ps = [
            _rank_sum_p(column, count) if delta >= min_delta else 1.0
            for column, delta in zip(ranks.T, deltas, strict=True)
        ]
        return deltas, ps


def _rank_sum_p(ranks: Ranks, count: int) -> float:
    """The probability that `count` random ranks have at least the sum of the first `count`."""
    few = min(count, len(ranks) - count)
    if few > EXACT_GROUP:
        spread = math.sqrt(count * (len(ranks) - count) / len(ranks) * float(ranks.var(ddof=1)))
        return _normal_tail(float(ranks[:count].sum()), count * float(ranks.mean()), spread)
    # Counting needs whole numbers: twice the ranks, or coarser ones if those are too many.
    levels = max(MAX_ADDITIONS / (len(ranks) * few**2), math.sqrt(MAX_ADDITIONS / few**3))
    scores = np.floor(2 * ranks * min(1.0, levels / (2 * len(ranks)))).astype(int)
    if few < count:  # if the larger group's sum is large, the smaller group's is small
        scores, drawn = scores.max() - scores, slice(count, None)
    else:
        scores, drawn = scores - scores.min(), slice(count)
    values, times = np.unique(scores, return_counts=True)
    ways = _ways(tuple(values.tolist()), tuple(times.tolist()), few)
    return float(ways[scores[drawn].sum() :].sum() / ways.sum())


@functools.lru_cache(maxsize=1024)
def _ways(scores: tuple[int, ...], times: tuple[int, ...], few: int) -> npt.NDArray[np.float64]:
    """The number of ways to draw `few` of the scores with a sum of 0, 1, 2 and so on.

    Cached, because classes of the same size share the result.

    Args:
        scores: distinct scores.
        times: how often each occurs.
        few: how many to draw.
    """
    size = few * max(scores) + 1
    table = np.zeros((few + 1, size))
    table[0, 0] = 1
    for score, often in zip(scores, times, strict=True):
        before = table.copy()
        for taken in range(1, min(often, few) + 1):
            reach = size - taken * score
            ways = float(math.comb(often, taken))
            table[taken:, size - reach :] += ways * before[: few + 1 - taken, :reach]
    return table[few]


# ── one group ────────────────────────────────────────────────────────────────────────────────


def positive(values: Sequence[float]) -> float:
    """The p of Wilcoxon's signed-rank test that values are above 0; zeros are left out."""
    known = np.array([value for value in values if value != 0])
    if not len(known):
        return 1.0
    ranks = _stats().rankdata(np.abs(known))
    above = float(ranks[known > 0].sum())
    if len(known) > EXACT_SIGNS:
        return _normal_tail(above, float(ranks.sum()) / 2, math.sqrt(float((ranks**2).sum()) / 4))
    ways = np.ones(1)
    for score in (2 * ranks).astype(int):  # ties have half ranks
        ways = np.pad(ways, (0, score)) + np.pad(ways, (score, 0))
    return float(ways[round(2 * above) :].sum() / ways.sum())


def floor(values: Sequence[float]) -> float:
    """The smallest p that `positive` can have for this many values: with all above 0."""
    return 0.5 ** sum(value != 0 for value in values)


def _normal_tail(value: float, mean: float, spread: float) -> float:
    """The upper tail of a normal distribution, with continuity correction for steps of a half."""
    if not spread > 0:
        return 1.0
    return 0.5 * math.erfc((value - 0.5 - mean) / (spread * math.sqrt(2)))


# ── tables and correlations ─────────────────────────────────────────────────────────────────


def more_often(hits: int, tries: int, other_hits: int, other_tries: int) -> float:
    """The p of Fisher's exact test that hits are more frequent in the first group."""
    table = [[hits, tries - hits], [other_hits, other_tries - other_hits]]
    return float(_stats().fisher_exact(table, alternative="greater").pvalue)


def rank_correlation(one: Any, other: Any) -> float | None:
    """Spearman's correlation of two maps; None if one is constant."""
    first, second = np.ravel(one), np.ravel(other)
    if first.shape != second.shape or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    ranked = _stats().rankdata([first, second], axis=1)
    return float(np.corrcoef(ranked)[0, 1])


def _stats() -> Any:
    return require("scipy.stats", "audit", "test what an audit finds")
