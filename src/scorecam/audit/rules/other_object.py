"""The rule `other-object`: the map is on another object."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from scorecam.audit.finding import Finding, RuleResult
from scorecam.audit.geometry import inside, share
from scorecam.audit.item import Item
from scorecam.audit.photos import Photos
from scorecam.audit.photos_by_class import ClassPhotos, PhotosByClass
from scorecam.audit.rule import Rule
from scorecam.audit.sentences import p_value, percent
from scorecam.audit.significance import findable, floor, holm, positive
from scorecam.audit.thresholds import ALPHA, EXAMPLES, MIN_PHOTOS_ALONE, MOST_CLASSES, SPRAY

THRESHOLDS = MappingProxyType(
    {
        "p": ALPHA,
        "photos": MIN_PHOTOS_ALONE,
        "share": 0.2,
        "times uniform": 1.5,
        "classes": MOST_CLASSES,
    }
)


class _Shares(NamedTuple):
    """One photo's shares.

    Args:
        item: the photo.
        other, other_uniform: of its map on the other object, and of a uniform map.
        own, own_uniform: the same for the labelled object.
    """

    item: Item
    other: float
    other_uniform: float
    own: float
    own_uniform: float


@dataclass(frozen=True, eq=False)
class _Neighbour:
    """The correctly classified photos of a class that also show an object of another class.

    Args:
        group: None for the photos of all classes, with any other object.
        other: the other object's label; for all classes, the most frequent label.
        photos: the shares of each photo.
        classes: for all classes, the share of classes that exceed the thresholds alone.
    """

    group: ClassPhotos | None
    other: str
    photos: tuple[_Shares, ...]
    classes: float = 1.0

    @property
    def share(self) -> float:
        """The mean share of the maps on the other object."""
        return float(np.mean([photo.other for photo in self.photos]))

    @property
    def uniform(self) -> float:
        """The same for a uniform map."""
        return float(np.mean([photo.other_uniform for photo in self.photos]))

    @property
    def own(self) -> float:
        """The mean share of the maps on the labelled object."""
        return float(np.mean([photo.own for photo in self.photos]))

    @property
    def own_uniform(self) -> float:
        """The same for a uniform map."""
        return float(np.mean([photo.own_uniform for photo in self.photos]))

    @property
    def differences(self) -> list[float]:
        """For each photo, its map's share on the other object less that of a uniform map."""
        return [photo.other - photo.other_uniform for photo in self.photos]

    @property
    def density(self) -> float:
        """The maps' density on the other object; a uniform map has 1."""
        return self.share / self.uniform

    @property
    def own_density(self) -> float:
        """The maps' density on the labelled object."""
        return self.own / max(self.own_uniform, 1e-9)

    @property
    def large(self) -> bool:
        """Whether it exceeds every threshold except p."""
        return (
            self.share >= THRESHOLDS["share"]
            and self.density >= THRESHOLDS["times uniform"]
            and self.classes > THRESHOLDS["classes"]
        )


def find(photos: Photos) -> RuleResult:
    """Classes whose maps are on an object of another class, and the same for all classes."""
    classes = photos.classes
    if not classes.items:
        return RuleResult()
    if not any(item.annotations for item in classes.items):
        return RuleResult(
            remarks=("No correctly classified photo is annotated: other objects were not tested.",)
        )
    whole = _all_classes(classes)
    cases = [] if whole is None else [whole]
    cases += [case for group in classes.all for case in _neighbours(group)]
    testable = findable([floor(case.differences) for case in cases], THRESHOLDS["p"])
    tested = [case for case, kept in zip(cases, testable, strict=True) if kept]
    ps = holm([positive(case.differences) for case in tested])
    findings = tuple(
        _finding(case, p, classes)
        for case, p in zip(tested, ps, strict=True)
        if p < THRESHOLDS["p"] and case.large
    )
    if len(tested) == len(cases):
        return RuleResult(findings)
    remark = (
        "Pairs of a class and another object with too few photos to test: "
        f"{testable.count(False):,}."
    )
    return RuleResult(findings, (remark,))


def _neighbours(group: ClassPhotos) -> list[_Neighbour]:
    """A class, once with each other object in its photos."""
    labels = dict.fromkeys(other.label for item in group.items for other in item.other_objects)
    by_label = ((label, _shares_of(group, label)) for label in labels)
    return [_Neighbour(group, label, photos) for label, photos in by_label if photos]


def _all_classes(classes: PhotosByClass) -> _Neighbour | None:
    """All classes together, with any other object; None if only one class has any."""
    by_group = ((group, _shares_of(group, None)) for group in classes.all)
    cases = [_Neighbour(group, "", photos) for group, photos in by_group if photos]
    if len(cases) < 2:
        return None
    photos = tuple(photo for case in cases for photo in case.photos)
    labels = Counter(
        label
        for photo in photos
        for label in dict.fromkeys(other.label for other in photo.item.other_objects)
    )
    [(label, _)] = labels.most_common(1)
    return _Neighbour(None, label, photos, float(np.mean([case.large for case in cases])))


