"""Findings of the rules that test named regions, one rule for each kind of region."""

from __future__ import annotations

import numpy as np

from scorecam.audit.finding import Finding, RuleResult
from scorecam.audit.geometry import Kind
from scorecam.audit.photos import Photos
from scorecam.audit.photos_by_class import ClassPhotos, PhotosByClass
from scorecam.audit.place_tests import PlaceTest
from scorecam.audit.sentences import listed, p_value, percent
from scorecam.audit.thresholds import EXAMPLES, MIN_PHOTOS, MOST_CLASSES

STATISTIC = (
    "the share of the map in the place, for correctly classified photos; if enough photos on both "
    "sides have boxes, only cells outside the labelled object count, and only those photos; "
    "one-sided Mann-Whitney test against the photos of all other classes, and Wilcoxon's "
    "signed-rank test of all photos against a uniform map; Holm's correction over every class and "
    "place"
)
LEVELS = "problem if boxes show that the place is off the object; {unknown} without boxes"


def find_places(photos: Photos, code: str, kind: Kind, without_boxes: str) -> RuleResult:
    """The significant places of one kind.

    Args:
        photos: of the run.
        code: of the rule.
        kind: the kind of region.
        without_boxes: the level of a finding if the object's boxes are unknown.
    """
    findings = tuple(
        _finding(test, code, "problem" if test.boxes else without_boxes)
        for test in photos.places
        if test.region.kind == kind
    )
    return RuleResult(findings, _untested(photos.classes))


def _untested(classes: PhotosByClass) -> tuple[str, ...]:
    """Remarks about the classes that could not be tested, and why."""
    if not classes.large:
        return (
            (
                f"No class has {MIN_PHOTOS} correctly classified photos, so the places of "
                "maps were not tested."
            ),
        )
    if len(classes.all) == 1:
        return ("There is only one class, so there are no other classes to compare with.",)
    remarks: list[str] = []
    if small := [each.title for each in classes.all if len(each.items) < MIN_PHOTOS]:
        remarks.append(
            f"Classes with fewer than {MIN_PHOTOS} correctly classified photos, not tested one by "
            f"one: {listed(small)}."
        )
    count = len(classes.items)
    alone = [each.title for each in classes.large if count - len(each.items) < MIN_PHOTOS]
    if alone:
        remarks.append(
            f"Classes not compared with others, because the others have fewer than {MIN_PHOTOS} "
            f"photos in all: {listed(alone)}."
        )
    return tuple(remarks)


def _finding(test: PlaceTest, code: str, level: str) -> Finding:
    best = np.argsort(-test.own, kind="stable")[:EXAMPLES]
    reference = "a uniform map" if test.delta is None else "other classes"
    effect = f"{test.gain:+.2f} of the map compared with {reference}"
    if test.delta is not None:
        effect += f", Cliff's delta {test.delta:.2f}"
    return Finding(
        rule=code,
        level=level,
        sentence=_sentence(test),
        evidence=_evidence(test),
        effect=effect,
        size=test.gain,
        p=test.p,
        label=None if test.group is None else test.group.title,
        region=test.region.name,
        photos=tuple(test.items[index].id for index in best),
    )


def _sentence(test: PlaceTest) -> str:
    outside = ", outside the labelled object" if test.boxes else ""
    if test.group is None:
        most = "Most" if test.classes > MOST_CLASSES else "Some"
        who = f"{'All' if test.classes == 1 else most} classes are"
        photos = f"{len(test.own)} photos"
    else:
        who = f"{test.group.title!r} is"
        photos = test.group.some(len(test.own))
    return (
        f"{who} recognised by {test.region.name}: {percent(float(test.own.mean()))} of the map is "
        f"there{outside}, compared with {percent(test.reference)} "
        f"{'by chance' if test.delta is None else 'in other classes'} ({photos})."
    )


def _evidence(test: PlaceTest) -> tuple[str, ...]:
    place = test.region.name
    hits = int((test.own >= 2 * test.uniform).sum())
    evidence = [
        (
            f"{place[0].upper()}{place[1:]} is {percent(test.region.area)} of the image; a uniform "
            f"map has {percent(test.uniform)} there"
            f"{' outside the labelled object' if test.boxes else ''}."
        ),
        f"{hits} of {len(test.own)} photos have at least twice that.",
        (
            f"{'Wilcoxon signed-rank' if test.group is None else 'Mann-Whitney'} test, corrected "
            f"for all classes and places: {p_value(test.p)}."
        ),
    ]
    if test.group is not None:
        if len(test.items) < len(test.group.items):
            evidence.append("The class's other photos have no boxes and are left out.")
        evidence += cluster_sentences(test.group)
    return tuple(evidence)


def cluster_sentences(group: ClassPhotos) -> list[str]:
    """The clusters of a class's maps, if there are several."""
    clusters = group.clusters
    if len(clusters) < 2:
        return []
    names = {item.id: item.name for item in group.items}
    sizes = "; ".join(f"{len(each.photos)} like {names[each.photos[0]]}" for each in clusters)
    return [f"The class's maps form {len(clusters)} clusters: {sizes}."]
