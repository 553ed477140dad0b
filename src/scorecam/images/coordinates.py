"""Finding where a transform's output is in a photo, from pictures whose pixels are coordinates.

Grey pictures of the photo's size go through the transform. Where black and white give the same
output, it is padding. Elsewhere a ramp along each axis says from which column or row of the photo
each pixel comes, and a line is fitted. A wave, which is steeper, then makes the line more precise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from scorecam.images.placement import Placement

Floats = npt.NDArray[np.floating[Any]]
Levels = Callable[[Tensor], Floats]
"""From an output (c, h, w) to the grey level, (h, w), in [0, 1], of the picture that it shows."""

_COVERED = 0.97
"""A pixel is part of the photo if black and white differ there by this much of their difference."""

_ALIKE = 0.02
"""How much the levels of one row or column may differ; a rotation exceeds it."""

_SNAPPED = 0.15
"""Pixels of the input. An edge that is this close to the photo's edge is taken to be there."""


_LEGS = 8
"""The number of ramps in a wave."""

_FEWEST = 4
"""The number of columns that a line needs."""


def find_placement(
    transform: Callable[[Image.Image], Tensor], levels: Levels, photo_size: tuple[int, int]
) -> Placement | None:
    """Where the output of a transform is in a photo of this size.

    Returns:
        None unless the transform is a resize, a crop, a padding and a mirroring of each axis.
    """
    width, height = photo_size

    def shown(across: npt.NDArray[np.uint8]) -> Floats:
        return levels(transform(grey_picture(np.broadcast_to(across, (height, width)))))

    black, white = (shown(np.full((1, 1), value, np.uint8)) for value in (0, 255))
    if black.shape != white.shape:
        return None
    covered = white - black > _COVERED
    x = _edges(lambda wave: shown(wave[None]), covered, width)
    y = _edges(lambda wave: shown(wave[:, None]).T, covered.T, height)
    if x is None or y is None:
        return None
    size = cast("tuple[int, int]", black.shape)
    placement = Placement(photo_size, size, (x[0], y[0], x[1], y[1]))
    left, top, right, bottom = placement.crop
    return placement if left < right and top < bottom else None


def grey_picture(values: npt.NDArray[np.uint8]) -> Image.Image:
    """Grey levels (h, w) as an RGB picture."""
    return Image.fromarray(np.ascontiguousarray(values)).convert("RGB")


def _edges(
    shown: Callable[[npt.NDArray[np.uint8]], Floats], covered: npt.NDArray[np.bool_], length: int
) -> tuple[float, float] | None:
    """Where the first and the last edge of the output's columns are on an axis of the photo.

    Args:
        shown: from the grey levels along this axis to those of the output, (h, w).
        covered: (h, w), which pixels show the photo.
        length: of the axis, in pixels of the photo.
    """
    used = _used(covered)
    ramp = _columns(shown(_wave(length, 1)), covered, used)
    if ramp is None:
        return None
    positions, margin = ramp * length, min(2 + 0.02 * length, length / 5)
    line = _fitted(used + 0.5, positions, length, margin)
    if line is None:
        return None
    count = covered.shape[1]
    centres = np.arange(count) + 0.5
    hidden = np.isin(np.arange(count), used, invert=True)
    if (hidden & _between(line.at(centres), margin, length)).any():
        return None  # a part of the photo is replaced by padding
    legs = min(_LEGS, length // 16, round(length / abs(line.slope)) // 12)
    if legs > 1 and (wave := _columns(shown(_wave(length, legs)), covered, used)) is not None:
        inside = _between(line.at(used + 0.5), margin, length)  # a reflected wave is a wave
        line = _refined(line, used[inside] + 0.5, wave[inside], length / legs)
    near = _SNAPPED * abs(line.slope)
    return _snapped(line.start, length, near), _snapped(line.at(count), length, near)


def _wave(length: int, legs: int) -> npt.NDArray[np.uint8]:
    """Grey levels that go from black to white and back along an axis; one leg is a ramp."""
    position = (np.arange(length) + 0.5) * (legs / length)
    return np.rint(255 * abs((position + 1) % 2 - 1)).astype(np.uint8)


def _used(covered: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """The columns of which enough shows the photo."""
    counts = covered.sum(axis=0)
    return np.flatnonzero((counts >= 2) & (counts >= counts.max(initial=0) / 4))


def _columns(
    level: Floats, covered: npt.NDArray[np.bool_], used: npt.NDArray[np.intp]
) -> Floats | None:
    """The grey level of each used column; None if a column has several, as after a rotation."""
    if len(used) < _FEWEST or level.shape != covered.shape:
        return None
    values = np.where(covered, level, np.nan)[:, used]
    low, high = np.nanpercentile(values, [10, 90], axis=0)
    return None if (high - low).max() > _ALIKE else np.nanmean(values, axis=0)


@dataclass(frozen=True)
class _Line:
    """The position in the photo for a position in the output."""

    slope: float
    start: float

    def at(self, place: Any) -> Any:
        return self.slope * place + self.start


def _fitted(centres: Floats, positions: Floats, length: int, margin: float) -> _Line | None:
    """The line through the positions of the columns; None if they are not on one.

    Positions near the photo's edges are left out: there, filters and padding change the levels.
    """
    kept = _between(positions, margin, length)
    lag = max(1, len(centres) // 8)
    both = kept[lag:] & kept[:-lag]
    if both.sum() < 2:
        return None
    steps = (positions[lag:] - positions[:-lag]) / (centres[lag:] - centres[:-lag])
    slope = float(np.median(steps[both]))
    line = _Line(slope, float(np.median((positions - slope * centres)[kept])))
    for _ in range(3):  # without the columns that a padding by reflection repeats
        on_line = kept & _near(line, centres, positions, length)
        if on_line.sum() < _FEWEST or abs(line.slope) * len(centres) < 2:
            return None
        line = _Line(*map(float, np.polyfit(centres[on_line], positions[on_line], 1)))
    in_photo = _between(line.at(centres), margin, length)
    return line if _near(line, centres, positions, length)[in_photo].all() else None


def _refined(line: _Line, centres: Floats, wave: Floats, leg: float) -> _Line:
    """The line through the positions that a wave gives more precisely than a ramp.

    Args:
        leg: the length of half a period, in pixels of the photo.
    """
    place = line.at(centres) / leg
    number, share = np.floor(place), place % 1
    along = np.where(number % 2 == 0, wave, 1 - wave)
    kept = (share > 0.2) & (share < 0.8) & (abs(along - share) < 0.2)
    if kept.sum() < 2 * _FEWEST:
        return line
    positions = (number + along) * leg
    return _Line(*map(float, np.polyfit(centres[kept], positions[kept], 1)))


def _between(positions: Floats, margin: float, length: int) -> npt.NDArray[np.bool_]:
    return (positions > margin) & (positions < length - margin)


def _near(line: _Line, centres: Floats, positions: Floats, length: int) -> npt.NDArray[np.bool_]:
    """Which positions are on the line, up to a pixel of either and the precision of a ramp."""
    return abs(line.at(centres) - positions) < 1 + abs(line.slope) + 0.008 * length


def _snapped(edge: float, length: int, near: float) -> float:
    if abs(edge) < near:
        return 0.0
    return float(length) if abs(edge - length) < near else edge
