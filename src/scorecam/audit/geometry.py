"""Places in a picture: named regions and boxes, and how much of a map lies in them.

A map is spread evenly over each of its cells; a cell that a region cuts counts in part. Boxes are
x1 y1 x2 y2 in units of the model's input, 0 to 1 along each axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt

Map = Annotated[npt.NDArray[np.float64], "u v"]
"""A heatmap on the layer's grid, nowhere negative."""

Box = tuple[float, float, float, float]

Kind = Literal["corner", "border", "part"]

CORNER = 0.25
"""Side of a corner's square."""

EDGE = 0.1
"""Depth of an edge, and of the border all round: as in `scorecam.bank.health`."""


RESOLVED = 3
"""Cells along an axis from which a box is large enough that what spreads beyond it is little."""


@dataclass(frozen=True)
class Region:
    """A place that has a name.

    Args:
        name: as it stands in a sentence: "the upper left corner".
        kind: "corner"; "border" for an edge and the frame of all four; "part" for a ninth.
        boxes: that it is made of, none over another.
    """

    name: str
    kind: Kind
    boxes: tuple[Box, ...]

    @property
    def area(self) -> float:
        """Its share of the picture: what an even map has in it."""
        return sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in self.boxes)


def _corners() -> tuple[Region, ...]:
    ends = (0.0, CORNER), (1 - CORNER, 1.0)
    return tuple(
        Region(f"the {tall} {wide} corner", "corner", ((x1, y1, x2, y2),))
        for tall, (y1, y2) in zip(("upper", "lower"), ends, strict=True)
        for wide, (x1, x2) in zip(("left", "right"), ends, strict=True)
    )


def _borders() -> tuple[Region, ...]:
    top, bottom = (0.0, 0.0, 1.0, EDGE), (0.0, 1 - EDGE, 1.0, 1.0)
    left, right = (0.0, 0.0, EDGE, 1.0), (1 - EDGE, 0.0, 1.0, 1.0)
    sides = (0.0, EDGE, EDGE, 1 - EDGE), (1 - EDGE, EDGE, 1.0, 1 - EDGE)
    return (
        Region("the upper edge", "border", (top,)),
        Region("the lower edge", "border", (bottom,)),
        Region("the left edge", "border", (left,)),
        Region("the right edge", "border", (right,)),
        Region("the border", "border", (top, bottom, *sides)),
    )


def _ninths() -> tuple[Region, ...]:
    names = (
        ("the upper left", "the upper middle", "the upper right"),
        ("the left middle", "the centre", "the right middle"),
        ("the lower left", "the lower middle", "the lower right"),
    )
    return tuple(
        Region(name, "part", ((column / 3, row / 3, (column + 1) / 3, (row + 1) / 3),))
        for row, three in enumerate(names)
        for column, name in enumerate(three)
    )


REGIONS: tuple[Region, ...] = _corners() + _borders() + _ninths()
"""Every named place, the smallest first."""


def overlap(box: Box, grid: tuple[int, int]) -> Map:
    """How much of each cell lies in a box, [0, 1]."""
    x1, y1, x2, y2 = box
    return np.outer(_along(y1, y2, grid[0]), _along(x1, x2, grid[1]))


def _along(start: float, end: float, cells: int) -> npt.NDArray[np.float64]:
    edges = np.arange(cells + 1) / cells
    reach = np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)
    return np.clip(reach * cells, 0.0, 1.0)


def inside(boxes: Sequence[Box], grid: tuple[int, int]) -> Map:
    """How much of each cell lies in any of some boxes, which may lie over each other, [0, 1].

    Of boxes that share a cell the larger part counts, as in `scorecam.metrics.localisation`.
    """
    found = np.zeros(grid)
    for box in boxes:
        found = np.maximum(found, overlap(box, grid))
    return found


def around(boxes: Sequence[Box], grid: tuple[int, int]) -> Map:
    """The cells that a map of what lies in some boxes can cover, 0 or 1.

    A cell that a box cuts is whole: a map cannot say where in a cell something is. Where a box has
    one cell or two along an axis, one more on either side counts: a map is averaged from one that
    was upsampled, and a quarter of what lies on a single cell ends up beside it.
    """
    found = np.zeros(grid)
    for x1, y1, x2, y2 in boxes:
        rows, columns = _reach(y1, y2, grid[0]), _reach(x1, x2, grid[1])
        found[rows, columns] = 1.0
    return found


def _reach(start: float, end: float, cells: int) -> slice:
    # A corner that was rounded to four digits doesn't touch the next cell.
    first, last = math.floor(start * cells + 1e-2), math.ceil(end * cells - 1e-2)
    if last - first < RESOLVED:
        first, last = max(first - 1, 0), last + 1
    return slice(first, last)


def of_region(region: Region, grid: tuple[int, int]) -> Map:
    """How much of each cell lies in a named region, [0, 1]."""
    found = np.zeros(grid)
    for box in region.boxes:
        found += overlap(box, grid)
    return np.minimum(found, 1.0)


def share(heat: Map, place: Map) -> float:
    """The part of a map's sum that lies in a place; 0 for a map that is zero everywhere."""
    total = float(heat.sum())
    return float((heat * place).sum()) / total if total > 0 else 0.0


def resampled(heat: Map, side: int) -> Map:
    """A map on `side` by `side` cells, by area, with a sum of 1 where it has one."""
    rows = np.stack([_along(i / side, (i + 1) / side, heat.shape[0]) for i in range(side)])
    columns = np.stack([_along(i / side, (i + 1) / side, heat.shape[1]) for i in range(side)])
    found: Any = rows @ heat @ columns.T
    total = float(found.sum())
    return found / total if total > 0 else found
