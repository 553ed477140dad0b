"""What users give to public functions, checked where it enters.

Each function returns the value if it is of the right kind. Otherwise it raises an error that says
what the value is and what it should be. `name` is the parameter's.
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

T = TypeVar("T")

MOST_WHOLE = 2**62
"""The largest whole number that is an option's value: torch and files have 64 bits."""


LONGEST_PATH = 4096
"""The most bytes of a path on Linux."""

DEEPEST_PATH = 255
"""The most folders in each other; pathlib makes them one call deeper each."""


def whole(name: str, value: Any, least: int = -MOST_WHOLE) -> int:
    """A whole number; booleans are refused."""
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if is_whole and least <= value <= MOST_WHOLE:
        return int(value)
    bound = "" if least == -MOST_WHOLE else f" of at least {least}"
    raise SettingError(
        f"{name}={quoted(value)} is not a whole number{bound}.",
        likely="It is too large." if is_whole and value > MOST_WHOLE else "",
        do=f"Give a number such as {max(least, 1)}.",
    )


def number(name: str, value: Any, low: float, high: float) -> float:
    """A real number in [low, high]."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        found = math.nan if isinstance(value, np.complexfloating) else _float(value)
        if low <= found <= high:
            return found
    raise SettingError(
        f"{name}={quoted(value)} is not a number from {low:g} to {high:g}.",
        do=f"Give a number such as {(low + min(high, low + 1)) / 2:g}.",
    )


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def flag(name: str, value: Any) -> bool:
    """True or False; 0 and 1 will do."""
    if isinstance(value, bool | np.bool_) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise SettingError(f"{name}={quoted(value)} is neither True nor False.", do="Give one of them.")


def path(
    name: str, value: Any, error: type[ScorecamError] = SettingError
) -> str | os.PathLike[str]:
    """A path; whether there is such a file is found out when it is opened."""
    if isinstance(value, str | os.PathLike) and isinstance(text := os.fspath(value), str):
        if "\0" not in text and _fits(text):
            return value
        raise error(
            f"{name}={quoted(text)} cannot be a path: it is too long, or has characters that no "
            "path has.",
            likely="It may be the content of a file, not its name.",
            do="Give the file's path.",
        )
    raise error(f"{name}={quoted(value)} is not a path.", do="Give a string or a pathlib.Path.")


def _fits(text: str) -> bool:
    """Whether a path is neither too long nor too deep, and can be written in bytes."""
    try:
        return len(os.fsencode(text)) <= LONGEST_PATH and text.count("/") <= DEEPEST_PATH
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def choice(name: str, value: Any, known: Sequence[str]) -> str:
    """One of a few words."""
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
        takes: what it is called with, in words.
        optional: whether None will do.
    """
    if callable(value) or (value is None and optional):
        return value
    raise SettingError(
        f"{name}={quoted(value)} is not a function.",
        do=f"Give a function that takes {takes}, or leave it out.",
    )


def instance(name: str, value: Any, kind: type[T] | tuple[type[T], ...], do: str) -> T:
    """An object of a kind.

    Args:
        do: what to give instead of another object.
    """
    if isinstance(value, kind):
        return value
    raise SettingError(f"{name}={quoted(value)} cannot be used here.", do=do)


def several(name: str, value: Any, kind: type[T] | Any, do: str) -> list[T]:
    """A list, a tuple or another collection of objects of one kind.

    Args:
        do: what to give instead of anything else.
    """
    single = isinstance(value, str | bytes | bytearray) or not isinstance(value, Iterable)
    if single or getattr(value, "ndim", 1) == 0:
        raise SettingError(f"{name}={quoted(value)} is not a list.", do=do)
    found: list[Any] = list(itertools.islice(value, MOST_SEVERAL))
    for each in found:
        if not isinstance(each, kind):
            raise SettingError(f"{name} holds {quoted(each)}.", do=do)
    return found


MOST_SEVERAL = 100_000
"""The most entries of a list of settings; more is taken for endless."""


def sizes(name: str, value: Any, axes: int, most: int) -> tuple[int, ...]:
    """The size of an image: one whole number of at least 1 for each axis.

    Args:
        most: pixels in all.
    """
    if isinstance(value, list | tuple) and len(value) == axes:
        found = tuple(whole(name, side, 1) for side in value)
        if math.prod(found) <= most:
            return found
        raise SettingError(f"{name}={found} has more than {most:,} pixels.", do="Ask for fewer.")
    raise SettingError(
        f"{name}={quoted(value)} is not a size.",
        do=f"Give {axes} whole {'number' if axes == 1 else 'numbers'}, one for each axis.",
    )


def tensor(value: Any, what: str = "The input") -> Tensor:
    """A tensor of real numbers that lie in memory, one by one.

    Args:
        what: how an error calls it.
    """
    if not isinstance(value, Tensor):
        raise SettingError(f"{what} is {_called(value)}, not a tensor.", do=_advice(value))
    odd = ""
    if value.layout != torch.strided:
        odd, do = "is sparse", "Give x.to_dense()."
    elif value.is_meta:
        odd, do = "is on the meta device, where tensors have no values", "Give one with values."
    elif value.is_quantized:
        odd, do = "is quantised", "Give x.dequantize()."
    elif value.is_complex():
        odd, do = "holds complex numbers", "Give x.real or x.abs(), whichever the model takes."
    else:
        return value
    raise SettingError(f"{what} {odd}.", do=do)


def _called(value: Any) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _advice(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return "Give torch.from_numpy(x)."
    if hasattr(value, "getbands") or isinstance(value, str | os.PathLike):  # a PIL image, a path
        return (
            "Preprocess the photo into a tensor first; scorecam.explain takes a photo itself, for "
            "a model that was opened with preprocess=."
        )
    return "Give a tensor as the model takes it, images first."
