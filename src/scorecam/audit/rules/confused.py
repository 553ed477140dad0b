"""The rule `confused`: classes are confused through the same distractor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from scorecam.audit.finding import Finding, RuleResult
from scorecam.audit.geometry import REGIONS, Map, around, inside, share
from scorecam.audit.item import Item
from scorecam.audit.photos import Photos
from scorecam.audit.photos_by_class import PhotosByClass
from scorecam.audit.place_shares import Indices, ShareTable
from scorecam.audit.rule import Rule
from scorecam.audit.sentences import counted, p_value, percent
from scorecam.audit.significance import findable, floor, holm, positive
from scorecam.audit.thresholds import ALPHA, EXAMPLES, LARGE_DELTA, MIN_PHOTOS, RANK_TESTS

THRESHOLDS = MappingProxyType(
    {
        "p": ALPHA,
        "photos": 3,
        "difference": 0.1,
        "delta": LARGE_DELTA,
        "times uniform": 2.0,
        "share": 0.2,
    }
)


@dataclass(frozen=True, eq=False)
class _Prediction:
    """The map of a photo's predicted class.

    Args:
        item: the photo.
        map: of the predicted class.
        outside: the cells outside the labelled object and any object of the predicted class; None
            if the labelled object is unknown.
    """

    item: Item
    map: Map
    outside: Map | None


@dataclass(frozen=True, eq=False)
class _Pair:
    """Photos of one class predicted as another, tested in one place.

    Args:
        label, predicted: the titles of the two classes.
        place: a region's name, or "the box of ...".
        is_object: whether the place is another object.
        boxes: whether only cells outside the objects count.
        items: the photos.
        share, uniform: the mean share of the predictions' maps, and of a uniform map.
        reference: the mean share that `share` is compared with.
        delta: Cliff's delta against all other predictions; 0 for an object.
        p: of the test.
        floor: the smallest p that the test can have.
    """

    label: str
    predicted: str
    place: str
    is_object: bool
    boxes: bool
    items: tuple[Item, ...]
    share: float
    uniform: float
    reference: float
    delta: float
    p: float
    floor: float = 0.0

    @property
    def gain(self) -> float:
        """The difference of the mean shares."""
        return self.share - self.reference

    @property
    def large(self) -> bool:
        """Whether it exceeds every threshold except p."""
        if self.share < THRESHOLDS["times uniform"] * self.uniform:
            return False
        if self.is_object:
            return self.share >= THRESHOLDS["share"]
        return self.gain >= THRESHOLDS["difference"] and self.delta >= THRESHOLDS["delta"]


def find(photos: Photos) -> RuleResult:
    """Pairs of confused classes, with the predictions' maps in one place or on one object."""
    predictions = _predictions(photos.items, photos.classes)
    by_pair: dict[tuple[str, int], list[int]] = {}
    for index, prediction in enumerate(predictions):
        item = prediction.item
        if item.right is False and item.label is not None:
            by_pair.setdefault((item.label, item.predicted.index), []).append(index)
    frequent = [np.array(rows) for rows in by_pair.values() if len(rows) >= THRESHOLDS["photos"]]
    remarks = _without_map(photos.items)
    if not frequent:
        return RuleResult((), remarks)
    table = ShareTable(
        [prediction.map for prediction in predictions],
        [prediction.outside for prediction in predictions],
    )
    pairs: list[_Pair] = []
    for rows in frequent:
        chosen = [predictions[row] for row in rows]
        pairs += _object_pairs(chosen, photos.classes)
        pairs += _region_pairs(rows, predictions, table, photos.classes)
    return RuleResult(tuple(_finding(pair) for pair in _strongest(pairs)), remarks)


def _strongest(pairs: Sequence[_Pair]) -> list[_Pair]:
    """The strongest significant place of each pair of classes, with corrected p."""
    testable = findable([pair.floor for pair in pairs], THRESHOLDS["p"])
    pairs = [pair for pair, kept in zip(pairs, testable, strict=True) if kept]
    best: dict[tuple[str, str], _Pair] = {}
    for pair, p in zip(pairs, holm([pair.p for pair in pairs]), strict=True):
        if p >= THRESHOLDS["p"] or not pair.large:
            continue
        names = pair.label, pair.predicted
        known = best.get(names)
        # An object is more specific than the region around it.
        if known is None or (pair.is_object, pair.gain) > (known.is_object, known.gain):
            best[names] = replace(pair, p=p)
    return list(best.values())


def _predictions(items: Sequence[Item], classes: PhotosByClass) -> list[_Prediction]:
    """The maps of the predicted classes, all of them from records or all from the gallery.

    The two sources are not mixed, because maps in records are smoother.
    """
    explained = all(item.target.index == item.predicted.index for item in items)
    predictions: list[_Prediction] = []
    for item in items:
        heat = item.map if explained else item.gallery_map("predicted")
        if heat is None or heat.shape != item.grid or not float(heat.sum()) > 0:
            continue
        boxes = [each.box for each in item.annotations or () if classes.shows(each, item.predicted)]
        outside = None if item.outside is None else item.outside * (1 - around(boxes, item.grid))
        predictions.append(_Prediction(item, heat, outside))
    return predictions


