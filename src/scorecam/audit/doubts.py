"""Maps that depend on how they are computed, and classes confused through the same place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scorecam.audit.classes import Classes
from scorecam.audit.finding import Finding, Found
from scorecam.audit.items import Item
from scorecam.audit.places import SHOWN, shares
from scorecam.audit.regions import REGIONS, Map, inside, share
from scorecam.audit.rules import LEAST, RULES, percent, probability
from scorecam.audit.significance import cliff, each_greater, holm, positive, rank_correlation

APART = "consensus"
"""Not among the variants that are compared: it is zero wherever it agrees with nothing."""

# ── fragile maps ─────────────────────────────────────────────────────────────────────────────


def agreement(item: Item) -> tuple[float, str] | None:
    """The lowest rank correlation of a photo's map with another variant's, and which that is."""
    seen = None if item.entry is None else item.entry.role("target")
    if seen is None or len(seen.maps.keys() - {APART}) < 2:
        return None
    (first, own), *others = [pair for pair in seen.maps.items() if pair[0] != APART]
    found = [
        (correlation, f"{first} and {view}")
        for view, heat in others
        if (correlation := rank_correlation(own, heat)) is not None
    ]
    return min(found, default=None)


def fragile(items: Sequence[Item]) -> Found:
    """The rule fragile, over all photos."""
    limits = RULES["fragile"].thresholds
    pairs = [(item, agreement(item)) for item in items]
    known = [(item, found) for item, found in pairs if found is not None]
    findings: list[Finding] = []
    if known:
        weak = sorted(
            ((found[0], item.id, found[1]) for item, found in known
             if found[0] < limits["correlation"]),
        )  # fmt: skip
        median = float(np.median([found[0] for _, found in known]))
        sentence = (
            f"{len(weak)} of {len(known)} maps are other maps by another variant: their rank "
            f"correlation is below {limits['correlation']:g}."
        )
        evidence = [f"The median over all photos is {median:.2f}."]
        if weak:
            pair = max({each[2] for each in weak}, key=[each[2] for each in weak].count)
            evidence.append(f"Most often it is {pair} that disagree.")
        ids = tuple(each[1] for each in weak[:SHOWN])
        findings += _described(sentence, evidence, len(weak) / len(known), ids)
    rough = [
        item
        for item in items
        if item.entry is not None and (item.entry.error or 0.0) > limits["error"]
    ]
    sentence = (
        f"{len(rough)} of {len(items)} maps may be off by more than {limits['error']:g} of their "
        "range: the budget left out masks that matter."
    )
    ids = tuple(item.id for item in rough[:SHOWN])
    findings += _described(sentence, [], len(rough) / max(len(items), 1), ids)
    untold = ("Other variants' maps are not known: whether maps are fragile cannot be told.",)
    return Found(tuple(findings), () if known else untold)


def _described(
    sentence: str, evidence: list[str], rate: float, photos: tuple[str, ...]
) -> list[Finding]:
    limits = RULES["fragile"].thresholds
    if rate < limits["rate for a note"]:
        return []
    level = "warning" if rate >= limits["rate for a warning"] else "note"
    effect = f"{percent(rate)} of the photos"
    return [Finding("fragile", level, sentence, tuple(evidence), effect, rate, photos=photos)]


# ── confused classes ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Mix:
    """Photos of one class that are taken for another, and where the maps of that lie.

    Args:
        place: in words.
        object: whether the place is another object.
        share, even: of the prediction's maps, and of an even map.
        other: the mean share that it is held against.
    """

    label: str
    taken: str
    place: str
    object: bool
    items: tuple[Item, ...]
    share: float
    even: float
    other: float
    delta: float
    p: float

    @property
    def boxes(self) -> bool:
        return all(item.object is not None for item in self.items)

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
    maps = [(item, heat) for item in items if (heat := _prediction(item)) is not None]
    pairs: dict[tuple[str, str], list[int]] = {}
    for row, (item, _) in enumerate(maps):
        if item.right is False and item.label is not None:
            pair = classes.title(item.label), item.predicted.title
            pairs.setdefault(pair, []).append(row)
    least = RULES["confused"].thresholds["photos"]
    pairs = {pair: rows for pair, rows in pairs.items() if len(rows) >= least}
    cases = [case for pair, rows in pairs.items() for case in _mixes(pair, rows, maps, classes)]
    best: dict[tuple[str, str], tuple[bool, Finding]] = {}
    for case, p in zip(cases, holm([case.p for case in cases]), strict=True):
        if p >= RULES["confused"].thresholds["p"] or not case.large():
            continue
        found, pair = _mix_finding(case, p), (case.label, case.taken)
        known = best.get(pair)
        # An object says more than the region that it stands in.
        if known is None or (case.object, found.size) > (known[0], known[1].size):
            best[pair] = case.object, found
    return Found(tuple(found for _, found in best.values()), _unmapped(items))


def _prediction(item: Item) -> Map | None:
    """The map of the predicted class, on the item's own grid; None where there is none."""
    heat = item.map_of("predicted")
    if heat is None or heat.shape != item.grid or not float(heat.sum()) > 0:
        return None
    return heat


def _unmapped(items: Sequence[Item]) -> tuple[str, ...]:
    lacking = sum(item.right is False and item.map_of("predicted") is None for item in items)
    if not lacking:
        return ()
    return (
        (
            f"Of {lacking} wrong predictions there is no map of the predicted class: where the "
            "model looked instead cannot be told."
        ),
    )


def _mixes(
    pair: tuple[str, str], rows: list[int], maps: list[tuple[Item, Map]], classes: Classes
) -> list[_Mix]:
    items = tuple(maps[row][0] for row in rows)
    cases = _mixed_objects(pair, items, [maps[row][1] for row in rows], classes)
    rest = [each for row, each in enumerate(maps) if row not in set(rows)]
    if len(rest) < LEAST:
        return cases
    own, even = shares(items, [maps[row][1] for row in rows])
    others, _ = shares([item for item, _ in rest], [heat for _, heat in rest])
    ps = each_greater(own, others)
    for column, region in enumerate(REGIONS):
        one, other = own[:, column].tolist(), others[:, column].tolist()
        cases.append(
            _Mix(
                *pair,
                region.name,
                False,  # noqa: FBT003  (a field of the record)
                items,
                float(np.mean(one)),
                float(even[:, column].mean()),
                float(np.mean(other)),
                cliff(one, other),
                ps[column],
            )
        )
    return cases


def _mixed_objects(
    pair: tuple[str, str], items: tuple[Item, ...], maps: Sequence[Map], classes: Classes
) -> list[_Mix]:
    """The pair on each other object that stands in enough of its photos."""
    labels = dict.fromkeys(
        thing.label for item in items for thing in item.things or () if thing.label != item.label
    )
    cases: list[_Mix] = []
    for label in labels:
        found: list[tuple[Item, float, float]] = []
        for item, heat in zip(items, maps, strict=True):
            boxes = [thing.box for thing in item.things or () if thing.label == label]
            there = inside(boxes, item.grid) * (1.0 if item.outside is None else item.outside)
            if there.any():
                found.append((item, share(heat, there), float(there.mean())))
        if len(found) < RULES["confused"].thresholds["photos"]:
            continue
        even = float(np.mean([each[2] for each in found]))
        cases.append(
            _Mix(
                *pair,
                f"the box of {classes.title(label)!r}",
                True,  # noqa: FBT003  (a field of the record)
                tuple(each[0] for each in found),
                float(np.mean([each[1] for each in found])),
                even,
                even,
                0.0,
                positive([each[1] - each[2] for each in found]),
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
