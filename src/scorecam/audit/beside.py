"""Right for the wrong reason: on another object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from scorecam.audit.classes import Class, Classes
from scorecam.audit.finding import Finding, Found
from scorecam.audit.items import Item
from scorecam.audit.places import SHOWN
from scorecam.audit.regions import inside, share
from scorecam.audit.rules import RULES, percent, probability
from scorecam.audit.significance import findable, floor, holm, positive

Row = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class _Beside:
    """The right photos of a class in which an object of another class stands.

    Args:
        group: None for the photos of all classes, with any other object.
        other: its label; of all classes that of most photos.
        there, even: the share of the map on the other object, and that of an even map, of each.
        mine, mine_even: the same of the labelled object.
        most: the part of the classes whose maps lie on it.
    """

    group: Class | None
    other: str
    items: tuple[Item, ...]
    there: tuple[float, ...]
    even: tuple[float, ...]
    mine: float
    mine_even: float
    most: float = 1.0

    @property
    def more(self) -> list[float]:
        return [one - other for one, other in zip(self.there, self.even, strict=True)]

    @property
    def density(self) -> tuple[float, float]:
        """How many times an even map's share lies on the other object, and on the labelled one."""
        there, even = float(np.mean(self.there)), float(np.mean(self.even))
        return there / even, self.mine / max(self.mine_even, 1e-9)

    def large(self) -> bool:
        """Whether it crosses every threshold but that of p."""
        limits = RULES["other-object"].thresholds
        there = float(np.mean(self.there)) >= limits["share"]
        return there and self.density[0] >= limits["times even"] and self.most > limits["classes"]


def other_object(classes: Classes) -> Found:
    """The rule other-object, for every class and every class that stands beside it, and for all."""
    if not classes.items:
        return Found()
    if not any(item.things for item in classes.items):
        return Found(
            remarks=(
                "No right photo's objects are annotated: other objects cannot be told from it.",
            )
        )
    limits = RULES["other-object"].thresholds
    everyone = _all_beside(classes)
    cases = [] if everyone is None else [everyone]
    cases += [case for each in classes.all for case in _besides(each)]
    could = findable([floor(case.more) for case in cases], limits["p"])
    tested = [case for case, could_be in zip(cases, could, strict=True) if could_be]
    findings = tuple(
        _beside_finding(case, p, classes)
        for case, p in zip(tested, holm([positive(case.more) for case in tested]), strict=True)
        if p < limits["p"] and case.large()
    )
    if len(tested) == len(cases):
        return Found(findings)
    few = f"Pairs of a class and another object with too few right photos: {could.count(False):,}."
    return Found(findings, (few,))


def _besides(group: Class) -> list[_Beside]:
    labels = dict.fromkeys(thing.label for item in group.items for thing in item.beside)
    return [case for label in labels if (case := _beside(group, label)) is not None]


def _beside(group: Class, label: str) -> _Beside | None:
    found = [(item, row) for item in group.items if (row := _row(item, label)) is not None]
    return _case(group, label, found)


def _all_beside(classes: Classes) -> _Beside | None:
    """All classes together, with whatever stands beside them; None where it is one class alone."""
    found = [
        (group, [(item, row) for item in group.items if (row := _row(item, None)) is not None])
        for group in classes.all
    ]
    cases = [case for group, rows in found if (case := _case(group, "", rows)) is not None]
    if len(cases) < 2:
        return None
    labels = Counter(
        label
        for case in cases
        for item in case.items
        for label in {thing.label for thing in item.beside}
    )
    [(label, _)] = labels.most_common(1)
    whole = _case(None, label, [pair for _, rows in found for pair in rows])
    most = float(np.mean([case.large() for case in cases]))
    return None if whole is None else replace(whole, most=most)


def _case(group: Class | None, label: str, found: Sequence[tuple[Item, Row]]) -> _Beside | None:
    if not found:
        return None
    rows = np.array([row for _, row in found])
    return _Beside(
        group,
        label,
        tuple(item for item, _ in found),
        tuple(rows[:, 0].tolist()),
        tuple(rows[:, 1].tolist()),
        float(rows[:, 2].mean()),
        float(rows[:, 3].mean()),
    )


def _row(item: Item, label: str | None) -> Row | None:
    """The map's and an even map's share on the other object, then on the labelled one.

    Args:
        label: of the other object; None for all others.
    """
    boxes = [thing.box for thing in item.beside] if label is None else item.boxes(label)
    if not boxes or not item.right or item.object is None:
        return None
    # To the box's very edge: what spreads from the labelled object is never denser than on it.
    there = inside(boxes, item.grid) * (1 - item.object)
    if not there.any():
        return None
    return (
        share(item.map, there),
        float(there.mean()),
        share(item.map, item.object),
        float(item.object.mean()),
    )


def _beside_finding(case: _Beside, p: float, classes: Classes) -> Finding:
    gain, denser = float(np.mean(case.more)), case.density[0] > case.density[1]
    other = classes.title(case.other)
    best = np.argsort([-part for part in case.there], kind="stable")[:SHOWN]
    sentence, *evidence = _beside_words(case, classes, "" if denser else "also ")
    test = "Wilcoxon signed-rank test against an even map, corrected for all pairs"
    return Finding(
        "other-object",
        "problem" if denser else "note",
        sentence,
        (*evidence, f"{test}: {probability(p)}."),
        f"{gain:+.2f} of the map against an even one",
        gain,
        p,
        None if case.group is None else case.group.title,
        f"the box of {other!r}" if case.group is not None else "other objects",
        tuple(case.items[row].id for row in best),
    )


def _beside_words(case: _Beside, classes: Classes, also: str) -> tuple[str, str, str]:
    """What was found; how dense it is; and where the other object stands."""
    there, even = percent(float(np.mean(case.there))), percent(float(np.mean(case.even)))
    density, own_density = case.density
    covers = f"of the picture, so that the map there is {density:.1f} times as dense as an even one"
    mine = f"cover {percent(case.mine_even)}, with {own_density:.1f} times"
    title = classes.title(case.other)
    if case.group is None:
        holds = sum(bool(item.boxes(case.other)) for item in case.items)
        return (
            (
                f"The model recognises its classes {also}by other objects beside them: {there} of "
                f"the map lies on those in {len(case.items)} right photos of all classes, "
                f"{percent(case.mine)} on the labelled ones."
            ),
            f"The other objects cover {even} {covers}; the labelled ones {mine}.",
            (
                f"Most often it is {title!r}: in {holds} of these photos. So it is in "
                f"{percent(case.most)} of the classes."
            ),
        )
    own, other = case.group.title, repr(title)
    photos = [item for item in case.group.items if item.right and item.things is not None]
    rest = [
        item
        for item in classes.others(case.group)
        if item.things is not None and item.label != case.other
    ]
    beside = sum(bool(item.boxes(case.other)) for item in rest)
    return (
        (
            f"{own!r} is recognised {also}by {other} beside it: {there} of the map lies on {other} "
            f"in {case.group.some(len(case.items))}, {percent(case.mine)} on {own!r} itself."
        ),
        f"{other} covers {even} {covers}; the boxes of {own!r} {mine}.",
        (
            f"{other} stands beside {own!r} in {len(case.items)} of {len(photos)} right photos, "
            f"and in {beside} of {len(rest)} of other classes."
        ),
    )
