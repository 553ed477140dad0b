"""Scaling the values of a file from a window to [0, 1]."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from scorecam.base.wording import quoted
from scorecam.errors import PhotoError, SettingError
from scorecam.images.arrays.array_file import ArrayFile
from scorecam.io.ranges import Real

Window = tuple[float, float]

_LEVEL: Final = Real(-1e38, 1e38, closed=True)
_NARROWEST: Final = 1e-30
"""float32 holds the difference of two such levels."""

_DO: Final = "Give the values of black and white, such as (0, 4095)."


def windowed(file: ArrayFile, window: Window | None = None) -> ArrayFile:
    """The file with its values scaled so that `low` is 0 and `high` is 1, and clipped.

    Args:
        file: with values in its own unit.
        window: (low, high); None for the levels that the file states.

    Raises:
        SettingError: `window` is not two finite numbers, the lower one first.
        PhotoError: there is no window, and the file does not state its levels.
    """
    low, high = check_window(window) if window is not None else _stated(file)
    least, most = float(file.values.min()), float(file.values.max())
    remarks = file.remarks
    if most <= low or least >= high:
        shade = "black" if most <= low else "white"
        what = f"All values of {file.name} are {shade} in the window from {low:g} to {high:g}"
        remarks += (f"{what}: they run from {least:g} to {most:g}.",)
    values = file.values.sub(low).div_(high - low).clamp_(0, 1)
    return replace(file, values=values, levels=(0.0, 1.0), remarks=remarks)


def check_window(window: Window) -> Window:
    """The window as two floats.

    Raises:
        SettingError: `window` is not two finite numbers, the lower one first.
    """
    if not isinstance(window, list | tuple) or len(window) != 2:
        raise SettingError(f"window={quoted(window)} is not two numbers.", do=_DO)
    low, high = (_LEVEL.check("window", value) for value in window)
    if high - low < _NARROWEST:
        same = high >= low
        raise SettingError(
            f"window={quoted((low, high))}: the first number must be lower than the second.",
            likely="Both are the same." if same else "They are in the wrong order.",
            do=_DO,
        )
    return low, high


def _stated(file: ArrayFile) -> Window:
    if file.levels is not None:
        return file.levels
    least, most = float(file.values.min()), float(file.values.max())
    raise PhotoError(
        f"It is not known which values of {file.name} are black and white.",
        likely=f"Its values run from {least:g} to {most:g}.",
        do=f"Give a window: window=({least:g}, {most:g}) (--window {least:g},{most:g}).",
    )
