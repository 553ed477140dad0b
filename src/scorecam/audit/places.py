"""The same place over a whole class, or over a part of one: corners, borders, ninths."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from scorecam.audit.classes import Class, Classes
from scorecam.audit.clusters import clusters
from scorecam.audit.finding import Finding, Found
from scorecam.audit.items import Item
from scorecam.audit.regions import REGIONS, Map, Region, of_region
from scorecam.audit.rules import LEAST, RULES, percent, probability
from scorecam.audit.significance import cliff, each_greater, holm, more_often, positive

Shares = Annotated[npt.NDArray[np.float64], "n regions"]

CODES = {"corner": "corner", "border": "border", "part": "same-region"}
"""The rule of each kind of region."""

SHOWN = 12
"""Photos that stand for a finding."""


@functools.lru_cache(maxsize=64)
def _regions(grid: tuple[int, int]) -> Any:
    return np.stack([of_region(region, grid).ravel() for region in REGIONS])


def shares(items: Sequence[Item], maps: Sequence[Map] | None = None) -> tuple[Shares, Shares]:
    """The share of each map in each named region, and that of an even map.

    Where the labelled object's boxes are known only what lies outside them is counted.

    Args:
        maps: others than the items' own, one each.
    """
    found, even = np.zeros((len(items), len(REGIONS))), np.zeros((len(items), len(REGIONS)))
    for row, item in enumerate(items):
        heat = (item.map if maps is None else maps[row]).ravel()
        regions = _regions(item.grid)
        if item.outside is not None:
            regions = regions * item.outside.ravel()
        found[row] = regions @ heat / max(float(heat.sum()), 1e-12)
        even[row] = regions.mean(axis=1)
    return found, even


@dataclass(frozen=True, eq=False)
class _Case:
    """A class, or all photos together, in one region.

    Args:
        group: None for all photos.
        other: the mean share that it is held against.
        delta: Cliff's, against the other classes; None where the test is against an even map.
    """

    group: Class | None
    region: Region
    items: tuple[Item, ...]
    own: npt.NDArray[np.float64]
    even: float
    other: float
    delta: float | None
    p: float

    @property
    def gain(self) -> float:
        return float(self.own.mean()) - self.other

    @property
    def strength(self) -> float:
        """The gain against what an even map's spread would be: small places count for more."""
        return self.gain / math.sqrt(self.region.area * (1 - self.region.area))

    def large(self) -> bool:
        """Whether it crosses every threshold but that of p."""
        limits = RULES[CODES[self.region.kind]].thresholds
        return (
            self.gain >= limits["difference"]
            and float(self.own.mean()) >= limits["times even"] * self.even
            and (self.delta is None or self.delta >= limits["delta"])
        )

    @property
    def boxes(self) -> bool:
        return all(item.object is not None for item in self.items)


def same_region(classes: Classes) -> Found:
    """The rules corner, border and same-region: each class's one most telling place."""
    cases = _cases(classes)
    adjusted = holm([case.p for case in cases])
    alpha = RULES["corner"].thresholds["p"]
    kept: dict[str | None, tuple[_Case, float]] = {}
    for case, p in zip(cases, adjusted, strict=True):
        if p >= alpha or not case.large():
            continue
        key = None if case.group is None else case.group.title
        if key not in kept or case.strength > kept[key][0].strength:
            kept[key] = (case, p)
    findings = tuple(_finding(case, p) for case, p in kept.values())
    return Found(findings, _untold(classes))


def _untold(classes: Classes) -> tuple[str, ...]:
    small = [each.title for each in classes.all if len(each.items) < LEAST]
    if not classes.large:
        return (
            (
                f"No class has {LEAST} photos that the model gets right: what its maps have in "
                "common cannot be told."
            ),
        )
    if len(classes.all) == 1:
        return ("There is one class only: it cannot be held against others.",)
    if small:
        named = ", ".join(small[:8]) + (", ..." if len(small) > 8 else "")
        return (
            (
                f"Classes with fewer than {LEAST} right photos, of which rules about a class say "
                f"nothing: {named}."
            ),
        )
    return ()


def _cases(classes: Classes) -> list[_Case]:
    cases: list[_Case] = []
    table = {id(each): shares(each.items) for each in classes.all}
    for each in classes.large:
        rest = [table[id(other)][0] for other in classes.all if other is not each]
        if sum(map(len, rest)) < LEAST:
            continue
        own, even = table[id(each)]
        elsewhere = np.concatenate(rest)
        ps = each_greater(own, elsewhere)
        for column, region in enumerate(REGIONS):
            one, other = own[:, column], elsewhere[:, column]
            cases.append(
                _Case(
                    each,
                    region,
                    each.items,
                    one,
                    float(even[:, column].mean()),
                    float(other.mean()),
                    cliff(one.tolist(), other.tolist()),
                    ps[column],
                )
            )
    if len(classes.items) >= LEAST:
        cases += _everywhere(classes)
    return cases


