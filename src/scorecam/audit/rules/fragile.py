"""The rule `fragile`: maps depend on how they are computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from scorecam.audit.finding import Finding, RuleResult
from scorecam.audit.item import Item
from scorecam.audit.photos import Photos
from scorecam.audit.rule import Rule
from scorecam.audit.sentences import counted, percent
from scorecam.audit.thresholds import EXAMPLES, MIN_PHOTOS
from scorecam.audit.variant_agreement import comparable, lowest_agreement

THRESHOLDS = MappingProxyType(
    {
        "photos": MIN_PHOTOS,
        "correlation": 0.3,
        "error": 0.25,
        "rate for a note": 0.1,
        "rate for a warning": 0.5,
    }
)


def find(photos: Photos) -> RuleResult:
    """Maps that change with the variant, and maps that a larger budget may change."""
    agreements = [
        (item, *agreement)
        for item in photos.items
        if (agreement := lowest_agreement(item)) is not None
    ]
    findings = (*_disagreeing(agreements), *_rough(photos.items))
    if agreements:
        return RuleResult(findings)
    if not all(comparable(item) for item in photos.items):
        why = "The method's maps are not compared with those of variants"
    else:
        why = "The run has no maps of other variants"
    return RuleResult(findings, (f"{why}, so fragile maps were not looked for.",))


def _disagreeing(agreements: Sequence[tuple[Item, float, str]]) -> list[Finding]:
    limit = THRESHOLDS["correlation"]
    low = sorted((value, item.id, names) for item, value, names in agreements if value < limit)
    if not low:
        return []
    [(names, _)] = Counter(names for _, _, names in low).most_common(1)
    sentence = (
        f"{len(low)} of {counted(len(agreements), 'map')} change with the variant: their rank "
        f"correlation with another variant's map is below {limit:g}."
    )
    evidence = (
        f"The median over all photos is {np.median([value for _, value, _ in agreements]):.2f}.",
        f"The variants that disagree most often are {names}.",
    )
    return _findings(sentence, evidence, [photo for _, photo, _ in low], len(agreements))


def _rough(items: Sequence[Item]) -> list[Finding]:
    limit = THRESHOLDS["error"]
    errors = [
        (item.entry.error, item.id)
        for item in items
        if item.entry is not None and item.entry.error is not None
    ]
    rough = sorted((pair for pair in errors if pair[0] > limit), key=lambda pair: -pair[0])
    sentence = (
        f"{len(rough)} of {counted(len(errors), 'map')} have an estimated error above {limit:g} of "
        "their range: the budget left out masks that matter."
    )
    return _findings(sentence, (), [photo for _, photo in rough], len(errors))


def _findings(
    sentence: str, evidence: tuple[str, ...], photos: Sequence[str], known: int
) -> list[Finding]:
    """One finding if enough photos are affected, otherwise none."""
    rate = len(photos) / max(known, 1)
    if known < THRESHOLDS["photos"] or rate < THRESHOLDS["rate for a note"]:
        return []
    finding = Finding(
        rule="fragile",
        level="warning" if rate >= THRESHOLDS["rate for a warning"] else "note",
        sentence=sentence,
        evidence=evidence,
        effect=f"{percent(rate)} of the photos with known values",
        size=rate,
        photos=tuple(photos[:EXAMPLES]),
    )
    return [finding]


RULE = Rule(
    code="fragile",
    title="maps depend on how they are computed",
    looks_for="maps that change with the variant, or that a larger budget may change",
    statistic=(
        "the map's lowest Spearman correlation, over the grid's cells, with the same class's map "
        "by another variant (except centred and consensus, which are zero in many places); and the "
        "estimated error of a reduced budget; only photos with known values count; described, not "
        "tested"
    ),
    source=(
        "Adebayo et al. 2018 (a map has to depend on the model, not on the method); Spearman "
        "1904; the rule 'rough' of docs/health.md for the error"
    ),
    thresholds=THRESHOLDS,
    levels="by the share of photos: warning, or note",
    find=find,
)
