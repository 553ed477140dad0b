"""The same place over a whole class, or over a part of one: corners, borders, ninths."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from scorecam.audit.classes import Class, Classes
from scorecam.audit.finding import Finding, Found
from scorecam.audit.items import Item
from scorecam.audit.regions import REGIONS, Map, Region, of_region
from scorecam.audit.rules import LEAST, MOST, RULES, listed, percent, probability
from scorecam.audit.significance import Pool, findable, floor, holm, more_often, positive

Shares = Annotated[npt.NDArray[np.float64], "n regions"]
Rows = Annotated[npt.NDArray[np.int_], "n"]
Hits = Annotated[npt.NDArray[np.bool_], "n"]

CODES = {"corner": "corner", "border": "border", "part": "same-region"}
"""The rule of each kind of region."""

SHOWN = 12
"""Photos that stand for a finding."""


@functools.lru_cache(maxsize=64)
def _regions(grid: tuple[int, int]) -> Any:
    return np.stack([of_region(region, grid).ravel() for region in REGIONS])


def shares(maps: Sequence[Map], counted: Sequence[Map | None]) -> tuple[Shares, Shares]:
    """The share of each map in each named region, and that of an even map.

    Args:
        counted: of each map, how much of each cell is no part of the object; None for all of it.
    """
    found, even = np.zeros((len(maps), len(REGIONS))), np.zeros((len(maps), len(REGIONS)))
    for row, (heat, cells) in enumerate(zip(maps, counted, strict=True)):
        regions = _regions((heat.shape[0], heat.shape[1]))
        if cells is not None:
            regions = regions * cells.ravel()
        found[row] = regions @ heat.ravel() / max(float(heat.sum()), 1e-12)
        even[row] = regions.mean(axis=1)
    return found, even


class Table:
    """The shares of many photos' maps, so that any of them can be held against any others.

    What lies outside the object is never held against what lies anywhere.

    Args:
        maps: one of each photo.
        outside: what of the picture is not the object's; None where that is not known.
    """

    def __init__(self, maps: Sequence[Map], outside: Sequence[Map | None]) -> None:
        self.known = np.array([cells is not None for cells in outside], bool)
        self._whole = shares(maps, [None] * len(maps))
        self._outside = shares(maps, outside)
        self._pools = Pool(self._whole[0]), Pool(self._outside[0][self.known])

    def part(self, rows: Rows, *, boxes: bool) -> tuple[Rows, Shares, Shares]:
        """Those of some photos that can be counted, their shares, and an even map's.

        Args:
            boxes: whether only what lies outside the object counts.
        """
        rows = rows[self.known[rows]] if boxes else rows
        found, even = self._outside if boxes else self._whole
        return rows, found[rows], even[rows]

    def against(self, rows: Rows, least: float, *, boxes: bool) -> tuple[list[float], list[float]]:
        """In each region, those of some photos against all others that can be counted.

        Args:
            least, returns: as `Pool.against`.
        """
        mine = np.zeros(len(self.known), bool)
        mine[rows] = True
        return self._pools[boxes].against(mine[self.known] if boxes else mine, least)

    def boxes(self, rows: Rows, least: int = LEAST) -> bool:
        """Whether enough of some photos have a known object for the others to be left out."""
        return int(self.known[rows].sum()) >= least


@dataclass(frozen=True, eq=False)
class _Pair:
    """A class and all others, as far as they can be compared.

    Args:
        items: of the class, those that are counted.
        boxes: whether only what lies outside the labelled object counts, on both sides.
        own, even: the shares of the class's maps, and an even map's.
        others, others_even: the same of the other classes'.
        table, rows: of all photos, and which of them are counted.
    """

    group: Class
    items: tuple[Item, ...]
    boxes: bool
    own: Shares
    even: Shares
    others: Shares
    others_even: Shares
    table: Table
    rows: Rows


def _pairs(classes: Classes) -> list[_Pair]:
    """Every class that has, and is held against, enough photos."""
    items = classes.items
    table = Table([item.map for item in items], [item.outside for item in items])
    owner = np.repeat(np.arange(len(classes.all)), [len(each.items) for each in classes.all])
    found: list[_Pair] = []
    for place, each in enumerate(classes.all):
        mine, rest = np.nonzero(owner == place)[0], np.nonzero(owner != place)[0]
        if min(len(mine), len(rest)) < LEAST:
            continue
        boxes = table.boxes(mine) and table.boxes(rest)
        rows, own, even = table.part(mine, boxes=boxes)
        _, others, others_even = table.part(rest, boxes=boxes)
        chosen = tuple(items[row] for row in rows)
        found.append(_Pair(each, chosen, boxes, own, even, others, others_even, table, rows))
    return found


@dataclass(frozen=True, eq=False)
class _Case:
    """A class, or all photos together, in one region.

    Args:
        group: None for all photos.
        other: the mean share that it is held against.
        delta: Cliff's, against the other classes; None where the test is against an even map.
        boxes: whether only what lies outside the labelled object counts.
        floor: the smallest p that the test can have.
        most: of all photos together, the part of the classes that cross the thresholds themselves.
    """

    group: Class | None
    region: Region
    items: tuple[Item, ...]
    own: npt.NDArray[np.float64]
    even: float
    other: float
    delta: float | None
    boxes: bool
    p: float
    floor: float = 0.0
    most: float = 1.0

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


def same_region(classes: Classes) -> Found:
    """The rules corner, border and same-region: each class's one most telling place."""
    pairs, alpha = _pairs(classes), RULES["corner"].thresholds["p"]
    cases = [case for pair in pairs for case in _cases(pair)] + _everywhere(classes)
    could = findable([case.floor for case in cases], alpha)
    cases = [case for case, tested in zip(cases, could, strict=True) if tested]
    kept: dict[str | None, tuple[_Case, float]] = {}
    for case, p in zip(cases, holm([case.p for case in cases]), strict=True):
        if p >= alpha or not case.large():
            continue
        key = None if case.group is None else case.group.title
        if key not in kept or case.strength > kept[key][0].strength:
            kept[key] = (case, p)
    if None in kept and len(kept) > 1 and kept[None][0].most <= MOST:
        del kept[None]  # it is those classes that it was found for
    findings = tuple(_finding(case, p) for case, p in kept.values())
    return Found(findings, _untold(classes))


