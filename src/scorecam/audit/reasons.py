"""Right for the wrong reason: off the object, or on another one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scorecam.audit.classes import Class, Classes
from scorecam.audit.finding import Finding, Found
from scorecam.audit.items import Item
from scorecam.audit.places import SHOWN, shares
from scorecam.audit.regions import REGIONS, inside, share
from scorecam.audit.rules import LEAST, RULES, percent, probability
from scorecam.audit.significance import cliff, greater, holm, positive

# ── off the object ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Off:
    """A class's right photos with a known object.

    Args:
        on: (energy − chance) / (1 − chance) of each.
        delta, p_others: against the other classes; 0 and 1 where there are none.
        p_even: that there is less energy on the object than an even map would have.
    """

    group: Class
    items: tuple[Item, ...]
    energy: float
    chance: float
    on: tuple[float, ...]
    others: float
    delta: float
    p_others: float
    p_even: float


def wrong_reason(classes: Classes) -> Found:
    """The rule wrong-reason, class by class."""
    cases = _offs(classes)
    if not cases:
        return Found(
            remarks=(
                (
                    f"No class has {LEAST} right photos whose object is known: whether the model "
                    "is right for the wrong reason cannot be told from boxes or masks."
                ),
            )
        )
    adjusted = holm([p for case in cases for p in (case.p_even, case.p_others)])
    findings = [
        found
        for case, p_even, p_others in zip(cases, adjusted[::2], adjusted[1::2], strict=True)
        if (found := _off_finding(case, p_even, p_others)) is not None
    ]
    return Found(tuple(findings))


def _offs(classes: Classes) -> list[_Off]:
    table: list[tuple[Class, tuple[Item, ...], list[tuple[float, float]]]] = []
    for each in classes.all:
        pairs = [(item, item.focus) for item in each.items]
        known = [(item, focus) for item, focus in pairs if focus is not None and focus[1] < 1]
        if known:
            table.append((each, tuple(item for item, _ in known), [f for _, f in known]))
    on = [[(e - c) / (1 - c) for e, c in focus] for _, _, focus in table]
    cases: list[_Off] = []
    for place, (each, items, focus) in enumerate(table):
        if len(items) < LEAST:
            continue
        rest = [value for other, values in enumerate(on) if other != place for value in values]
        less = [-value for value in on[place]]
        enough = len(rest) >= LEAST
        cases.append(
            _Off(
                each,
                items,
                float(np.mean([e for e, _ in focus])),
                float(np.mean([c for _, c in focus])),
                tuple(on[place]),
                float(np.mean(rest)) if rest else 0.0,
                cliff(less, [-value for value in rest]),
                greater(less, [-value for value in rest]) if enough else 1.0,
                positive([c - e for e, c in focus]),
            )
        )
    return cases


def _off_finding(case: _Off, p_even: float, p_others: float) -> Finding | None:
    limits = RULES["wrong-reason"].thresholds
    mean = float(np.mean(case.on))
    off = mean < limits["off"] and p_even < limits["p"]
    apart = (
        p_others < limits["p"]
        and case.delta >= limits["delta"]
        and case.others - mean >= limits["difference"]
    )
    if not off and not apart:
        return None
    p = p_even if off else p_others
    worst = np.argsort(case.on, kind="stable")[:SHOWN]
    return Finding(
        "wrong-reason",
        "problem" if off else "warning" if mean < limits["hardly"] else "note",
        _off_sentence(case, off=off),
        _off_evidence(case, p, off=off),
        f"{case.energy - case.chance:+.2f} of the map on the object against an even map, Cliff's "
        f"delta {-case.delta:.2f} against other classes",
        case.chance - case.energy if off else case.others - mean,
        p,
        case.group.title,
        "off the object",
        tuple(case.items[row].id for row in worst),
    )


def _off_sentence(case: _Off, *, off: bool) -> str:
    photos = f"{len(case.items)} {case.group.photos}"
    if off:
        return (
            f"{case.group.title!r} is right for the wrong reason: {percent(1 - case.energy)} of "
            f"the map lies off the object in {photos}, more than the "
            f"{percent(1 - case.chance)} of an even map."
        )
    return (
        f"The maps of {case.group.title!r} lie less on the object than those of other classes: "
        f"{percent(case.energy)} of the map in {photos}, {percent(case.chance)} for an even map."
    )


def _off_evidence(case: _Off, p: float, *, off: bool) -> tuple[str, ...]:
    mean, test = float(np.mean(case.on)), "Wilcoxon signed-rank" if off else "Mann-Whitney"
    compared = f", {case.others:.2f} in other classes" if case.others else ""
    told = (
        f"On a scale of 1 (on the object), 0 (spread evenly): {mean:.2f}{compared}.",
        f"{test} test, corrected for all classes: {probability(p)}.",
    )
    elsewhere = _elsewhere(case.items)
    return told if elsewhere is None else (*told, elsewhere)


def _elsewhere(items: tuple[Item, ...]) -> str | None:
    """The named place outside the object that holds most for its area."""
    if any(item.object is None for item in items):
        return None
    own, even = (table.mean(axis=0) for table in shares(items))
    gain = (own - even) / np.sqrt(np.maximum(even * (1 - even), 1e-6))
    place = int(gain.argmax())
    if own[place] <= even[place]:
        return None
    return (
        f"What lies off the object is densest in {REGIONS[place].name}: {percent(own[place])} of "
        f"the map, {percent(even[place])} of an even one."
    )


# ── on another object ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Beside:
    """The right photos of a class in which an object of another class stands.

    Args:
        there, even: the share of the map on the other object, and that of an even map, of each.
        mine, mine_even: the same of the labelled object.
    """

    group: Class
    other: str
    items: tuple[Item, ...]
    there: tuple[float, ...]
    even: tuple[float, ...]
    mine: float
    mine_even: float
    p: float


def other_object(classes: Classes) -> Found:
    """The rule other-object, for every class and every class that stands beside it."""
    if not any(item.things for item in classes.items):
        return Found(
            remarks=("No photo's objects are annotated: other objects cannot be told from it.",)
        )
    cases = [case for each in classes.large for case in _besides(each)]
    limits = RULES["other-object"].thresholds
    findings: list[Finding] = []
    for case, p in zip(cases, holm([case.p for case in cases]), strict=True):
        there, even = float(np.mean(case.there)), float(np.mean(case.even))
        dense = there >= limits["times even"] * even
        if p < limits["p"] and there >= limits["share"] and dense:
            findings.append(_beside_finding(case, p, classes))
    return Found(tuple(findings))


def _besides(group: Class) -> list[_Beside]:
    labels = dict.fromkeys(
        thing.label
        for item in group.items
        for thing in item.things or ()
        if thing.label != item.label
    )
    cases: list[_Beside] = []
    for label in labels:
        found = [(item, row) for item in group.items if (row := _row(item, label)) is not None]
        if len(found) < LEAST:
            continue
        rows = np.array([row for _, row in found])
        cases.append(
            _Beside(
                group,
                label,
                tuple(item for item, _ in found),
                tuple(rows[:, 0].tolist()),
                tuple(rows[:, 1].tolist()),
                float(rows[:, 2].mean()),
                float(rows[:, 3].mean()),
                positive((rows[:, 0] - rows[:, 1]).tolist()),
            )
        )
    return cases


def _row(item: Item, label: str) -> tuple[float, float, float, float] | None:
    """The map's and an even map's share on the other object, then on the labelled one."""
    boxes = [thing.box for thing in item.things or () if thing.label == label]
    if not boxes or item.object is None or item.outside is None:
        return None
    there = inside(boxes, item.grid) * item.outside
    if not there.any():
        return None
    return (
        share(item.map, there),
        float(there.mean()),
        share(item.map, item.object),
        float(item.object.mean()),
    )


def _beside_finding(case: _Beside, p: float, classes: Classes) -> Finding:
    there, even = float(np.mean(case.there)), float(np.mean(case.even))
    own, other = case.group.title, classes.title(case.other)
    density, own_density = there / even, case.mine / max(case.mine_even, 1e-9)
    denser = density > own_density
    best = np.argsort([-part for part in case.there], kind="stable")[:SHOWN]
    beside = sum(
        any(thing.label == case.other for thing in item.things or ())
        for item in classes.others(case.group)
        if classes.title(item.label or "") != other
    )
    rest = sum(classes.title(item.label or "") != other for item in classes.others(case.group))
    looks = "is recognised by" if denser else "is recognised also by"
    return Finding(
        "other-object",
        "problem" if denser else "note",
        f"{own!r} {looks} {other!r} beside it: {percent(there)} of the map lies on {other!r} in "
        f"{len(case.items)} {case.group.photos}, {percent(case.mine)} on {own!r} itself.",
        (
            (
                f"{other!r} covers {percent(even)} of the picture outside {own!r}, so it has "
                f"{density:.1f} times what an even map would; {own!r} itself covers "
                f"{percent(case.mine_even)} and has {own_density:.1f} times."
            ),
            (
                f"{other!r} stands beside {own!r} in {len(case.items)} of {len(case.group.items)} "
                f"right photos, and in {beside} of {rest} of other classes."
            ),
            (
                "Wilcoxon signed-rank test against an even map, corrected for all pairs: "
                f"{probability(p)}."
            ),
        ),
        f"{there - even:+.2f} of the map against an even one",
        there - even,
        p,
        own,
        f"the box of {other!r}",
        tuple(case.items[row].id for row in best),
    )
