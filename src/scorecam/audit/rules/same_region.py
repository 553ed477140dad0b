"""The rule `same-region`: the maps of a class are in one place."""

from __future__ import annotations

from scorecam.audit import place_findings
from scorecam.audit.finding import RuleResult
from scorecam.audit.photos import Photos
from scorecam.audit.place_tests import THRESHOLDS
from scorecam.audit.rule import Rule
from scorecam.audit.thresholds import RANK_TESTS, SPRAY


def find(photos: Photos) -> RuleResult:
    """Classes whose maps have too much in one ninth of the image."""
    return place_findings.find_places(photos, "same-region", "part", "note")


RULE = Rule(
    code="same-region",
    title="the maps of a class are in one place",
    looks_for="maps in the same ninth of the image across a whole class",
    statistic=place_findings.STATISTIC,
    source=f"{SPRAY}; {RANK_TESTS}",
    thresholds=THRESHOLDS,
    levels=place_findings.LEVELS.format(unknown="note"),
    find=find,
)
