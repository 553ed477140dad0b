"""What a user's budget or tolerance means: when to stop scoring masks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scorecam.base.wording import quoted
from scorecam.budget.estimate import Uncertainty
from scorecam.errors import SettingError, did_you_mean
from scorecam.io.ranges import BUDGET, TOLERANCE

BudgetSpec = int | Literal["exact", "fast"]

MIN_FOR_TOLERANCE = 15
"""The fewest masks for a tolerance. With fewer, the estimated error is too often too small."""

NEAR = 0.2
"""The largest error of a map that is accepted because its correlation is high enough."""


@dataclass(frozen=True)
class Plan:
    """When to stop scoring masks.

    Args:
        least: the fewest masks to score.
        most: the most masks to score.
        until: stop once the estimated error of the scaled map is at most this.
        alike: or once its estimated correlation with the exact map is at least this, and the error
            at most `NEAR`.
        expected: about how many masks this takes, to estimate the cost in advance.
    """

    least: int
    most: float
    until: float
    alike: float = math.inf
    expected: int = 40

    def reached(self, uncertainty: Uncertainty) -> bool:
        """Whether the map is as certain as planned."""
        alike = uncertainty.correlation >= self.alike and uncertainty.error <= NEAR
        return alike or uncertainty.error <= self.until


FAST = Plan(least=7, most=192, until=0.12, alike=0.993)
"""`budget="fast"`. See docs/speed.md for how close its maps are."""


def plan(budget: BudgetSpec, tolerance: float | None) -> Plan | None:
    """The plan of a budget or a tolerance; None if every mask is scored.

    Raises:
        SettingError: one of them is invalid, or both are given.
    """
    if tolerance is not None:
        return _tolerance_plan(budget, tolerance)
    if isinstance(budget, str) and budget == "exact":
        return None
    if isinstance(budget, str) and budget == "fast":
        return FAST
    if not BUDGET.holds(budget):
        raise SettingError(
            f"budget={quoted(budget)} is not 'exact', 'fast' or a number of masks from "
            f"{BUDGET.least} to {BUDGET.most:,}.",
            likely=did_you_mean(budget, ("exact", "fast")),
            do="Use 'fast' if in doubt.",
        )
    return Plan(int(budget), int(budget), math.inf, expected=int(budget))


def _tolerance_plan(budget: BudgetSpec, tolerance: float) -> Plan:
    if not isinstance(budget, str) or budget != "exact":
        raise SettingError(
            f"budget={quoted(budget)} and tolerance={quoted(tolerance)} both say when to stop.",
            do="Give only one of them.",
        )
    if not TOLERANCE.holds(tolerance) or tolerance == 1:
        raise SettingError(
            f"tolerance={quoted(tolerance)} is not a number between 0 and 1.",
            do="It is the largest error of the scaled map that you accept, such as 0.02.",
        )
    return Plan(MIN_FOR_TOLERANCE, math.inf, float(tolerance), expected=200)


def described(budget: BudgetSpec, tolerance: float | None) -> str:
    """The budget or tolerance as a result records it."""
    return str(budget) if tolerance is None else f"tolerance {tolerance:g}"
