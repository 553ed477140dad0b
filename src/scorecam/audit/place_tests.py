"""Tests whether the maps of a class, or all maps, have too much in a named region."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated

import numpy as np
import numpy.typing as npt

from scorecam.audit.geometry import REGIONS, Region
from scorecam.audit.item import Item
from scorecam.audit.photos_by_class import ClassPhotos, PhotosByClass
from scorecam.audit.place_shares import Indices, Shares, ShareTable, shares
from scorecam.audit.significance import findable, floor, holm, positive
from scorecam.audit.thresholds import ALPHA, LARGE_DELTA, MIN_PHOTOS, MOST_CLASSES

THRESHOLDS = MappingProxyType(
    {
        "p": ALPHA,
        "photos": MIN_PHOTOS,
        "difference": 0.1,
        "delta": LARGE_DELTA,
        "times uniform": 2.0,
    }
)
"""The thresholds of the rules that test named regions."""


@dataclass(frozen=True, eq=False)
class ClassShares:
    """The shares of one class's maps in the named regions, and those of all other classes.

    Args:
        group: the class.
        items: those of its photos that count.
        boxes: whether only cells outside the labelled object count, on both sides.
        own, uniform: the shares of the class's maps, and those of a uniform map.
        others, others_uniform: the same for the other classes.
        deltas, ps: Cliff's delta and p for each region, the class against the others.
    """

    group: ClassPhotos
    items: tuple[Item, ...]
    boxes: bool
    own: Shares
    uniform: Shares
    others: Shares
    others_uniform: Shares
    deltas: list[float]
    ps: list[float]


def class_shares(classes: PhotosByClass) -> list[ClassShares]:
    """The shares of every class that has enough photos, and enough photos of other classes."""
    items = classes.items
    table = ShareTable([item.map for item in items], [item.outside for item in items])
    owner = np.repeat(np.arange(len(classes.all)), [len(each.items) for each in classes.all])
    shares_by_class: list[ClassShares] = []
    for number, group in enumerate(classes.all):
        mine, rest = np.nonzero(owner == number)[0], np.nonzero(owner != number)[0]
        if min(len(mine), len(rest)) >= MIN_PHOTOS:
            shares_by_class.append(_compared(group, items, table, mine=mine, rest=rest))
    return shares_by_class


def _compared(
    group: ClassPhotos,
    items: tuple[Item, ...],
    table: ShareTable,
    *,
    mine: Indices,
    rest: Indices,
) -> ClassShares:
    boxes = table.has_boxes(mine) and table.has_boxes(rest)
    usable, own, uniform = table.select(mine, boxes=boxes)
    _, others, others_uniform = table.select(rest, boxes=boxes)
    deltas, ps = table.compare(usable, THRESHOLDS["delta"], boxes=boxes)
    return ClassShares(
        group=group,
        items=tuple(items[index] for index in usable),
        boxes=boxes,
        own=own,
        uniform=uniform,
        others=others,
        others_uniform=others_uniform,
        deltas=deltas,
        ps=ps,
    )


@dataclass(frozen=True, eq=False)
class PlaceTest:
    """A class, or all photos together, tested in one region.

    Args:
        group: None for all photos.
        region: the place.
        items: the photos.
        own: each photo's share of its map in the region.
        uniform: the mean share of a uniform map.
        reference: the mean share that `own` is compared with.
        delta: Cliff's delta against the other classes; None if tested against a uniform map.
        boxes: whether only cells outside the labelled object count.
        p: of the test.
        floor: the smallest p that the test can have.
        classes: for all photos together, the share of classes that exceed the thresholds alone.
    """

    group: ClassPhotos | None
    region: Region
    items: tuple[Item, ...]
    own: Annotated[npt.NDArray[np.float64], "n"]
    uniform: float
    reference: float
    delta: float | None
    boxes: bool
    p: float
    floor: float = 0.0
    classes: float = 1.0

    @property
    def gain(self) -> float:
        """The difference of the mean shares."""
        return float(self.own.mean()) - self.reference

    @property
    def strength(self) -> float:
        """The gain divided by √(area · (1 − area)): the same gain counts more in a small place."""
        return self.gain / math.sqrt(self.region.area * (1 - self.region.area))

    @property
    def large(self) -> bool:
        """Whether it exceeds every threshold except p."""
        return (
            self.gain >= THRESHOLDS["difference"]
            and float(self.own.mean()) >= THRESHOLDS["times uniform"] * self.uniform
            and (self.delta is None or self.delta >= THRESHOLDS["delta"])
        )


def significant_places(
    classes: PhotosByClass, compared: Sequence[ClassShares]
) -> tuple[PlaceTest, ...]:
    """The strongest significant place of each class and of all photos, with corrected p.

    Args:
        classes: of the run.
        compared: the result of `class_shares` for them.
    """
    tests = [test for each in compared for test in _class_tests(each)]
    tests += _tests_of_all(classes)
    testable = findable([test.floor for test in tests], ALPHA)
    tests = [test for test, kept in zip(tests, testable, strict=True) if kept]
    best: dict[str | None, PlaceTest] = {}
    for test, p in zip(tests, holm([test.p for test in tests]), strict=True):
        if p >= ALPHA or not test.large:
            continue
        key = None if test.group is None else test.group.title
        if key not in best or test.strength > best[key].strength:
            best[key] = replace(test, p=p)
    if None in best and len(best) > 1 and best[None].classes <= MOST_CLASSES:
        del best[None]  # the findings of single classes explain it
    return tuple(best.values())


def _class_tests(compared: ClassShares) -> list[PlaceTest]:
    return [
        PlaceTest(
            group=compared.group,
            region=region,
            items=compared.items,
            own=compared.own[:, number],
            uniform=float(compared.uniform[:, number].mean()),
            reference=float(compared.others[:, number].mean()),
            delta=compared.deltas[number],
            boxes=compared.boxes,
            p=compared.ps[number],
        )
        for number, region in enumerate(REGIONS)
    ]


def _tests_of_all(classes: PhotosByClass) -> list[PlaceTest]:
    """All photos against a uniform map, to find a mark that every class relies on.

    The ninths are left out, because photographers put their subject in the middle.
    """
    known = tuple(item for item in classes.items if item.outside is not None)
    boxes = 2 * len(known) >= len(classes.items)
    items = known if boxes else classes.items
    if len(items) < MIN_PHOTOS:
        return []
    own, uniform = shares(
        [item.map for item in items], [item.outside if boxes else None for item in items]
    )
    return [
        _test_of_all(region, items, own[:, number], uniform[:, number], boxes=boxes)
        for number, region in enumerate(REGIONS)
        if region.kind != "part"
    ]


def _test_of_all(
    region: Region,
    items: tuple[Item, ...],
    own: Annotated[npt.NDArray[np.float64], "n"],
    uniform: Annotated[npt.NDArray[np.float64], "n"],
    *,
    boxes: bool,
) -> PlaceTest:
    differences = (own - uniform).tolist()
    mean = float(uniform.mean())
    whole = PlaceTest(
        group=None,
        region=region,
        items=items,
        own=own,
        uniform=mean,
        reference=mean,
        delta=None,
        boxes=boxes,
        p=positive(differences),
        floor=floor(differences),
    )
    owner = np.array([item.predicted.index for item in items])
    by_class = [replace(whole, own=own[owner == index]) for index in np.unique(owner)]
    return replace(whole, classes=float(np.mean([test.large for test in by_class])))
