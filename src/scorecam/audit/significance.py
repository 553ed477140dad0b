"""Is it more than chance? Rank tests, Holm's correction, and how large a difference is.

Tests are one-sided and make no assumption about the shape of a distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from scorecam.errors import MissingExtra

Columns = Annotated[npt.NDArray[np.float64], "n columns"]


def holm(ps: Sequence[float]) -> list[float]:
    """The p values of a family of tests, adjusted so that none of them is found by chance more
    often than its p says, however many there are (Holm 1979): the smallest times m, the next times
    m − 1, and so on, never falling, at most 1.
    """
    order = sorted(range(len(ps)), key=lambda place: ps[place])
    adjusted = [1.0] * len(ps)
    least = 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, ps[place] * (len(ps) - rank)))
        adjusted[place] = least
    return adjusted


def cliff(one: Sequence[float], other: Sequence[float]) -> float:
    """Cliff's delta (Cliff 1993): how much more often a value of `one` is above a value of `other`
    than below it, −1 to 1; 0 where one of them is empty.
    """
    if not len(one) or not len(other):
        return 0.0
    signs = np.sign(np.subtract.outer(np.asarray(one), np.asarray(other)))
    return float(signs.mean())


def greater(one: Sequence[float], other: Sequence[float]) -> float:
    """The p of the Mann–Whitney test that values of `one` are larger than those of `other`."""
    [found] = each_greater(np.asarray(one)[:, None], np.asarray(other)[:, None])
    return found


def each_greater(one: Columns, other: Columns) -> list[float]:
    """The same for each column of two tables."""
    varied = np.ptp(np.concatenate([one, other]), axis=0) > 0
    found = np.ones(one.shape[1])
    if varied.any():
        test = _stats().mannwhitneyu(
            one[:, varied], other[:, varied], alternative="greater", axis=0
        )
        found[varied] = test.pvalue
    return found.tolist()


def positive(values: Sequence[float]) -> float:
    """The p of Wilcoxon's signed-rank test that values lie above 0; zeros are left out."""
    known = [value for value in values if value != 0]
    if not known:
        return 1.0
    return float(_stats().wilcoxon(known, alternative="greater").pvalue)


def more_often(hits: int, tries: int, other_hits: int, other_tries: int) -> float:
    """The p of Fisher's exact test that hits are more frequent here than elsewhere."""
    table = [[hits, tries - hits], [other_hits, other_tries - other_hits]]
    return float(_stats().fisher_exact(table, alternative="greater").pvalue)


def rank_correlation(one: Any, other: Any) -> float | None:
    """Spearman's correlation of two maps; None where one of them is flat."""
    first, second = np.ravel(one), np.ravel(other)
    if first.shape != second.shape or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    ranked = _stats().rankdata([first, second], axis=1)
    return float(np.corrcoef(ranked)[0, 1])


def _stats() -> Any:
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingExtra(
            "An audit needs scipy, which is not installed.", do="pip install 'scorecam[audit]'"
        ) from error
    return stats
