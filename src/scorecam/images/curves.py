"""Curves, strips of colour and axes of ticks, as arrays of pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from scorecam.images.colours import colour
from scorecam.images.lettering import BACKGROUND, FAINT, TEXT, font

Values = npt.NDArray[np.float64]

PANEL, GRID = "#22222b", "#3a3a48"
"""The background of a curve, and the lines at its ticks."""

_FINE: Final = 3
"""Columns and rows that are averaged for one pixel, so that lines look smooth."""

_THICKNESS: Final = 2.0
"""Pixels of a line."""

_RIGHT_SIDE, _LEFT_SIDE = 2, 6
"""The widths of the margins, in font sizes."""


@dataclass(frozen=True)
class Envelope:
    """The smallest and the largest value of a curve in each of many equal parts of its axis."""

    low: Values
    high: Values


def envelope(values: npt.NDArray[Any], columns: int) -> Envelope:
    """The range of the line through the values, in each column.

    Value i of n is at (i + 0.5) / n of the axis. Before the first value and after the last one, the
    line is level. Values that are not finite are left out.
    """
    count = len(values)
    places = np.flatnonzero(np.isfinite(values))
    if not len(places):
        return Envelope(np.full(columns, np.nan), np.full(columns, np.nan))
    known = values[places].astype(np.float64)
    edges = np.interp(np.linspace(-0.5, count - 0.5, columns + 1), places, known)
    low, high = np.minimum(edges[:-1], edges[1:]), np.maximum(edges[:-1], edges[1:])
    column = ((places + 0.5) * columns / count).astype(np.int64)
    np.minimum.at(low, column, known)
    np.maximum.at(high, column, known)
    return Envelope(low, high)


@dataclass(frozen=True)
class Plot:
    """Where curves are drawn: the same columns for every row of a picture.

    Args:
        width: of the picture, in pixels.
        em: the font size.
        count: the values along the axis.
        unit: the distance of two values.
        name: of the axis.
    """

    width: int
    em: int
    count: int
    unit: float = 1.0
    name: str = "sample"

    @property
    def left(self) -> int:
        """The first column of the curves."""
        return _LEFT_SIDE * self.em

    @property
    def columns(self) -> int:
        """The number of columns of the curves."""
        return self.width - self.left - _RIGHT_SIDE * self.em

    def x(self, place: float) -> int:
        """The column of the picture with the centre of a value."""
        return self.left + min(int((place + 0.5) / self.count * self.columns), self.columns - 1)

    def ticks(self) -> list[tuple[int, str]]:
        """The columns of the picture with a tick, and their texts; round numbers."""
        last = (self.count - 1) * self.unit
        step = _round_step(last / 8) if last > 0 else 1.0
        step = max(step, 1.0) if self.unit == 1 else step
        marks = range(int(last / step + 1e-6) + 1)
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return [(self.x(mark * step / self.unit), f"{mark * step:,.{digits}f}") for mark in marks]

    def row(self, height: int) -> Image.Image:
        """An empty row: the background of the curves, with lines at the ticks."""
        row = Image.new("RGB", (self.width, height), BACKGROUND)
        draw = ImageDraw.Draw(row)
        draw.rectangle((self.left, 0, self.left + self.columns - 1, height - 1), PANEL)
        for x, _ in self.ticks():
            draw.line((x, 0, x, height - 1), GRID)
        return row

    def axis(self) -> Image.Image:
        """The row with the texts of the ticks and the name of the axis."""
        row = Image.new("RGB", (self.width, 2 * self.em), BACKGROUND)
        draw, small = ImageDraw.Draw(row), font(self.em * 4 // 5)
        for x, text in self.ticks():
            draw.line((x, 0, x, self.em // 4), FAINT)
            draw.text((x, self.em // 3), text, FAINT, small, anchor="ma")
        draw.text((self.left - self.em, self.em // 3), self.name, FAINT, small, anchor="ra")
        return row

    def label(self, row: Image.Image, name: str, low: str, high: str) -> None:
        """Write the name of a row at its left, and the ends of its scale."""
        draw, x, small = ImageDraw.Draw(row), self.left - self.em // 2, font(self.em * 3 // 4)
        draw.text((x, row.height // 2), name, TEXT, font(self.em), anchor="rm")
        draw.text((x, 1), high, FAINT, small, anchor="ra")
        draw.text((x, row.height - 2), low, FAINT, small, anchor="rd")

    def curve(
        self, row: Image.Image, values: npt.NDArray[Any], colours: npt.NDArray[Any], *, fill: bool
    ) -> None:
        """Draw a line from 0 at the bottom to 1 at the top.

        Args:
            row: from `row`.
            values: in [0, 1].
            colours: of the line, `columns 3` or `3`.
            fill: whether the area below the line is filled with the colours of the values.
        """
        box = (self.left, 0, self.left + self.columns, row.height)
        pixels = np.asarray(row.crop(box), np.float32)
        fine = envelope(values, self.columns * _FINE)
        if fill:
            area = _coverage(np.zeros_like(fine.low), fine.high, row.height, 0)[..., None]
            pixels = pixels + 0.85 * area * (colour(self.highest(values)) - pixels)
        line = _coverage(fine.low, fine.high, row.height, _THICKNESS)[..., None]
        pixels = pixels + line * (colours - pixels)
        row.paste(Image.fromarray(pixels.round().astype(np.uint8)), box)

    def highest(self, values: npt.NDArray[Any]) -> Values:
        """The largest value in each column."""
        return envelope(values, self.columns).high

    def strip(self, values: npt.NDArray[Any], height: int) -> Image.Image:
        """A row with values in [0, 1] as colours."""
        row = Image.new("RGB", (self.width, height), BACKGROUND)
        pixels = colour(self.highest(values))[None].repeat(height, axis=0)
        row.paste(Image.fromarray(pixels), (self.left, 0))
        return row


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, ... and their tenths that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= least * (1 - 1e-9))


def _coverage(low: Values, high: Values, height: int, thickness: float) -> npt.NDArray[np.float32]:
    """How much of each pixel lines from `low` to `high` cover, `height columns`, in [0, 1].

    Args:
        low, high: in [0, 1] from the bottom to the top; `_FINE` of them per pixel.
        height: pixels of the row.
        thickness: pixels of the line, in both directions.
    """
    reach = round(thickness * _FINE / 2)
    if reach:
        windows = np.lib.stride_tricks.sliding_window_view
        low = windows(np.pad(low, reach, mode="edge"), 2 * reach + 1).min(axis=1)
        high = windows(np.pad(high, reach, mode="edge"), 2 * reach + 1).max(axis=1)
    inner, margin = height - 2 * _THICKNESS - 2, _THICKNESS + 1
    top = margin + (1 - high) * inner - thickness / 2
    bottom = margin + (1 - low) * inner + thickness / 2
    rows = (np.arange(height * _FINE)[:, None] + 0.5) / _FINE
    inside = (rows >= top) & (rows <= bottom)
    blocks = inside.reshape(height, _FINE, -1, _FINE)
    return blocks.mean(axis=(1, 3), dtype=np.float32)
