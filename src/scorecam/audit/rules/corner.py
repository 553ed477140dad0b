"""The rule `corner`: a class is recognised by a corner."""

from __future__ import annotations

from scorecam.audit import place_findings
from scorecam.audit.finding import RuleResult
from scorecam.audit.photos import Photos
from scorecam.audit.place_tests import THRESHOLDS
from scorecam.audit.rule import Rule
from scorecam.audit.thresholds import RANK_TESTS, SPRAY


def find(photos: Photos) -> RuleResult:
    """Classes, or all photos, whose maps have too much in one corner."""
    return place_findings.find_places(photos, "corner", "corner", "warning")


RULE = Rule(
    code="corner",
    title="a class is recognised by a corner",
    looks_for="a mark in a corner that goes with the label: a logo, a copyright line, a date",
    statistic=place_findings.STATISTIC,
    source=(
        f"{SPRAY}: a photographer's mark in the corner was recognised as 'horse'; DeGrave et al. "
        f"2021 (marks in the corners of radiographs); {RANK_TESTS}"
    ),
    thresholds=THRESHOLDS,
    levels=place_findings.LEVELS.format(unknown="warning"),
    find=find,
)