def _untold(classes: Classes) -> tuple[str, ...]:
    if not classes.large:
        return (
            (
                f"No class has {LEAST} photos that the model gets right: what its maps have in "
                "common cannot be told."
            ),
        )
    if len(classes.all) == 1:
        return ("There is one class only: it cannot be held against others.",)
    told: list[str] = []
    if small := [each.title for each in classes.all if len(each.items) < LEAST]:
        told.append(
            f"Classes with fewer than {LEAST} right photos, of which rules about a class say "
            f"nothing: {listed(small)}."
        )
    count = len(classes.items)
    alone = [each.title for each in classes.large if count - len(each.items) < LEAST]
    if alone:
        told.append(
            f"All other classes together have fewer than {LEAST} right photos, so there is "
            f"nothing to hold against: {listed(alone)}."
        )
    return tuple(told)


def _cases(pair: _Pair) -> list[_Case]:
    least = RULES["corner"].thresholds["delta"]
    deltas, ps = pair.table.against(pair.rows, least, boxes=pair.boxes)
    return [
        _Case(
            pair.group,
            region,
            pair.items,
            pair.own[:, column],
            float(pair.even[:, column].mean()),
            float(pair.others[:, column].mean()),
            deltas[column],
            pair.boxes,
            ps[column],
        )
        for column, region in enumerate(REGIONS)
    ]