def _shares_of(group: ClassPhotos, label: str | None) -> tuple[_Shares, ...]:
    by_photo = (_shares(item, label) for item in group.items)
    return tuple(shares for shares in by_photo if shares is not None)


def _shares(item: Item, label: str | None) -> _Shares | None:
    """One photo's shares; None if it is misclassified, or does not show both objects.

    Args:
        item: the photo.
        label: the other object's; None for all other objects.
    """
    boxes = [other.box for other in item.other_objects] if label is None else item.boxes(label)
    if not boxes or not item.right or item.object is None:
        return None
    # Cells at the edge of the labelled object count: its map is never denser there than on it.
    cells = inside(boxes, item.grid) * (1 - item.object)
    if not cells.any():
        return None
    return _Shares(
        item=item,
        other=share(item.map, cells),
        other_uniform=float(cells.mean()),
        own=share(item.map, item.object),
        own_uniform=float(item.object.mean()),
    )


def _finding(case: _Neighbour, p: float, classes: PhotosByClass) -> Finding:
    gain, denser = float(np.mean(case.differences)), case.density > case.own_density
    best = np.argsort([-photo.other for photo in case.photos], kind="stable")[:EXAMPLES]
    also = "" if denser else "also "
    sentence, *evidence = (
        _sentences_of_all(case, classes, also)
        if case.group is None
        else _sentences_of_class(case, case.group, classes, also)
    )
    test = "Wilcoxon signed-rank test against a uniform map, corrected for all pairs"
    return Finding(
        rule="other-object",
        level="problem" if denser else "note",
        sentence=sentence,
        evidence=(*evidence, f"{test}: {p_value(p)}."),
        effect=f"{gain:+.2f} of the map compared with a uniform map",
        size=gain,
        p=p,
        label=None if case.group is None else case.group.title,
        region="other objects"
        if case.group is None
        else f"the box of {classes.title(case.other)!r}",
        photos=tuple(case.photos[index].item.id for index in best),
    )


def _area(case: _Neighbour, verb: str, own: str) -> str:
    """How much of the image the objects cover, and how dense the maps are there."""
    return (
        f"{verb} {percent(case.uniform)} of the image, where the map is {case.density:.1f} times "
        f"as dense as a uniform map; {own} cover {percent(case.own_uniform)}, where it is "
        f"{case.own_density:.1f} times as dense."
    )


def _sentences_of_all(case: _Neighbour, classes: PhotosByClass, also: str) -> tuple[str, ...]:
    """The finding's sentence, then its evidence, about all classes."""
    photos = sum(bool(photo.item.boxes(case.other)) for photo in case.photos)
    return (
        (
            f"The model recognises its classes {also}by other objects nearby: "
            f"{percent(case.share)} of the map is on those and {percent(case.own)} on the labelled "
            f"objects ({len(case.photos)} correctly classified photos of all classes)."
        ),
        f"The other objects {_area(case, 'cover', 'the labelled objects')}",
        (
            f"Most often it is {classes.title(case.other)!r}, in {photos} of these photos. This "
            f"holds for {percent(case.classes)} of the classes."
        ),
    )


def _sentences_of_class(
    case: _Neighbour, group: ClassPhotos, classes: PhotosByClass, also: str
) -> tuple[str, ...]:
    """The finding's sentence, then its evidence, about one class."""
    own, other = group.title, repr(classes.title(case.other))
    annotated = [item for item in group.items if item.right and item.annotations is not None]
    rest = [
        item
        for item in classes.others(group)
        if item.annotations is not None and item.label != case.other
    ]
    elsewhere = sum(bool(item.boxes(case.other)) for item in rest)
    return (
        (
            f"{own!r} is recognised {also}by {other} nearby: {percent(case.share)} of the map is "
            f"on {other} and {percent(case.own)} on {own!r} itself "
            f"({group.some(len(case.photos))})."
        ),
        f"{other} {_area(case, 'covers', f'the boxes of {own!r}')}",
        (
            f"{other} appears with {own!r} in {len(case.photos)} of {len(annotated)} correctly "
            f"classified photos, and in {elsewhere} of {len(rest)} photos of other classes."
        ),
    )


RULE = Rule(
    code="other-object",
    title="the map is on another object",
    looks_for=(
        "correct predictions with maps on an annotated object of another class: the model "
        "recognises what usually appears with the object, not the object"
    ),
    statistic=(
        "the share of the map on the other object's boxes outside the labelled object's, less the "
        "share of a uniform map; one-sided Wilcoxon signed-rank test for every pair of a class "
        "and another object, and for all correctly classified photos with any other object; Holm's "
        "correction over all tests with enough photos to become significant (Tarone 1990)"
    ),
    source=(
        f"Ribeiro et al. 2016 (husky or wolf: the snow); {SPRAY}; Wilcoxon 1945; Holm 1979; "
        "Tarone 1990"
    ),
    thresholds=THRESHOLDS,
    levels=(
        "problem if the map is denser on the other object than on the labelled one, otherwise "
        "note; for all photos together only if it holds in more than the share 'classes' of the "
        "classes"
    ),
    find=find,
)
