"""The outline of a box or a mask on a page, as the path of a drawing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

MOST_CELLS: Final = 128
"""Rows and columns of a mask on a page; a larger one is reduced to that."""

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Outline:
    """Lines on a picture.

    Args:
        size: the (width, height) of the picture in the units of the path.
        path: of an SVG drawing: moves and lines.
    """

    size: tuple[int, int]
    path: str


def box_outline(box: tuple[float, float, float, float], size: tuple[int, int]) -> Outline | None:
    """The outline of a box x1 y1 x2 y2, clipped to the picture; None if nothing is left.

    Args:
        size: the (width, height) of the picture.
    """
    width, height = size
    x1, x2 = (min(max(edge, 0.0), float(width)) for edge in (box[0], box[2]))
    y1, y2 = (min(max(edge, 0.0), float(height)) for edge in (box[1], box[3]))
    if not (x1 < x2 and y1 < y2):
        return None
    return Outline(size, f"M{x1:.6g} {y1:.6g}H{x2:.6g}V{y2:.6g}H{x1:.6g}Z")


def mask_outline(mask: Mask) -> Outline | None:
    """The outline of a mask, `h w`, along the edges of its pixels; None if it is empty."""
    reduced = mask[np.ix_(*(_chosen(length) for length in mask.shape))]
    if not reduced.any():
        return None
    path = "".join(
        [f"M{start} {line}H{end}" for line, start, end in _edges(reduced)]
        + [f"M{line} {start}V{end}" for line, start, end in _edges(reduced.T)]
    )
    return Outline((reduced.shape[1], reduced.shape[0]), path)


def _chosen(length: int) -> npt.NDArray[Any]:
    """The pixels of an axis in the centres of at most `MOST_CELLS` equal parts."""
    count = min(length, MOST_CELLS)
    return ((np.arange(count) + 0.5) * (length / count)).astype(int)


def _edges(mask: Mask) -> Iterator[tuple[int, int, int]]:
    """The edges between rows: the row below, and the columns where the edge starts and ends."""
    framed = np.pad(mask, ((1, 1), (0, 0)))
    steps = np.pad((framed[1:] != framed[:-1]).astype(np.int8), ((0, 0), (1, 1)))
    changes = np.diff(steps, axis=1)
    lines, starts = (changes == 1).nonzero()
    _, ends = (changes == -1).nonzero()
    yield from zip(lines.tolist(), starts.tolist(), ends.tolist(), strict=True)
