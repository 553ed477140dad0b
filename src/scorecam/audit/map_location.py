"""In words: where a map lies."""

from __future__ import annotations

from dataclasses import dataclass

from scorecam.audit.geometry import REGIONS, Map, inside, of_region, share
from scorecam.audit.item import Item
from scorecam.audit.photos_by_class import PhotosByClass
from scorecam.audit.sentences import percent

ON_OBJECT = 0.5
"""A map with this share on an object lies on it ..."""

SOME, DENSE = 0.25, 2.0
"""... and elsewhere where it has this share, and so many times that of an even map."""


@dataclass(frozen=True)
class Place:
    """A place, and what of a map lies there.

    Args:
        words: as it stands in a sentence.
        part: of the map's sum.
        even: what an even map has there: the place's share of the picture.
    """

    words: str
    part: float
    even: float

    @property
    def density(self) -> float:
        """How many times the share of an even map; 0 for a place without area."""
        return self.part / self.even if self.even > 0 else 0.0

    def __str__(self) -> str:
        return (
            f"{self.words} ({percent(self.part)} of the map, on {percent(self.even)} of the area)"
        )


def objects(item: Item, heat: Map, classes: PhotosByClass) -> tuple[Place | None, list[Place]]:
    """The labelled object, and what else is annotated, outside it; densest first."""
    grid = (heat.shape[0], heat.shape[1])
    mine = inside(item.boxes(item.label), grid)
    own = None
    if mine.any():
        own = Place("the labelled object", *_both(heat, mine))
    others: list[Place] = []
    for label in dict.fromkeys(thing.label for thing in item.other_objects):
        there = inside(item.boxes(label), grid) * (1 - mine)
        if there.any():
            others.append(Place(f"the box of {classes.title(label)!r}", *_both(heat, there)))
    return own, sorted(others, key=lambda place: -place.density)


def _both(heat: Map, place: Map) -> tuple[float, float]:
    return share(heat, place), float(place.mean())


def looked(item: Item, heat: Map, classes: PhotosByClass) -> str:
    """Where a map lies: on the object, on another one, in a named place, or nowhere special."""
    if not float(heat.sum()) > 0:
        return "nowhere: the map is zero everywhere"
    own, others = objects(item, heat, classes)
    if own is not None and own.part >= ON_OBJECT and own.density > 1:
        return str(own)
    outside = "" if own is None else ", outside the labelled object"
    for place in others:
        if place.part >= SOME and place.density >= DENSE:
            return f"{place}{outside}"
    if (place := _named(item, heat)) is not None:
        return f"{place}{outside}"
    if own is None:
        return "no one place: the map is spread over the picture"
    return f"no one place; {own.words} has {percent(own.part)} of the map"


def _named(item: Item, heat: Map) -> Place | None:
    """The named region that holds most of a map for its area, outside the labelled object."""
    grid = (heat.shape[0], heat.shape[1])
    mine = inside(item.boxes(item.label), grid)
    found = [
        Place(region.name, *_both(heat, of_region(region, grid) * (1 - mine))) for region in REGIONS
    ]
    dense = [place for place in found if place.part >= SOME and place.density >= DENSE]
    return max(dense, key=lambda place: place.density, default=None)


def instead(item: Item, classes: PhotosByClass) -> tuple[str, ...]:
    """Of a wrong prediction: where the model looked for it, for the label, and for the difference.

    The maps that Figure 11 of the paper puts side by side, in words.
    """
    label, taken = classes.title(item.label), classes.named(item.predicted)
    sure = "" if item.predicted.probability is None else f" ({percent(item.predicted.probability)})"
    words = [f"This is {label!r}, and was taken for {taken!r}{sure}."]
    for role, name in (("predicted", taken), ("label", label)):
        heat = item.map_of(role)
        if heat is not None:
            words.append(f"For {name!r} it looked at {looked(item, heat, classes)}.")
    contrast = None if item.entry is None else item.entry.contrast
    if contrast is not None and float(contrast.sum()) > 0:
        place = looked(item, contrast, classes)
        words.append(f"What speaks for {taken!r} rather than for {label!r} is at {place}.")
    elif contrast is not None:
        words.append(f"No part of the picture speaks for {taken!r} more than for {label!r}.")
    return tuple(words)
