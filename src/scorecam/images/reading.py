"""How files of numbers are read, and what is known about a file that was read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from PIL import Image
from torch import Tensor

from scorecam.base.wording import constructor, quoted
from scorecam.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How files of numbers are read.

    Args:
        bands: the bands that become the model's colours, in that order, counted from 1; None for
            all of them.
        window: the values that become black and white; None for those that the file states.

    Raises SettingError if a value is not valid.
    """

    bands: tuple[int, ...] | None = None
    window: tuple[float, float] | None = None

    __repr__ = constructor

    def __post_init__(self) -> None:
        if self.bands is not None:
            object.__setattr__(self, "bands", _bands(self.bands))
        if self.window is not None:
            from scorecam.images.arrays.window import check_window

            object.__setattr__(self, "window", check_window(self.window))

    def to_dict(self) -> dict[str, object]:
        """The values that are set, as JSON values, for the records."""
        values = {"bands": self.bands, "window": self.window}
        return {key: list[float](value) for key, value in values.items() if value is not None}


AS_STATED: Final = Reading()
"""All bands, in the window that the file states."""


def _bands(bands: Any) -> tuple[int, ...]:
    """Numbers of bands as a tuple.

    Raises:
        SettingError: they are not whole numbers of at least 1.
    """
    given: tuple[Any, ...] = tuple(bands) if isinstance(bands, tuple | list) else (bands,)
    if not given or not all(
        isinstance(band, int) and not isinstance(band, bool) and band > 0 for band in given
    ):
        raise SettingError(
            f"bands={quoted(bands)} are not numbers of bands.",
            do="Give whole numbers, counted from 1, such as bands=(4, 3, 2) (--bands 4,3,2).",
        )
    return given


@dataclass(frozen=True, eq=False)
class ReadInput:
    """A file that was read and preprocessed.

    Args:
        image: the model's input: `c *i` float32; without colours if the file stores none.
        photo: the picture to draw maps on, RGB and upright; None for numbers that are used as they
            are stored.
        remarks: sentences on what was left out, changed or assumed.
        spacing: millimetres from one value to the next along each axis, where the file states them
            and the numbers are used as they are stored.
    """

    image: Tensor
    photo: Image.Image | None
    remarks: tuple[str, ...] = ()
    spacing: tuple[float, ...] | None = None