def _without_map(items: Sequence[Item]) -> tuple[str, ...]:
    lacking = sum(item.right is False and item.map_of("predicted") is None for item in items)
    if not lacking:
        return ()
    return (
        (
            f"{counted(lacking, 'wrong prediction')} without a map of the predicted class: where "
            "the model looked instead is unknown."
        ),
    )


def _names(first: _Prediction, classes: PhotosByClass) -> tuple[str, str]:
    return classes.title(first.item.label), classes.named(first.item.predicted)


def _region_pairs(
    rows: Indices,
    predictions: Sequence[_Prediction],
    table: ShareTable,
    classes: PhotosByClass,
) -> list[_Pair]:
    """A pair of classes tested in every named region, against all other predictions."""
    rest = np.setdiff1d(np.arange(len(predictions)), rows)
    if len(rest) < MIN_PHOTOS:
        return []
    label, predicted = _names(predictions[rows[0]], classes)
    boxes = table.has_boxes(rows, int(THRESHOLDS["photos"])) and table.has_boxes(rest)
    deltas, ps = table.compare(rows, THRESHOLDS["delta"], boxes=boxes)
    rows, own, uniform = table.select(rows, boxes=boxes)
    _, others, _ = table.select(rest, boxes=boxes)
    items = tuple(predictions[row].item for row in rows)
    return [
        _Pair(
            label=label,
            predicted=predicted,
            place=region.name,
            is_object=False,
            boxes=boxes,
            items=items,
            share=float(own[:, number].mean()),
            uniform=float(uniform[:, number].mean()),
            reference=float(others[:, number].mean()),
            delta=deltas[number],
            p=ps[number],
        )
        for number, region in enumerate(REGIONS)
    ]


def _object_pairs(chosen: Sequence[_Prediction], classes: PhotosByClass) -> list[_Pair]:
    """A pair of classes tested on each other object that enough of its photos show.

    An object of the predicted class isn't a distractor: the prediction is partly right.
    """
    labels = dict.fromkeys(
        other.label
        for each in chosen
        for other in each.item.other_objects
        if not classes.shows(other, each.item.predicted)
    )
    pairs = (_object_pair(label, chosen, classes) for label in labels)
    return [pair for pair in pairs if pair is not None]


def _object_pair(
    object_label: str, chosen: Sequence[_Prediction], classes: PhotosByClass
) -> _Pair | None:
    shares: list[tuple[_Prediction, float, float]] = []
    for each in chosen:
        cells = inside(each.item.boxes(object_label), each.item.grid) * (
            1.0 if each.outside is None else each.outside
        )
        if cells.any():
            shares.append((each, share(each.map, cells), float(cells.mean())))
    if len(shares) < THRESHOLDS["photos"]:
        return None
    label, predicted = _names(chosen[0], classes)
    uniform = float(np.mean([area for _, _, area in shares]))
    differences = [part - area for _, part, area in shares]
    return _Pair(
        label=label,
        predicted=predicted,
        place=f"the box of {classes.title(object_label)!r}",
        is_object=True,
        boxes=all(each.outside is not None for each, _, _ in shares),
        items=tuple(each.item for each, _, _ in shares),
        share=float(np.mean([part for _, part, _ in shares])),
        uniform=uniform,
        reference=uniform,
        delta=0.0,
        p=positive(differences),
        floor=floor(differences),
    )


def _finding(pair: _Pair) -> Finding:
    reference = "a uniform map" if pair.is_object else "other photos"
    outside = ", outside the labelled object" if pair.boxes else ""
    test = "Wilcoxon signed-rank" if pair.is_object else "Mann-Whitney"
    return Finding(
        rule="confused",
        level="warning" if pair.boxes else "note",
        sentence=(
            f"{len(pair.items)} photos of {pair.label!r} are predicted as {pair.predicted!r}, with "
            f"the prediction's map at {pair.place}: {percent(pair.share)} of it is "
            f"there{outside}, compared with {percent(pair.reference)} for {reference}."
        ),
        evidence=(f"{test} test, corrected for all pairs and places: {p_value(pair.p)}.",),
        effect=f"{pair.gain:+.2f} of the map compared with {reference}",
        size=pair.gain,
        p=pair.p,
        label=pair.label,
        region=pair.place,
        photos=tuple(item.id for item in pair.items[:EXAMPLES]),
    )


RULE = Rule(
    code="confused",
    title="classes are confused through the same distractor",
    looks_for=(
        "photos of one class predicted as one other class, with the prediction's map in the same "
        "place or on the same other object"
    ),
    statistic=(
        "the share of the prediction's map in the place, if there are boxes only outside the "
        "labelled object and any object of the predicted class; one-sided Mann-Whitney test "
        "against the predictions' maps of all other photos; for another object, Wilcoxon's "
        "signed-rank test against a uniform map; Holm's correction over every pair of classes and "
        "place"
    ),
    source=f"Wang et al. 2020, Figure 11 (distractors); {RANK_TESTS}",
    thresholds=THRESHOLDS,
    levels="warning if boxes show that the place is off the object; note without boxes",
    find=find,
    role="predicted",
)
