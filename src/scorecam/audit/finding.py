"""Findings as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scorecam.base.wording import constructor

LEVELS = ("problem", "warning", "note")
"""Most severe first."""


@dataclass(frozen=True)
class Finding:
    """Something wrong with the model, or worth knowing.

    Args:
        rule: the rule's code.
        level: "problem", "warning" or "note".
        sentence: what was found, for people.
        evidence: the numbers behind it, as sentences.
        effect: the effect size, for people.
        size: the effect size as a number: a share, or a difference of shares, in [0, 1].
        p: the p value, corrected for all tests of the rule; None if nothing was tested.
        label: the class, by the model's name for it if there is one; None for the whole run.
        region: the place or the other object; None if there is none.
        photos: ids of example photos, best first.
    """

    rule: str
    level: str
    sentence: str
    evidence: tuple[str, ...]
    effect: str
    size: float
    p: float | None = None
    label: str | None = None
    region: str | None = None
    photos: tuple[str, ...] = ()

    __repr__ = constructor

    def plain(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {
            "rule": self.rule,
            "level": self.level,
            "sentence": self.sentence,
            "evidence": list(self.evidence),
            "effect": self.effect,
            "size": self.size,
            "p": self.p,
            "class": self.label,
            "region": self.region,
            "photos": list(self.photos),
        }


@dataclass(frozen=True)
class RuleResult:
    """The findings and remarks of one rule.

    Args:
        findings: in any order.
        remarks: what the rule could not test, and why.
    """

    findings: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()
