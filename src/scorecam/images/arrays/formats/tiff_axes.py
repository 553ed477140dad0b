"""The axes of a TIFF file: which hold bands, and which are spatial."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scorecam.errors import PhotoError

BANDS: Final = "SCQILE"
"""tifffile's letters of axes that hold bands: samples, channels, pages without a meaning, a
sequence, exposures and wavelengths."""

PAGES: Final = "QI"
"""Those of pages without a meaning."""

DEPTH: Final = "ZT"
"""Those that are read as depth: slices and points in time."""

_NAMES: Final = {"T": "time", "A": "angle", "P": "phase", "M": "mosaic", "V": "event"}

Orient = dict[int, tuple[bool, bool, bool]]

_ORIENTATIONS: Final[Orient] = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""What turns a picture upright, by its orientation in TIFF: exchange rows and columns first, then
reverse the rows, then reverse the columns."""


def arranged(
    array: npt.NDArray[Any], axes: str, name: str
) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """The array as `c h w` or `c z h w`, without a copy, and remarks.

    Args:
        array: one page, or a series of pages.
        axes: a letter for each axis, as tifffile writes them.
        name: for errors and remarks.

    Raises:
        PhotoError: there is no rule for these axes.
    """
    for place in reversed(range(len(axes))):
        if array.shape[place] == 1 and axes[place] not in "YX":
            array, axes = array.squeeze(place), axes[:place] + axes[place + 1 :]
    remarks: tuple[str, ...] = ()
    pages = [letter for letter in axes if letter in PAGES]
    if "S" in axes and pages:
        place = axes.index(pages[0])
        remarks = (f"{name} has {array.shape[place]} pages in colour; only the first is read.",)
        array, axes = array.take(0, place), axes.replace(pages[0], "", 1)
    bands = [letter for letter in axes if letter in BANDS]
    depth = [letter for letter in axes if letter in DEPTH]
    if set(axes) != {*bands, *depth, "Y", "X"} or max(len(bands), len(depth)) > 1:
        raise _no_rule(array, axes, name)
    if depth == ["T"]:
        remarks += (f"{name} is a series in time; its points in time are read as slices.",)
    order = [axes.index(letter) for letter in [*bands, *depth, "Y", "X"]]
    array = array.transpose(order)
    return (array if bands else array[np.newaxis]), remarks


def upright(array: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """The array with row 0 at the top and column 0 on the left, without a copy.

    Args:
        array: its last two axes are the rows and columns, as stored.
        orientation: TIFF's number, 1 to 8; others count as 1.
    """
    exchange, rows, columns = _ORIENTATIONS.get(orientation, (False, False, False))
    array = array.swapaxes(-1, -2) if exchange else array
    return array[..., :: -1 if rows else 1, :: -1 if columns else 1]


def _no_rule(array: npt.NDArray[Any], axes: str, name: str) -> PhotoError:
    sizes = ", ".join(
        f"{letter} ({_NAMES[letter]}) {side}" if letter in _NAMES else f"{letter} {side}"
        for letter, side in zip(axes, array.shape, strict=True)
    )
    return PhotoError(
        f"{name} has the axes {sizes}, and it is not clear what a network should see of them.",
        likely="It is a recording from a microscope with several channels, planes and times.",
        do="Read it with tifffile.imread, choose one picture or volume, and save it with "
        "numpy.save.",
    )
