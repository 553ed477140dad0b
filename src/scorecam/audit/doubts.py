"""Maps that depend on how they are computed, and classes confused through the same place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scorecam.audit.classes import Classes
from scorecam.audit.finding import Finding, Found
from scorecam.audit.items import Item
from scorecam.audit.places import SHOWN, Rows, Table
from scorecam.audit.regions import REGIONS, Map, around, inside, share
from scorecam.audit.rules import LEAST, RULES, counted, percent, probability
from scorecam.audit.significance import findable, floor, holm, positive, rank_correlation

APART = "consensus"
"""Not among the variants that are compared: it is zero wherever it agrees with nothing."""

# ── fragile maps ─────────────────────────────────────────────────────────────────────────────


def agreement(item: Item) -> tuple[float, str] | None:
    """The lowest rank correlation of a photo's map with another variant's, and which that is."""
    seen = None if item.entry is None else item.entry.role("target")
    if seen is None or item.view is None or item.view == APART:
        return None
    # Of one source where there is: the record's maps are smoother than the gallery's.
    own = seen.maps.get(item.view, item.map)
    found = [
        (correlation, f"{item.view} and {view}")
        for view, heat in seen.maps.items()
        if view not in (APART, item.view)
        and (correlation := rank_correlation(own, heat)) is not None
    ]
    return min(found, default=None)


def fragile(items: Sequence[Item]) -> Found:
    """The rule fragile, over all photos."""
    pairs = [(item, found) for item in items if (found := agreement(item)) is not None]
    findings = [*_disagreeing(pairs), *_rough(items)]
    if pairs:
        return Found(tuple(findings))
    if any(item.view in (None, APART) for item in items):
        why = "The method's maps are not held against those of variants"
    else:
        why = "Other variants' maps are not known"
    return Found(tuple(findings), (f"{why}: whether maps are fragile cannot be told.",))


def _disagreeing(known: Sequence[tuple[Item, tuple[float, str]]]) -> list[Finding]:
    limit = RULES["fragile"].thresholds["correlation"]
    weak = sorted((value, item.id, pair) for item, (value, pair) in known if value < limit)
    if not weak:
        return []
    [(pair, _)] = Counter(each[2] for each in weak).most_common(1)
    sentence = (
        f"{len(weak)} of {counted(len(known), 'map')} are other maps by another variant: their "
        f"rank correlation is below {limit:g}."
    )
    evidence = (
        f"The median over all photos is {np.median([found[0] for _, found in known]):.2f}.",
        f"Most often it is {pair} that disagree.",
    )
    return _described(sentence, evidence, [each[1] for each in weak], len(known))


def _rough(items: Sequence[Item]) -> list[Finding]:
    limit = RULES["fragile"].thresholds["error"]
    errors = [
        (item.entry.error, item.id)
        for item in items
        if item.entry is not None and item.entry.error is not None
    ]
    rough = sorted((each for each in errors if each[0] > limit), key=lambda each: -each[0])
    sentence = (
        f"{len(rough)} of {counted(len(errors), 'map')} may be off by more than {limit:g} of their "
        "range: the budget left out masks that matter."
    )
    return _described(sentence, (), [photo for _, photo in rough], len(errors))


def _described(
    sentence: str, evidence: tuple[str, ...], photos: Sequence[str], known: int
) -> list[Finding]:
    limits = RULES["fragile"].thresholds
    rate = len(photos) / max(known, 1)
    if known < limits["photos"] or rate < limits["rate for a note"]:
        return []
    level = "warning" if rate >= limits["rate for a warning"] else "note"
    effect = f"{percent(rate)} of the photos whose maps could be judged"
    return [
        Finding("fragile", level, sentence, evidence, effect, rate, photos=tuple(photos[:SHOWN]))
    ]


# ── confused classes ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Wrong:
    """A prediction's map, and what of the picture could be a distractor.

    Args:
        free: what is no part of the labelled object, nor of one of the predicted class; None where
            the labelled object is not known.
    """

    item: Item
    map: Map
    free: Map | None


@dataclass(frozen=True, eq=False)
class _Mix:
    """Photos of one class that are taken for another, and where the maps of that lie.

    Args:
        place: in words.
        object: whether the place is another object.
        boxes: whether only what lies outside the labelled object counts.
        share, even: of the prediction's maps, and of an even map.
        other: the mean share that it is held against.
        floor: the smallest p that the test can have.
    """

    label: str
    taken: str
    place: str
    object: bool
    boxes: bool
    items: tuple[Item, ...]
    share: float
    even: float
    other: float
    delta: float
    p: float
    floor: float = 0.0

    def large(self) -> bool:
        """Whether it crosses every threshold but that of p."""
        limits = RULES["confused"].thresholds
        if self.share < limits["times even"] * self.even:
            return False
        if self.object:
            return self.share >= limits["share"]
        apart = self.share - self.other >= limits["difference"]
        return apart and self.delta >= limits["delta"]


def confused(items: Sequence[Item], classes: Classes) -> Found:
    """The rule confused, for every pair of classes."""
    limits = RULES["confused"].thresholds
    maps = _predictions(items, classes)
    pairs: dict[tuple[str, int], list[int]] = {}
    for row, each in enumerate(maps):
        if each.item.right is False and each.item.label is not None:
            pairs.setdefault((each.item.label, each.item.predicted.index), []).append(row)
    several = [np.array(rows) for rows in pairs.values() if len(rows) >= limits["photos"]]
    if not several:
        return Found((), _unmapped(items))
    table = Table([each.map for each in maps], [each.free for each in maps])
    cases = [case for rows in several for case in _mixes(rows, maps, table, classes)]
    could = findable([case.floor for case in cases], limits["p"])
    cases = [case for case, tested in zip(cases, could, strict=True) if tested]
    best: dict[tuple[str, str], tuple[bool, Finding]] = {}
    for case, p in zip(cases, holm([case.p for case in cases]), strict=True):
        if p >= limits["p"] or not case.large():
            continue
        found, pair = _mix_finding(case, p), (case.label, case.taken)
        known = best.get(pair)
        # An object says more than the region that it stands in.
        if known is None or (case.object, found.size) > (known[0], known[1].size):
            best[pair] = case.object, found
    return Found(tuple(found for _, found in best.values()), _unmapped(items))


def _predictions(items: Sequence[Item], classes: Classes) -> list[_Wrong]:
    """The maps of the predicted classes, all of one source: records are smoother than galleries."""
    explained = all(item.target.index == item.predicted.index for item in items)
    found: list[_Wrong] = []
    for item in items:
        heat = item.map if explained else item.kept("predicted")
        if heat is None or heat.shape != item.grid or not float(heat.sum()) > 0:
            continue
        there = [t.box for t in item.things or () if classes.shows(t, item.predicted)]
        free = None if item.outside is None else item.outside * (1 - around(there, item.grid))
        found.append(_Wrong(item, heat, free))
    return found


def _unmapped(items: Sequence[Item]) -> tuple[str, ...]:
    lacking = sum(item.right is False and item.map_of("predicted") is None for item in items)
    if not lacking:
        return ()
    return (
        (
            f"Of {counted(lacking, 'wrong prediction')} there is no map of the predicted class: "
            "where the model looked instead cannot be told."
        ),
    )


def _mixes(rows: Rows, maps: Sequence[_Wrong], table: Table, classes: Classes) -> list[_Mix]:
    mixed = [maps[row] for row in rows]
    names = classes.title(mixed[0].item.label), classes.named(mixed[0].item.predicted)
    cases = _mixed_objects(names, mixed, classes)
    rest = np.setdiff1d(np.arange(len(maps)), rows)
    if len(rest) < LEAST:
        return cases
    limits = RULES["confused"].thresholds
    boxes = table.boxes(rows, int(limits["photos"])) and table.boxes(rest)
    deltas, ps = table.against(rows, limits["delta"], boxes=boxes)
    rows, own, even = table.part(rows, boxes=boxes)
    _, others, _ = table.part(rest, boxes=boxes)
    items = tuple(maps[row].item for row in rows)
    for column, region in enumerate(REGIONS):
        cases.append(
            _Mix(
                *names,
                region.name,
                False,  # noqa: FBT003  (a field of the record)
                boxes,
                items,
                float(own[:, column].mean()),
                float(even[:, column].mean()),
                float(others[:, column].mean()),
                deltas[column],
                ps[column],
            )
        )
    return cases


def _mixed_objects(names: tuple[str, str], mixed: Sequence[_Wrong], classes: Classes) -> list[_Mix]:
    """The pair on each other object that stands in enough of its photos.

    An object of the predicted class is no distractor: it is what the model says that it sees.
    """
    labels = dict.fromkeys(
        thing.label
        for each in mixed
        for thing in each.item.beside
        if not classes.shows(thing, each.item.predicted)
    )
    cases: list[_Mix] = []
    for label in labels:
        found: list[tuple[_Wrong, float, float]] = []
        for each in mixed:
            there = inside(each.item.boxes(label), each.item.grid) * (
                1.0 if each.free is None else each.free
            )
            if there.any():
                found.append((each, share(each.map, there), float(there.mean())))
        if len(found) < RULES["confused"].thresholds["photos"]:
            continue
        even, more = float(np.mean([area for _, _, area in found])), [p - a for _, p, a in found]
        cases.append(
            _Mix(
                *names,
                f"the box of {classes.title(label)!r}",
                True,  # noqa: FBT003  (a field of the record)
                all(each.free is not None for each, _, _ in found),
                tuple(each.item for each, _, _ in found),
                float(np.mean([part for _, part, _ in found])),
                even,
                even,
                0.0,
                positive(more),
                floor(more),
            )
        )
    return cases


def _mix_finding(case: _Mix, p: float) -> Finding:
    against = "an even map" if case.object else "other photos"
    outside = ", outside the labelled object" if case.boxes else ""
    test = "Wilcoxon signed-rank" if case.object else "Mann-Whitney"
    return Finding(
        "confused",
        "warning" if case.boxes else "note",
        f"{len(case.items)} photos of {case.label!r} are taken for {case.taken!r} for what is at "
        f"{case.place}{outside}: {percent(case.share)} of the prediction's map lies there, "
        f"{percent(case.other)} in {against}.",
        (f"{test} test, corrected for all pairs and places: {probability(p)}.",),
        f"{case.share - case.other:+.2f} of the map against {against}",
        case.share - case.other,
        p,
        case.label,
        case.place,
        tuple(item.id for item in case.items[:SHOWN]),
    )
