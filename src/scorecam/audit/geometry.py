"""Named regions and boxes in an image, and how much of a map is inside them.

A cell partly inside a region counts in proportion. Boxes are x1 y1 x2 y2 in units of the model's
input, 0 to 1 along each axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt

Map = Annotated[npt.NDArray[np.float64], "u v"]
"""A heatmap on the layer's grid, without negative values."""

Box = tuple[float, float, float, float]

Kind = Literal["corner", "border", "part"]

CORNER = 0.25
"""The side of a corner's square."""

EDGE = 0.1
"""The depth of an edge and of the border, as in `scorecam.bank.health`."""

RESOLVED = 3
"""Along an axis with at least this many cells, little of an object's map is beyond its box."""


@dataclass(frozen=True)
class Region:
    """A named region.

    Args:
        name: "the upper left corner", for sentences.
        kind: "corner"; "border" for an edge and the frame of all four; "part" for a ninth.
        boxes: the boxes that it consists of, which do not overlap.
    """

    name: str
    kind: Kind
    boxes: tuple[Box, ...]

    @property
    def area(self) -> float:
        """The region's share of the image; a uniform map has the same share there."""
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
"""Every named region: corners, then edges and the border, then ninths."""


def overlap(box: Box, grid: tuple[int, int]) -> Map:
    """The share of each cell inside a box, [0, 1]."""
    x1, y1, x2, y2 = box
    return np.outer(_along(y1, y2, grid[0]), _along(x1, x2, grid[1]))


def _along(start: float, end: float, cells: int) -> npt.NDArray[np.float64]:
    edges = np.arange(cells + 1) / cells
    reach = np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)
    return np.clip(reach * cells, 0.0, 1.0)


def inside(boxes: Sequence[Box], grid: tuple[int, int]) -> Map:
    """The share of each cell inside boxes, which may overlap, [0, 1].

    If several boxes cover a cell, the largest share counts, as in `scorecam.metrics.localisation`.
    """
    shares = np.zeros(grid)
    for box in boxes:
        shares = np.maximum(shares, overlap(box, grid))
    return shares


def around(boxes: Sequence[Box], grid: tuple[int, int]) -> Map:
    """The cells that a map of objects in boxes can cover, 0 or 1.

    Every cell that a box touches counts fully, because a map does not resolve positions within a
    cell. A box of one or two cells along an axis is widened by one cell on either side: the stored
    maps were upsampled and averaged again, which moves a quarter of a cell's value to its
    neighbours.
    """
    cells = np.zeros(grid)
    for x1, y1, x2, y2 in boxes:
        rows, columns = _reach(y1, y2, grid[0]), _reach(x1, x2, grid[1])
        cells[rows, columns] = 1.0
    return cells


def _reach(start: float, end: float, cells: int) -> slice:
    # An edge rounded to four digits must not reach the next cell.
    first, last = math.floor(start * cells + 1e-2), math.ceil(end * cells - 1e-2)
    if last - first < RESOLVED:
        first, last = max(first - 1, 0), last + 1
    return slice(first, last)


def of_region(region: Region, grid: tuple[int, int]) -> Map:
    """The share of each cell inside a named region, [0, 1]."""
    shares = np.zeros(grid)
    for box in region.boxes:
        shares += overlap(box, grid)
    return np.minimum(shares, 1.0)


def share(heat: Map, place: Map) -> float:
    """The share of a map's sum inside a place; 0 for a map that is zero everywhere."""
    total = float(heat.sum())
    return float((heat * place).sum()) / total if total > 0 else 0.0


def resampled(heat: Map, side: int) -> Map:
    """A map resampled by area to `side` by `side` cells, with a sum of 1 unless it is zero."""
    rows = np.stack([_along(i / side, (i + 1) / side, heat.shape[0]) for i in range(side)])
    columns = np.stack([_along(i / side, (i + 1) / side, heat.shape[1]) for i in range(side)])
    cells: Any = rows @ heat @ columns.T
    total = float(cells.sum())
    return cells / total if total > 0 else cells
