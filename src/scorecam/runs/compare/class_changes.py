"""The changes of a comparison class by class."""

from __future__ import annotations

from collections.abc import Sequence

from scorecam.metrics.statistics import interval, paired, wilson
from scorecam.runs.compare.versus import ClassChange, PhotoChange

FEW_PHOTOS = 5
"""A class with fewer photos is marked: its intervals mean little."""


def class_changes(photos: Sequence[PhotoChange]) -> tuple[ClassChange, ...]:
    """The changes by class: the largest share of flips first, then the least similar maps."""
    by_class: dict[str, list[PhotoChange]] = {}
    for photo in photos:
        by_class.setdefault(_class_of(photo), []).append(photo)
    changes = [_change(name, own) for name, own in by_class.items()]
    return tuple(sorted(changes, key=_most_changed_first))


def class_name(photo: PhotoChange) -> str:
    """The name of a photo's class on the first side, or its number."""
    if photo.predicted is None:
        return ""
    first = photo.predicted[0]
    return first.name or f"class {first.index}"


def _class_of(photo: PhotoChange) -> str:
    return class_name(photo) if photo.label is None else photo.label


def _change(name: str, photos: Sequence[PhotoChange]) -> ClassChange:
    known = [photo.similarity for photo in photos if photo.similarity is not None]
    right = [photo.right for photo in photos if None not in photo.right]
    return ClassChange(
        name=name,
        photos=len(photos),
        flips=wilson(sum(photo.flipped for photo in photos), len(photos)),
        similarity=interval(known),
        accuracy=paired([float(bool(b)) for _, b in right], [float(bool(a)) for a, _ in right]),
    )


def _most_changed_first(change: ClassChange) -> tuple[float, float, str]:
    similarity = change.similarity.mean if change.similarity.n else 2.0
    return -change.flips.mean, similarity, change.name
