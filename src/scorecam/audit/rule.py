"""A rule of an audit: what it looks for, how it decides, and the function that applies it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scorecam.audit.finding import RuleResult
from scorecam.audit.photos import Photos


@dataclass(frozen=True)
class Rule:
    """One kind of finding, and how an audit looks for it.

    Args:
        code: for programs, the command line and links.
        title: for people.
        looks_for: what a finding means.
        statistic: what is measured and tested, and how it is corrected for many tests.
        source: where the idea and the statistic come from.
        thresholds: the limits that the rule uses, by name.
        levels: when a finding gets which level.
        find: applies the rule to the photos of a run.
        role: the class whose maps its findings are about: "target" or "predicted".
    """

    code: str
    title: str
    looks_for: str
    statistic: str
    source: str
    thresholds: Mapping[str, float]
    levels: str
    find: Callable[[Photos], RuleResult]
    role: str = "target"

    @property
    def text(self) -> str:
        """The rule in a few lines, as `--explain` prints it."""
        limits = ", ".join(f"{name} {value:g}" for name, value in self.thresholds.items())
        return (
            f"{self.code}: {self.title}\n"
            f"  Looks for   {self.looks_for}\n"
            f"  Statistic   {self.statistic}\n"
            f"  Thresholds  {limits}\n"
            f"  Levels      {self.levels}\n"
            f"  Source      {self.source}\n"
        )
