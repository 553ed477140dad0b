"""The rule `border`: a class is recognised by an edge or the border."""

from __future__ import annotations

from scorecam.audit import place_findings
from scorecam.audit.finding import RuleResult
from scorecam.audit.photos import Photos
from scorecam.audit.place_tests import THRESHOLDS
from scorecam.audit.rule import Rule
from scorecam.audit.thresholds import RANK_TESTS, SPRAY


def find(photos: Photos) -> RuleResult:
    """Classes, or all photos, whose maps have too much on one edge or on all four."""
    return place_findings.find_places(photos, "border", "border", "warning")


RULE = Rule(
    code="border",
    title="a class is recognised by an edge or the border",
    looks_for="frames, captions and padding that go with the label",
    statistic=place_findings.STATISTIC,
    source=f"{SPRAY}: padding at the border was recognised as 'aeroplane'; {RANK_TESTS}",
    thresholds=THRESHOLDS,
    levels=place_findings.LEVELS.format(unknown="warning"),
    find=find,
)
