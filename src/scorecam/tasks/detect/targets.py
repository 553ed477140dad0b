"""From what users want to explain to one of the boxes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from scorecam.base.wording import constructor, excerpt, quoted
from scorecam.errors import TargetError, did_you_mean
from scorecam.io.ranges import parse_whole
from scorecam.model.model import TargetSpec
from scorecam.model.place import check_place, is_place
from scorecam.tasks.detect.detections import intersection_over_union
from scorecam.tasks.detect.names import box_names
from scorecam.tasks.detect.suppression import FoundBoxes

SAME_BOX = 0.5
"""A given box means a found one if they overlap by at least this."""

LISTED = 8
"""Boxes that an error names."""


@dataclass(frozen=True, eq=False)
class NamedBoxes:
    """The boxes of one image with their names.

    Args:
        found: the boxes.
        kinds: the class name of each.
        classes: every class name of the detector, where known.
    """

    found: FoundBoxes
    kinds: tuple[str, ...]
    classes: tuple[str, ...] = ()

    __repr__ = constructor

    @property
    def names(self) -> tuple[str, ...]:
        """One per box, each of them different."""
        return box_names(self.kinds)

    @property
    def listed(self) -> str:
        """What was found, for errors."""
        both = zip(self.names, self.found.scores.tolist(), strict=True)
        shown = [f"{excerpt(name, 40)} ({score:.2f})" for name, score in both]
        more = len(shown) - LISTED
        return ", ".join(shown[:LISTED]) + (f" and {more} more" if more > 0 else "")


def column_of(boxes: NamedBoxes, target: TargetSpec, size: Sequence[int]) -> int | None:
    """The box that a target means; None for a given box that is not among them.

    Args:
        boxes: at least one, unless the target is a box.
        target: a name, an index, a place in pixels of the input, or None for the most probable.
        size: (height, width) of the input.

    Raises:
        TargetError: there is no such box.
    """
    if target is None:
        return 0
    if is_place(target):
        corners = given_box(target, size)
        if corners is not None:
            return _matching(boxes.found, corners)
        return _containing(boxes, cast("tuple[float, float]", target))
    if isinstance(target, str):
        return _called(boxes, target)
    return _numbered(boxes, target)


def given_box(target: TargetSpec, size: Sequence[int]) -> Tensor | None:
    """The box in a target, or around the mask in it, `4`; None for any other target.

    Raises:
        TargetError: it does not fit the picture.
    """
    if not is_place(target):
        return None
    place = check_place(target, size)
    if isinstance(place, tuple):
        return torch.tensor(place) if len(place) == 4 else None
    rows, columns = torch.as_tensor(place).nonzero().unbind(1)
    ends = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return torch.stack(ends).float()


def _matching(found: FoundBoxes, corners: Tensor) -> int | None:
    """The found box that overlaps most, if it overlaps by enough."""
    if not len(found):
        return None
    shared = intersection_over_union(found.boxes, corners[None])[0]
    return int(shared.argmax()) if float(shared.max()) >= SAME_BOX else None


def _containing(boxes: NamedBoxes, point: tuple[float, float]) -> int:
    """The most probable box that contains a point; the smallest of several such boxes."""
    left, top, right, bottom = boxes.found.boxes.unbind(1)
    x, y = point
    inside = (left <= x) & (x < right) & (top <= y) & (y < bottom)
    if not inside.any():
        raise TargetError(
            f"No box contains the point {x:g}, {y:g}.",
            do=f"Give a point inside one of those that were found: {boxes.listed}.",
        )
    areas = (right - left) * (bottom - top)
    scores = boxes.found.scores
    ranked = [
        (-float(scores[row]), float(areas[row]), row) for row in inside.nonzero()[:, 0].tolist()
    ]
    return min(ranked)[2]


def _called(boxes: NamedBoxes, name: str) -> int:
    """The box with this name; the most probable one of a class."""
    folded = [each.casefold() for each in boxes.names]
    if name.casefold() in folded:
        return folded.index(name.casefold())
    kinds = [each.casefold() for each in boxes.kinds]
    if name.casefold() in kinds:
        return kinds.index(name.casefold())
    number = parse_whole(name) if name.isdecimal() else None
    if number is not None:
        return _numbered(boxes, number)
    known = name.casefold() in (each.casefold() for each in boxes.classes)
    raise TargetError(
        f"No box of the class {quoted(name)} was found in this image."
        if known
        else f"No box is called {quoted(name)}.",
        likely="It is below the threshold." if known else did_you_mean(name, boxes.names),
        do=f"Found: {boxes.listed}. A lower threshold= (--threshold) finds more.",
    )


def _numbered(boxes: NamedBoxes, target: Any) -> int:
    try:
        index = None if isinstance(target, bool) else operator.index(target)
    except TypeError:
        index = None
    if index is None:
        raise TargetError(
            f"A box is given by its index, its name or a place, not by {quoted(target)}.",
            do=f"Found: {boxes.listed}.",
        )
    if not 0 <= index < len(boxes.found):
        raise TargetError(
            f"There is no box {quoted(index)}: {len(boxes.found)} were found in this image, "
            "counted from 0.",
            do=f"Found: {boxes.listed}. A lower threshold= (--threshold) finds more.",
        )
    return index
