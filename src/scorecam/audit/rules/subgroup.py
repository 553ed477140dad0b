"""The rule `subgroup`: part of a class is recognised by one place."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

import numpy as np
import numpy.typing as npt

from scorecam.audit.finding import Finding, RuleResult
from scorecam.audit.geometry import REGIONS, Region
from scorecam.audit.photos import Photos
from scorecam.audit.place_findings import cluster_sentences
from scorecam.audit.place_shares import Shares
from scorecam.audit.place_tests import ClassShares
from scorecam.audit.rule import Rule
from scorecam.audit.sentences import p_value, percent
from scorecam.audit.significance import holm, more_often
from scorecam.audit.thresholds import ALPHA, EXAMPLES, MIN_PHOTOS, SPRAY

THRESHOLDS = MappingProxyType(
    {"p": ALPHA, "photos": MIN_PHOTOS, "hits": 3, "rate": 0.1, "times others": 4.0}
)

SHARE, TIMES_UNIFORM = 0.25, 3
"""A map is in a region if it has at least this share there, and this many times a uniform map's."""


@dataclass(frozen=True, eq=False)
class _Subgroup:
    """The photos of a class whose maps are in one region.

    Args:
        compared: the shares of the class and of all other classes.
        region: the place.
        hits: for each photo of the class, whether its map is there.
        other_rate: the share of other classes' photos whose maps are there.
        p: of Fisher's exact test.
    """

    compared: ClassShares
    region: Region
    hits: Annotated[npt.NDArray[np.bool_], "n"]
    other_rate: float
    p: float

    @property
    def rate(self) -> float:
        """The share of the class's photos whose maps are there."""
        return float(self.hits.mean())

    @property
    def large(self) -> bool:
        """Whether it exceeds every threshold except p."""
        return (
            self.hits.sum() >= THRESHOLDS["hits"]
            and self.rate >= THRESHOLDS["rate"]
            and self.rate >= THRESHOLDS["times others"] * self.other_rate
        )


def find(photos: Photos) -> RuleResult:
    """Parts of a class whose maps are where those of other classes aren't.

    Classes that are recognised by one place as a whole are left out.
    """
    groups = [group for compared in photos.shares for group in _subgroups(compared)]
    whole = {test.group.title for test in photos.places if test.group is not None}
    best: dict[str, Finding] = {}
    for group, p in zip(groups, holm([group.p for group in groups]), strict=True):
        title = group.compared.group.title
        if p >= THRESHOLDS["p"] or not group.large or title in whole:
            continue
        finding = _finding(group, p)
        if title not in best or finding.size > best[title].size:
            best[title] = finding
    return RuleResult(tuple(best.values()))


def _subgroups(compared: ClassShares) -> list[_Subgroup]:
    mine = _hits(compared.own, compared.uniform)
    theirs = _hits(compared.others, compared.others_uniform)
    groups: list[_Subgroup] = []
    for number, region in enumerate(REGIONS):
        hits, others = mine[:, number], int(theirs[:, number].sum())
        p = more_often(int(hits.sum()), len(hits), others, len(theirs))
        groups.append(_Subgroup(compared, region, hits, other_rate=others / len(theirs), p=p))
    return groups


def _hits(own: Shares, uniform: Shares) -> Annotated[npt.NDArray[np.bool_], "n regions"]:
    return own >= np.maximum(SHARE, TIMES_UNIFORM * uniform)


def _finding(subgroup: _Subgroup, p: float) -> Finding:
    compared, group = subgroup.compared, subgroup.compared.group
    chosen = {item.id for item, hit in zip(compared.items, subgroup.hits, strict=True) if hit}
    ranked = [photo for cluster in group.clusters for photo in cluster.photos]
    rate = len(chosen) / len(compared.items)
    boxes = " with boxes" if len(compared.items) < len(group.items) else ""
    outside = " outside the labelled object" if compared.boxes else ""
    return Finding(
        rule="subgroup",
        level="warning" if compared.boxes else "note",
        sentence=(
            f"Part of {group.title!r} is recognised by {subgroup.region.name}: {len(chosen)} of "
            f"{len(compared.items)} {group.photos}{boxes} have their map there{outside}, compared "
            f"with {percent(subgroup.other_rate)} of other classes' photos."
        ),
        evidence=(
            f"Fisher's exact test, corrected for all classes and places: {p_value(p)}.",
            *cluster_sentences(group),
        ),
        effect=(
            f"{rate - subgroup.other_rate:+.2f} of the class's photos compared with other classes'"
        ),
        size=rate - subgroup.other_rate,
        p=p,
        label=group.title,
        region=subgroup.region.name,
        photos=tuple(photo for photo in ranked if photo in chosen)[:EXAMPLES],
    )


RULE = Rule(
    code="subgroup",
    title="part of a class is recognised by one place",
    looks_for=(
        "part of a class whose maps are in a place where those of other classes are not: a mark "
        "that only some photos have"
    ),
    statistic=(
        "the correctly classified photos with a share of at least 0.25 and at least 3 times a "
        "uniform map's in the place; one-sided Fisher's exact test against the other classes; "
        "Holm's correction over every class and place; examples come first from the largest "
        "cluster (k-means of the maps, k by the silhouette)"
    ),
    source=f"{SPRAY}; Fisher 1935; Holm 1979; Rousseeuw 1987 (silhouette)",
    thresholds=THRESHOLDS,
    levels="warning if boxes show that the place is off the object; note without boxes",
    find=find,
)