def _everywhere(classes: Classes) -> list[_Case]:
    """All photos together against an even map: a mark that stands for every class.

    Not in the ninths: photographers put what they photograph in the middle.
    """
    items = classes.items
    own, even = shares(items)
    return [
        _Case(
            None,
            region,
            items,
            own[:, column],
            float(even[:, column].mean()),
            float(even[:, column].mean()),
            None,
            positive((own[:, column] - even[:, column]).tolist()),
        )
        for column, region in enumerate(REGIONS)
        if region.kind != "part"
    ]


def _finding(case: _Case, p: float) -> Finding:
    code = CODES[case.region.kind]
    unknown = "note" if case.region.kind == "part" else "warning"
    outside = ", outside the labelled object," if case.boxes else ""
    mean, place = float(case.own.mean()), case.region.name
    best = np.argsort(-case.own, kind="stable")[:SHOWN]
    hits = int((case.own >= 2 * case.even).sum())
    who = "All classes are" if case.group is None else f"{case.group.title!r} is"
    where = f"{place[0].upper()}{place[1:]}"
    evidence = [
        (
            f"{where} is {percent(case.region.area)} of the picture; an even map would have "
            f"{percent(case.even)} there{' outside the labelled object' if case.boxes else ''}."
        ),
        f"{hits} of {len(case.own)} photos have at least twice that.",
        (
            f"{'Wilcoxon signed-rank' if case.group is None else 'Mann-Whitney'} test, corrected "
            f"for all classes and places: {probability(p)}."
        ),
    ]
    if case.group is not None:
        evidence += _parts(case.group)
    against = "an even map" if case.delta is None else "the other classes"
    effect = f"{case.gain:+.2f} of the map against {against}"
    if case.delta is not None:
        effect += f", Cliff's delta {case.delta:.2f}"
    return Finding(
        code,
        "problem" if case.boxes else unknown,
        f"{who} recognised by {place}: {percent(mean)} of the map{outside} lies there in "
        f"{len(case.own)} {'photos' if case.group is None else case.group.photos}, "
        f"{percent(case.other)} {'would by chance' if case.delta is None else 'in other classes'}.",
        tuple(evidence),
        effect,
        case.gain,
        p,
        None if case.group is None else case.group.title,
        place,
        tuple(case.items[row].id for row in best),
    )


def _parts(group: Class) -> list[str]:
    """What the clusters of a class's maps say."""
    found = clusters(group.items)
    if len(found) < 2:
        return []
    names = {item.id: item.name for item in group.items}
    told = "; ".join(f"{len(each.photos)} like {names[each.photos[0]]}" for each in found)
    return [f"The class's maps fall into {len(found)} groups: {told}."]


# ── a part of a class ────────────────────────────────────────────────────────────────────────


def subgroup(classes: Classes, told: Sequence[Finding]) -> Found:
    """The rule subgroup: some photos of a class look where other classes' photos do not.

    Args:
        told: what `same_region` found: a class that is told of there is not told of again.
    """
    limits = RULES["subgroup"].thresholds
    table = {id(each): _hits(each.items) for each in classes.all}
    tests: list[tuple[Class, int, int, float, float]] = []
    for each in classes.large:
        rest = [table[id(other)] for other in classes.all if other is not each]
        if sum(map(len, rest)) < LEAST:
            continue
        elsewhere = np.concatenate(rest)
        for column in range(len(REGIONS)):
            hits, others = int(table[id(each)][:, column].sum()), int(elsewhere[:, column].sum())
            p = more_often(hits, len(each.items), others, len(elsewhere))
            tests.append((each, column, hits, others / len(elsewhere), p))
    adjusted = holm([test[-1] for test in tests])
    known = {finding.label for finding in told}
    best: dict[str, Finding] = {}
    for (each, column, hits, others, _), p in zip(tests, adjusted, strict=True):
        rate = hits / len(each.items)
        if p >= limits["p"] or hits < limits["hits"] or rate < limits["rate"]:
            continue
        if rate < limits["times others"] * others or each.title in known:
            continue
        found = _part_finding(each, column, table[id(each)][:, column], others, p)
        if each.title not in best or found.size > best[each.title].size:
            best[each.title] = found
    return Found(tuple(best.values()))


def _hits(items: Sequence[Item]) -> npt.NDArray[np.bool_]:
    own, even = shares(items)
    return own >= np.maximum(0.25, 3 * even)


def _part_finding(
    group: Class, column: int, hits: npt.NDArray[np.bool_], others: float, p: float
) -> Finding:
    region = REGIONS[column]
    chosen = {item.id for item, hit in zip(group.items, hits, strict=True) if hit}
    ranked = [photo for each in clusters(group.items) for photo in each.photos]
    boxes = all(item.object is not None for item in group.items)
    rate = len(chosen) / len(group.items)
    outside = " outside the labelled object" if boxes else ""
    return Finding(
        "subgroup",
        "warning" if boxes else "note",
        f"A part of {group.title!r} is recognised by {region.name}: {len(chosen)} of "
        f"{len(group.items)} {group.photos} have their map there{outside}, "
        f"{percent(others)} of other classes' photos do.",
        (
            f"Fisher's exact test, corrected for all classes and places: {probability(p)}.",
            *_parts(group),
        ),
        f"{rate - others:+.2f} of the class's photos against other classes'",
        rate - others,
        p,
        group.title,
        region.name,
        tuple(photo for photo in ranked if photo in chosen)[:SHOWN],
    )
