"""Checks of the arguments of public functions; `ranges` checks numbers.

Each function returns the value if it is of the right kind. Otherwise it raises an error that shows
the value and says what to give instead. `name` is the name of the parameter.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from scorecam.base.wording import quoted
from scorecam.errors import ScorecamError, SettingError, did_you_mean
from scorecam.io.ranges import COUNT

T = TypeVar("T")

LONGEST_PATH = 4096
"""The most bytes that Linux allows in a path."""

DEEPEST_PATH = 255
"""The most nested folders: pathlib recurses once for each."""

MOST_SEVERAL = 100_000
"""The most entries of a list of settings; a longer one may be endless."""

LARGEST_FILL = 1e30
"""Beyond it, float32 could overflow."""


def fill_numbers(fill: Any) -> float | tuple[float, ...]:
    """A fill as plain floats: one, or one per colour."""
    several = isinstance(fill, Iterable) and not isinstance(fill, str | bytes | bytearray)
    given: Iterable[Any] = fill if several else (fill,)
    try:
        numbers = tuple(map(float, given))
    except Exception:  # noqa: BLE001  (iterating an unknown object may raise any error)
        numbers = (math.nan,)
    if not numbers or not all(abs(number) < LARGEST_FILL for number in numbers):
        raise SettingError(
            f"fill={quoted(fill)} is not a finite number, or a list of them.",
            do="Give one number, or one per colour.",
        )
    return numbers if several else numbers[0]


def flag(name: str, value: Any) -> bool:
    """True or False; 0 and 1 are accepted."""
    if isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise SettingError(f"{name}={quoted(value)} is neither True nor False.", do="Give one of them.")


def path(
    name: str, value: Any, error: type[ScorecamError] = SettingError
) -> str | os.PathLike[str]:
    """A path. Whether the file exists is checked when it is opened."""
    if isinstance(value, str | os.PathLike) and isinstance(text := os.fspath(value), str):
        if "\0" not in text and _fits(text):
            return value
        raise error(
            f"{name}={quoted(text)} cannot be a path: it is too long, or has characters that "
            "paths cannot have.",
            likely="It may be the content of a file, not its name.",
            do="Give the path of the file.",
        )
    raise error(f"{name}={quoted(value)} is not a path.", do="Give a string or a pathlib.Path.")


def _fits(text: str) -> bool:
    """Whether a path is short enough, not nested too deeply, and can be encoded."""
    try:
        return len(os.fsencode(text)) <= LONGEST_PATH and text.count("/") <= DEEPEST_PATH
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def choice(name: str, value: Any, known: Sequence[str]) -> str:
    """One of a few words.

    Args:
        known: the words.
    """
    if isinstance(value, str) and value in known:
        return value
    raise SettingError(
        f"There is no {name} {quoted(value)}.",
        likely=did_you_mean(value, known),
        do=f"A {name} is one of {', '.join(known)}.",
    )


def function(name: str, value: Any, takes: str, *, optional: bool = True) -> Any:
    """A function.

    Args:
        takes: what it is called with, for the error.
        optional: whether None is accepted.
    """
    if callable(value) or (value is None and optional):
        return value
    raise SettingError(
        f"{name}={quoted(value)} is not a function.",
        do=f"Give a function that takes {takes}, or leave it out.",
    )


def instance(name: str, value: Any, kind: type[T] | tuple[type[T], ...], do: str) -> T:
    """An object of a type.

    Args:
        do: the advice if it has another type.
    """
    if isinstance(value, kind):
        return value
    raise SettingError(f"{name}={quoted(value)} cannot be used here.", do=do)


def several(name: str, value: Any, kind: type[T] | Any, do: str) -> list[T]:
    """A list, a tuple or another collection of objects of one type.

    Args:
        do: the advice if it is anything else.
    """
    single = isinstance(value, str | bytes | bytearray) or not isinstance(value, Iterable)
    if single or getattr(value, "ndim", 1) == 0:
        raise SettingError(f"{name}={quoted(value)} is not a list.", do=do)
    entries: list[Any] = list(itertools.islice(value, MOST_SEVERAL))
    for entry in entries:
        if not isinstance(entry, kind):
            raise SettingError(f"{name} contains {quoted(entry)}.", do=do)
    return entries


def sizes(name: str, value: Any, axes: int, most: int) -> tuple[int, ...]:
    """The size of an image: one whole number of at least 1 for each axis.

    Args:
        axes: how many axes.
        most: the most pixels.
    """
    if isinstance(value, list | tuple) and len(value) == axes:
        size = tuple(COUNT.check(name, side) for side in value)
        if math.prod(size) <= most:
            return size
        raise SettingError(f"{name}={size} has more than {most:,} pixels.", do="Give fewer.")
    raise SettingError(
        f"{name}={quoted(value)} is not a size.",
        do=f"Give {axes} whole {'number' if axes == 1 else 'numbers'}, one for each axis.",
    )


def tensor(value: Any, what: str = "The input") -> Tensor:
    """A dense tensor of real numbers.

    Args:
        what: its name in an error.
    """
    if not isinstance(value, Tensor):
        raise SettingError(f"{what} is {_described(value)}, not a tensor.", do=_advice(value))
    if value.layout != torch.strided:
        problem, do = "is sparse", "Give x.to_dense()."
    elif value.is_meta:
        problem, do = "is on the meta device, so it has no values", "Give a tensor with values."
    elif value.is_quantized:
        problem, do = "is quantised", "Give x.dequantize()."
    elif value.is_complex():
        problem, do = "is complex", "Give x.real or x.abs(), whichever the model takes."
    else:
        return value
    raise SettingError(f"{what} {problem}.", do=do)


def _described(value: Any) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _advice(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return "Give torch.from_numpy(x)."
    if hasattr(value, "getbands") or isinstance(value, str | os.PathLike):  # a PIL image, a path
        return (
            "Preprocess the photo into a tensor first. Or use scorecam.explain, which takes photos "
            "if the model was opened with preprocess=."
        )
    return "Give a tensor as the model takes it, images first."
