"""Numbers that users give, in Python or as text: the type and the range of each.

A number out of range is refused here, before it sets the size of an allocation or the length of a
loop.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from scorecam.base.wording import quoted
from scorecam.errors import SettingError

T = TypeVar("T")

LONGEST_NUMBER: Final = 100
"""Characters in the text of a number."""

MOST: Final = 2**62
"""The largest whole number without a limit of its own: torch and files have 64 bits."""

LISTABLE: Final = 10**9
"""Errors name ranges of up to this many numbers; for larger ranges, they give an example."""


def parse_whole(text: str) -> int | None:
    """The whole number in a string, in Python's syntax; None if it is not one."""
    if len(text) <= LONGEST_NUMBER:
        with contextlib.suppress(ValueError):
            return int(text)
    return None


def parse_real(text: str) -> float | None:
    """The finite number in a string, in Python's syntax; None if it is not one."""
    if len(text) <= LONGEST_NUMBER:
        with contextlib.suppress(ValueError):
            number = float(text)
            return number if math.isfinite(number) else None
    return None


def parse_reals(text: str) -> tuple[float, ...] | None:
    """The finite numbers in a string, separated by commas; None if it holds anything else."""
    return _all_of([parse_real(part) for part in text.split(",")])


def parse_wholes(text: str) -> tuple[int, ...] | None:
    """The whole numbers in a string, separated by commas; None if it holds anything else."""
    return _all_of([parse_whole(part) for part in text.split(",")])


def _all_of(numbers: Sequence[T | None]) -> tuple[T, ...] | None:
    found = tuple(number for number in numbers if number is not None)
    return found if len(found) == len(numbers) else None


@dataclass(frozen=True)
class Whole:
    """Whole numbers from `least` to `most`.

    Args:
        costly: whether larger numbers take more time or memory; for the error.
    """

    least: int
    most: int
    costly: bool = True

    def holds(self, value: object) -> bool:
        """Whether a value is in the range. NumPy's integers count; booleans do not."""
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            return False
        return bool(self.least <= value <= self.most)

    def check(self, name: str, value: Any) -> int:
        """The value as an int.

        Raises:
            SettingError: it is not a whole number in the range.
        """
        if self.holds(value):
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise SettingError(f"{name}={quoted(value)} is not a whole number.", do=self._advice)
        if value < self.least:
            raise SettingError(
                f"{name}={quoted(value)} is less than {self.least:,}.", do=self._advice
            )
        raise SettingError(
            f"{name}={quoted(value)} is more than {self.most:,}, which is the limit.",
            likely="It would take more time or memory than there is." if self.costly else "",
            do="Give a smaller number.",
        )

    @property
    def _advice(self) -> str:
        if self.most - self.least <= LISTABLE:
            return f"Give a number from {self.least:,} to {self.most:,}."
        return f"Give a number such as {max(self.least, 1)}."


@dataclass(frozen=True)
class Real:
    """Numbers from `low` to `high`; `low` itself only if `closed`.

    Args:
        closed: whether `low` is in the range.
    """

    low: float
    high: float
    closed: bool = False

    def holds(self, value: object) -> bool:
        """Whether a value is in the range; booleans and complex numbers do not count."""
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
            return False
        if isinstance(value, np.complexfloating):
            return False
        return bool(self.low < value <= self.high or (self.closed and value == self.low))

    def check(self, name: str, value: Any) -> float:
        """The value as a float.

        Raises:
            SettingError: it is not a number in the range.
        """
        if self.holds(value):
            return _as_float(value)
        given = f"{value:g}" if isinstance(value, float) else quoted(value)
        bound = "at least" if self.closed else "greater than"
        limits = f"{bound} {self.low:g} and at most {self.high:g}"
        if isinstance(value, int | float | np.number) and not isinstance(value, bool):
            raise SettingError(f"{name}={given} must be {limits}.", do=self._advice)
        raise SettingError(f"{name}={given} is not a number.", do=f"Give a number, {limits}.")

    @property
    def _advice(self) -> str:
        return f"Give a number such as {(self.low + min(self.high, self.low + 1)) / 2:g}."


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond all floats
        return math.inf


Range = Whole | Real

INTEGER: Final = Whole(-MOST, MOST, costly=False)
INDEX: Final = Whole(0, MOST, costly=False)
COUNT: Final = Whole(1, MOST, costly=False)
NUMBER: Final = Real(-math.inf, math.inf, closed=True)
SHARE: Final = Real(0, 1, closed=True)

SEED: Final = Whole(-(2**63), 2**64 - 1, costly=False)
"""The seeds that torch's generators accept."""

FOLDED_SEED: Final = Whole(-(2**256), 2**256, costly=False)
"""Seeds that are taken modulo 2^63 before a generator sees them."""

BATCH_SIZE: Final = Whole(1, 1_000_000)
BUDGET: Final = Whole(1, 1_000_000_000)
TOLERANCE: Final = Real(0, 1)
PHOTOS: Final = Whole(1, 1_000_000_000)
SHARDS: Final = Whole(1, 1_000_000)
NETWORKS: Final = Whole(1, 1000)
"""How many networks the sanity check re-initialises for each stage."""
