"""Whether a method passes the sanity check."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from scorecam.runs.tables import Point

Verdict: TypeAlias = str
"""One of "passes", "fails" and "undecided"."""

PASSES = 0.5
"""A method passes if, with every stage re-initialised, Spearman's interval is below this."""


def verdict(points: Sequence[Point], method: str, mode: str, stage: str) -> Verdict:
    """Whether a method's maps are no longer similar to those of the trained network.

    Args:
        mode, stage: of the network that decides: the one with every stage re-initialised, or the
            one trained on shuffled labels.

    Returns:
        "passes" if the interval of Spearman's mean is below `PASSES`, "fails" if it is above, and
        "undecided" if the interval contains it, or if most maps were constant.
    """
    key = (method, mode, stage, "spearman")
    for point in points:
        if (point.method, point.mode, point.stage, point.measure) == key:
            mean = point.found
            if point.undefined > mean.n or not mean.n:
                return "undecided"
            low, high = (mean.mean if math.isnan(end) else end for end in (mean.low, mean.high))
            if high < PASSES:
                return "passes"
            return "fails" if low > PASSES else "undecided"
    return "undecided"
