"""What an audit found, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scorecam.audit.rules import LEVELS, RULES
from scorecam.base.wording import constructor


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Args:
        rule: its code.
        level: "problem", "warning" or "note".
        sentence: what was found, for people.
        evidence: the numbers behind it, as sentences.
        effect: how large it is, for people ...
        size: ... and as a number: a difference of shares, or a share, in [0, 1].
        p: adjusted for the rule's whole family of tests; None where nothing was tested.
        label: the class, by the model's name where it has one; None for the whole run.
        region: the place or the other object; None where there is none.
        photos: ids, the best examples first.
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

    @property
    def rank(self) -> tuple[int, int, float]:
        """Smaller comes first: the level, the rule's place among the rules, the size."""
        return LEVELS.index(self.level), list(RULES).index(self.rule), -self.size

    def plain(self) -> dict[str, Any]:
        """The same for JSON."""
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
class Found:
    """What one rule says of a run.

    Args:
        findings: in any order.
        remarks: what it could not tell, and why.
    """

    findings: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()
