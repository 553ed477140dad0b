"""Checks of untrusted numbers: their size before they are read, and their values afterwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scorecam.errors import PhotoError
from scorecam.images.memory import SETTING, amount, memory_limit

LARGEST: Final = 2**40
"""The largest file of which parts are read, in bytes."""

RESULT: Final = 5
"""Bytes per value for the result and for checking it."""

_COUNTABLE: Final = 2**80
"""Larger numbers of bytes are all the same to a reader."""

_EXACT: Final = 2**24
"""float32 holds every integer up to here."""


def check_size(shape: Sequence[int], stored: float, name: str) -> None:
    """Refuse an array that is empty or needs more memory than the limit, before it is read.

    Args:
        shape: as the header of the file announces it.
        stored: bytes per value while the file is read, without the result.
        name: of the file.

    Raises:
        PhotoError: it is empty, or needs more memory than `memory.memory_limit`.
    """
    if min(shape, default=1) <= 0:
        raise PhotoError(
            f"{name} holds no values: its size is {_sizes(shape)}.",
            likely="It was saved before anything was written to the array.",
            do="Save it again.",
        )
    count = min(math.prod(shape), _COUNTABLE)
    needed, limit = int(count * (stored + RESULT)), memory_limit()
    if needed <= limit:
        return
    raise PhotoError(
        f"{name} announces {_sizes(shape)} values; reading them could take {amount(needed)} of "
        f"memory, and the limit is {amount(limit)}.",
        likely="It is a large volume or map, or designed to exhaust memory.",
        do=f"Crop it or scale it down. If there is enough memory, set {SETTING}, for example to "
        f"{-(-needed // 2**30) + 1}GiB.",
    )


def check_kind(dtype: np.dtype[Any], name: str) -> None:
    """Refuse arrays that do not hold real numbers.

    Raises:
        PhotoError: the type of the values is not a real number or a boolean.
    """
    if dtype.kind in "biuf":
        return
    if dtype.kind == "c":
        raise PhotoError(
            f"{name} holds complex numbers, and real ones are needed.",
            do="Save the part that the network takes, for example np.abs(array).",
        )
    what = "Python objects" if dtype.hasobject else f"values of type {dtype!s:.60}"
    raise PhotoError(
        f"{name} holds {what}, not numbers.",
        likely="It was saved from a list of arrays of different sizes, or from a table.",
        do="Save one array of numbers. Objects are never unpickled.",
    )


def as_float32(array: npt.NDArray[Any], name: str) -> tuple[Tensor, tuple[str, ...]]:
    """The numbers as a float32 tensor, and remarks on what was rounded.

    Raises:
        PhotoError: some are NaN, infinite, or too large for float32.
    """
    check_kind(array.dtype, name)
    remarks: tuple[str, ...] = ()
    if array.dtype.kind == "f":
        check_finite(array, name)
    elif array.dtype.itemsize > 2 and max(-int(array.min()), int(array.max())) > _EXACT:
        remarks = (f"{name} has integers beyond {_EXACT:,}; they are rounded to float32.",)
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(array, dtype=np.float32)
    if array.dtype.kind == "f" and array.dtype.itemsize > 4 and not np.isfinite(numbers).all():
        raise PhotoError(
            f"{name} holds values that are too large for float32.",
            likely=f"The largest is {float(np.abs(array).max()):.3g}.",
            do="Scale the values down.",
        )
    if not (numbers.flags.writeable and numbers.flags.owndata):  # torch warns about such memory
        numbers = numbers.copy()
    return torch.from_numpy(numbers), remarks


def check_finite(array: npt.NDArray[Any], name: str) -> None:
    """Refuse NaN and infinite values.

    Raises:
        PhotoError: there are some.
    """
    finite = np.isfinite(array)
    missing = array.size - int(np.count_nonzero(finite))
    if not missing:
        return
    nan = int(np.count_nonzero(np.isnan(array)))
    parts = [f"{nan:,} NaN" if nan else "", f"{missing - nan:,} infinite" if missing > nan else ""]
    raise PhotoError(
        f"{name} has {' and '.join(filter(None, parts))} of {array.size:,} values.",
        likely="They mark places without data, or a computation failed.",
        do="Replace them first, for example with np.nan_to_num.",
    )


def states_levels(dtype: np.dtype[Any]) -> tuple[float, float] | None:
    """Black and white of a type that leaves no doubt about them."""
    if dtype == np.uint8:
        return 0.0, 255.0
    return (0.0, 1.0) if dtype == np.bool_ else None


def _sizes(shape: Sequence[int]) -> str:
    text = " × ".join(f"{min(side, _COUNTABLE):,}" for side in shape[:6])
    return f"{text} × …" if len(shape) > 6 else text