def _everywhere(classes: Classes) -> list[_Case]:
    """All photos together against an even map: a mark that stands for every class.

    Not in the ninths: photographers put what they photograph in the middle.
    """
    known = tuple(item for item in classes.items if item.outside is not None)
    boxes = 2 * len(known) >= len(classes.items)
    items = known if boxes else classes.items
    if len(items) < LEAST:
        return []
    own, even = shares(
        [item.map for item in items], [item.outside if boxes else None for item in items]
    )
    owner = np.array([item.predicted.index for item in items])
    cases: list[_Case] = []
    for column, region in enumerate(REGIONS):
        if region.kind == "part":
            continue
        whole = _Case(
            None,
            region,
            items,
            own[:, column],
            float(even[:, column].mean()),
            float(even[:, column].mean()),
            None,
            boxes,
            positive(more := (own[:, column] - even[:, column]).tolist()),
            floor(more),
        )
        each = [replace(whole, own=whole.own[owner == index]) for index in np.unique(owner)]
        cases.append(replace(whole, most=float(np.mean([case.large() for case in each]))))
    return cases


def _finding(case: _Case, p: float) -> Finding:
    code = CODES[case.region.kind]
    unknown = "note" if case.region.kind == "part" else "warning"
    outside = ", outside the labelled object," if case.boxes else ""
    mean, place = float(case.own.mean()), case.region.name
    best = np.argsort(-case.own, kind="stable")[:SHOWN]
    hits = int((case.own >= 2 * case.even).sum())
    some = "All" if case.most == 1 else "Most" if case.most > MOST else "Some"
    who = f"{some} classes are" if case.group is None else f"{case.group.title!r} is"
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
        if len(case.items) < len(case.group.items):
            evidence.append("The class's other photos have no boxes, and are left out.")
        evidence += _parts(case.group)
    against = "an even map" if case.delta is None else "the other classes"
    effect = f"{case.gain:+.2f} of the map against {against}"
    if case.delta is not None:
        effect += f", Cliff's delta {case.delta:.2f}"
    return Finding(
        code,
        "problem" if case.boxes else unknown,
        f"{who} recognised by {place}: {percent(mean)} of the map{outside} lies there in "
        f"{f'{len(case.own)} photos' if case.group is None else case.group.some(len(case.own))}, "
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
    found = group.clusters
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
    tests: list[tuple[_Pair, int, Hits, float, float]] = []
    for pair in _pairs(classes):
        mine, theirs = _hits(pair.own, pair.even), _hits(pair.others, pair.others_even)
        for column in range(len(REGIONS)):
            hits, others = mine[:, column], int(theirs[:, column].sum())
            p = more_often(int(hits.sum()), len(hits), others, len(theirs))
            tests.append((pair, column, hits, others / len(theirs), p))
    adjusted = holm([test[-1] for test in tests])
    known = {finding.label for finding in told}
    best: dict[str, Finding] = {}
    for (pair, column, hits, others, _), p in zip(tests, adjusted, strict=True):
        rate, title = float(hits.mean()), pair.group.title
        if p >= limits["p"] or hits.sum() < limits["hits"] or rate < limits["rate"]:
            continue
        if rate < limits["times others"] * others or title in known:
            continue
        found = _part_finding(pair, column, hits, others, p)
        if title not in best or found.size > best[title].size:
            best[title] = found
    return Found(tuple(best.values()))


def _hits(own: Shares, even: Shares) -> Hits:
    return own >= np.maximum(0.25, 3 * even)


def _part_finding(pair: _Pair, column: int, hits: Hits, others: float, p: float) -> Finding:
    region, group = REGIONS[column], pair.group
    chosen = {item.id for item, hit in zip(pair.items, hits, strict=True) if hit}
    ranked = [photo for each in group.clusters for photo in each.photos]
    rate = len(chosen) / len(pair.items)
    boxes = " with boxes" if len(pair.items) < len(group.items) else ""
    outside = " outside the labelled object" if pair.boxes else ""
    return Finding(
        "subgroup",
        "warning" if pair.boxes else "note",
        f"A part of {group.title!r} is recognised by {region.name}: {len(chosen)} of "
        f"{len(pair.items)} {group.photos}{boxes} have their map there{outside}, "
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
