"""Where a map is concentrated, in words."""

from __future__ import annotations

from dataclasses import dataclass

from scorecam.audit.geometry import REGIONS, Map, inside, of_region, share
from scorecam.audit.item import Item
from scorecam.audit.photos_by_class import PhotosByClass
from scorecam.audit.sentences import percent

ON_OBJECT = 0.5
"""A map is on the labelled object if it has at least this share there."""

MIN_SHARE, MIN_DENSITY = 0.25, 2.0
"""A map is in another place if it has at least this share there, and at least this many times a
uniform map's share."""


@dataclass(frozen=True)
class Place:
    """A place, and the share of a map there.

    Args:
        words: the place's name, for sentences.
        part: the share of the map's sum that is there.
        area: the place's share of the image.
    """

    words: str
    part: float
    area: float

    @property
    def density(self) -> float:
        """The map's share over a uniform map's; 0 for a place without area."""
        return self.part / self.area if self.area > 0 else 0.0

    def __str__(self) -> str:
        return (
            f"{self.words} ({percent(self.part)} of the map, on {percent(self.area)} of the area)"
        )


def objects(item: Item, heat: Map, classes: PhotosByClass) -> tuple[Place | None, list[Place]]:
    """The labelled object, and the other annotated objects outside it, densest first."""
    grid = (heat.shape[0], heat.shape[1])
    mine = inside(item.boxes(item.label), grid)
    own = None
    if mine.any():
        own = Place("the labelled object", *_share_and_area(heat, mine))
    others: list[Place] = []
    for label in dict.fromkeys(other.label for other in item.other_objects):
        cells = inside(item.boxes(label), grid) * (1 - mine)
        if cells.any():
            others.append(
                Place(f"the box of {classes.title(label)!r}", *_share_and_area(heat, cells))
            )
    return own, sorted(others, key=lambda place: -place.density)


def _share_and_area(heat: Map, place: Map) -> tuple[float, float]:
    return share(heat, place), float(place.mean())


def looked(item: Item, heat: Map, classes: PhotosByClass) -> str:
    """Where a map is: on the object, on another object, in a named region, or spread out."""
    if not float(heat.sum()) > 0:
        return "nothing: the map is zero everywhere"
    own, others = objects(item, heat, classes)
    if own is not None and own.part >= ON_OBJECT and own.density > 1:
        return str(own)
    outside = "" if own is None else ", outside the labelled object"
    for place in others:
        if place.part >= MIN_SHARE and place.density >= MIN_DENSITY:
            return f"{place}{outside}"
    if (place := _named(item, heat)) is not None:
        return f"{place}{outside}"
    if own is None:
        return "no single place: the map is spread over the image"
    return f"no single place; {own.words} has {percent(own.part)} of the map"


def _named(item: Item, heat: Map) -> Place | None:
    """The named region where a map is densest, outside the labelled object."""
    grid = (heat.shape[0], heat.shape[1])
    mine = inside(item.boxes(item.label), grid)
    places = [
        Place(region.name, *_share_and_area(heat, of_region(region, grid) * (1 - mine)))
        for region in REGIONS
    ]
    dense = [place for place in places if place.part >= MIN_SHARE and place.density >= MIN_DENSITY]
    return max(dense, key=lambda place: place.density, default=None)


def where_instead(item: Item, classes: PhotosByClass) -> tuple[str, ...]:
    """Sentences about a wrong prediction: where the model looked.

    They describe the maps of the prediction, of the label and of their contrast, as in the paper's
    Figure 11.
    """
    label, predicted = classes.title(item.label), classes.named(item.predicted)
    probability = (
        "" if item.predicted.probability is None else f" ({percent(item.predicted.probability)})"
    )
    sentences = [f"This is {label!r}, predicted as {predicted!r}{probability}."]
    for role, name in (("predicted", predicted), ("label", label)):
        heat = item.map_of(role)
        if heat is not None:
            sentences.append(f"For {name!r} the model looked at {looked(item, heat, classes)}.")
    contrast = None if item.entry is None else item.entry.contrast
    if contrast is not None and float(contrast.sum()) > 0:
        place = looked(item, contrast, classes)
        sentences.append(f"The evidence for {predicted!r} rather than {label!r} is at {place}.")
    elif contrast is not None:
        sentences.append(f"No part of the image favours {predicted!r} over {label!r}.")
    return tuple(sentences)
