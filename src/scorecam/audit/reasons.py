"""Right for the wrong reason: off the object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scorecam.audit.classes import Class, Classes
from scorecam.audit.finding import Finding, Found
from scorecam.audit.items import Item
from scorecam.audit.places import SHOWN, shares
from scorecam.audit.regions import REGIONS, share
from scorecam.audit.rules import LEAST, RULES, listed, percent, probability
from scorecam.audit.significance import Pool, findable, floor, holm, positive


@dataclass(frozen=True, eq=False)
class _Off:
    """The right photos with a known object, of a class or of all.

    Args:
        group: None for all photos.
        on: (energy − chance) / (1 − chance) of each.
        fair: their mean, where what is smaller than a cell, which cannot hold a map, has the cells
            around it as well.
        most: the part of the classes whose mean of `on` is below 0.
    """

    group: Class | None
    items: tuple[Item, ...]
    energy: float
    chance: float
    on: tuple[float, ...]
    fair: float
    most: float

    @property
    def mean(self) -> float:
        return float(np.mean(self.on))

    def below(self, limit: float) -> bool:
        """Whether maps lie less on the object than that, and not for want of resolution."""
        return max(self.mean, self.fair) < limit


@dataclass(frozen=True)
class _Test:
    """How the maps of a class, or of all, lie on the object, and what that is held against.

    Args:
        others: the mean of the other classes; None where it is held against an even map.
        delta: Cliff's, against the other classes.
        floor: the smallest p that the test can have.
    """

    case: _Off
    p: float
    floor: float = 0.0
    others: float | None = None
    delta: float = 0.0

    @property
    def found(self) -> bool:
        """Whether it crosses every threshold but that of p."""
        limits, case = RULES["wrong-reason"].thresholds, self.case
        if self.others is not None:
            return self.delta >= limits["delta"] and self.others - case.mean >= limits["difference"]
        return case.below(limits["off"]) and case.most > limits["classes"]


def wrong_reason(classes: Classes) -> Found:
    """The rule wrong-reason, class by class, and for all photos together."""
    limits = RULES["wrong-reason"].thresholds
    cases = [case for each in classes.all if (case := _off(each)) is not None]
    whole = [_all_off(cases)] if len(cases) > 1 else []
    tests = [*(_even(case) for case in (*whole, *cases)), *_against(cases)]
    could = findable([test.floor for test in tests], limits["p"])
    tested = [test for test, could_be in zip(tests, could, strict=True) if could_be]
    if not tested:
        return Found(
            remarks=(
                (
                    f"No class has {limits['photos alone']} right photos whose object is known: "
                    "whether the model is right for the wrong reason cannot be told from boxes "
                    "or masks."
                ),
            )
        )
    best: dict[Class | None, tuple[_Test, float]] = {}
    for test, p in zip(tested, holm([test.p for test in tested]), strict=True):
        if p < limits["p"] and test.found:
            best.setdefault(test.case.group, (test, p))  # against an even map comes first
    few = [
        test.case.group.title
        for test, could_be in zip(tests, could, strict=True)
        if test.case.group is not None and test.others is None and not could_be
    ]
    remarks = (
        (
            "Classes with too few right photos of a known object to say of them alone whether "
            f"their maps lie off it: {listed(few)}."
        ),
    )
    return Found(tuple(_off_finding(*found) for found in best.values()), remarks if few else ())


def _off(group: Class) -> _Off | None:
    pairs = [(item, item.focus) for item in group.items if item.right]
    known = [(item, focus) for item, focus in pairs if focus is not None and focus[1] < 1]
    if not known:
        return None
    on = [_scaled(*focus) for _, focus in known]
    return _Off(
        group,
        tuple(item for item, _ in known),
        float(np.mean([e for _, (e, _) in known])),
        float(np.mean([c for _, (_, c) in known])),
        tuple(on),
        float(np.mean([_fair(item, value) for (item, _), value in zip(known, on, strict=True)])),
        float(np.mean(on) < 0),
    )


def _scaled(energy: float, chance: float) -> float:
    return (energy - chance) / (1 - chance)


def _fair(item: Item, on: float) -> float:
    """The same for an object of at least a cell; else of the cells that its map can cover."""
    if item.object is None or item.near is None or item.object.sum() >= 1:
        return on
    chance = float(item.near.mean())
    return _scaled(share(item.map, item.near), chance) if chance < 1 else on


def _all_off(cases: Sequence[_Off]) -> _Off:
    counts = [len(case.items) for case in cases]

    def mean(values: Sequence[float]) -> float:
        return float(np.average(values, weights=counts))

    return _Off(
        None,
        tuple(item for case in cases for item in case.items),
        mean([case.energy for case in cases]),
        mean([case.chance for case in cases]),
        tuple(value for case in cases for value in case.on),
        mean([case.fair for case in cases]),
        float(np.mean([case.most for case in cases])),
    )


def _even(case: _Off) -> _Test:
    """Whether there is less of the maps on the object than of an even one."""
    less = [-value for value in case.on]
    return _Test(case, positive(less), floor(less))


def _against(cases: Sequence[_Off]) -> list[_Test]:
    """Whether there is less of a class's maps on the object than of other classes' maps."""
    on = np.array([value for case in cases for value in case.on])
    owner = np.repeat(np.arange(len(cases)), [len(case.on) for case in cases])
    less, tests = Pool(-on[:, None]), list[_Test]()
    for place, case in enumerate(cases):
        mine = owner == place
        if min(mine.sum(), (~mine).sum()) < LEAST:
            continue
        [delta], [p] = less.against(mine, RULES["wrong-reason"].thresholds["delta"])
        tests.append(_Test(case, p, 0.0, float(on[~mine].mean()), delta))
    return tests


def _off_finding(test: _Test, p: float) -> Finding:
    limits, case = RULES["wrong-reason"].thresholds, test.case
    worst = np.argsort(case.on, kind="stable")[:SHOWN]
    effect = f"{case.energy - case.chance:+.2f} of the map on the object against an even map"
    if test.others is not None:
        effect += f", Cliff's delta {-test.delta:.2f} against other classes"
        level = "warning" if case.below(limits["hardly"]) else "note"
    else:
        level = "problem"
    return Finding(
        "wrong-reason",
        level,
        _off_sentence(test),
        _off_evidence(test, p),
        effect,
        case.chance - case.energy if test.others is None else test.others - case.mean,
        p,
        None if case.group is None else case.group.title,
        "off the object",
        tuple(case.items[row].id for row in worst),
    )


def _off_sentence(test: _Test) -> str:
    case, count = test.case, len(test.case.items)
    if case.group is None:
        who, photos = "The model", f"{count} right photos of all classes"
    else:
        who, photos = repr(case.group.title), case.group.some(count)
    if test.others is None:
        return (
            f"{who} is right for the wrong reason: {percent(1 - case.energy)} of "
            f"the map lies off the object in {photos}, more than the "
            f"{percent(1 - case.chance)} of an even map."
        )
    return (
        f"The maps of {who} lie less on the object than those of other classes: "
        f"{percent(case.energy)} of the map in {photos}, {percent(case.chance)} for an even map."
    )


def _off_evidence(test: _Test, p: float) -> tuple[str, ...]:
    name = "Wilcoxon signed-rank" if test.others is None else "Mann-Whitney"
    compared = "" if test.others is None else f", {test.others:.2f} in other classes"
    told = [
        f"On a scale of 1 (on the object), 0 (spread evenly): {test.case.mean:.2f}{compared}.",
        f"{name} test, corrected for all classes: {probability(p)}.",
    ]
    if test.case.group is None:
        told.append(f"So it is in {percent(test.case.most)} of the classes.")
    return (*told, *_elsewhere(test.case.items))


def _elsewhere(items: Sequence[Item]) -> tuple[str, ...]:
    """The named place outside the object that holds most for its area."""
    known = [item for item in items if item.outside is not None]
    if not known:
        return ()
    tables = shares([item.map for item in known], [item.outside for item in known])
    own, even = (table.mean(axis=0) for table in tables)
    gain = (own - even) / np.sqrt(np.maximum(even * (1 - even), 1e-6))
    place = int(gain.argmax())
    if own[place] <= even[place]:
        return ()
    return (
        (
            f"What lies off the object is densest in {REGIONS[place].name}: {percent(own[place])} "
            f"of the map, {percent(even[place])} of an even one."
        ),
    )
