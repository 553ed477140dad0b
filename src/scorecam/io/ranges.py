"""The numbers that users give, as text or in Python: the type and the range of each.

A number that is out of range is refused here, in words, before anything is allocated for it or run
that often.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from scorecam.base.wording import quoted
from scorecam.errors import SettingError

LONGEST: Final = 100
"""Characters that a number may be written with."""


def whole(text: str) -> int | None:
    """The whole number in a text, written as Python writes it; None where it is not one."""
    if len(text) <= LONGEST:
        with contextlib.suppress(ValueError):
            return int(text)
    return None


def real(text: str) -> float | None:
    """The finite number in a text, written as Python writes it; None where it is not one."""
    if len(text) <= LONGEST:
        with contextlib.suppress(ValueError):
            number = float(text)
            return number if math.isfinite(number) else None
    return None


@dataclass(frozen=True)
class Whole:
    """Whole numbers from `least` to `most`.

    Args:
        costly: whether larger ones would take more time or memory.
    """

    least: int
    most: int
    costly: bool = True

    def holds(self, value: object) -> bool:
        """Whether a value is one of them, as Python's, NumPy's or another type of integer."""
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            return False
        return bool(self.least <= value <= self.most)

    def check(self, name: str, value: Any) -> None:
        """Refuse a value that is not one of them.

        Raises:
            SettingError: it is not.
        """
        if self.holds(value):
            return
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise SettingError(
                f"{name}={quoted(value)} is not a whole number.",
                do=f"Give one from {self.least:,} to {self.most:,}.",
            )
        if value < self.least:
            raise SettingError(f"{name}={quoted(value)} is less than {self.least:,}.")
        raise SettingError(
            f"{name}={quoted(value)} is more than {self.most:,}, which is the limit.",
            likely="It would take more time or memory than there is." if self.costly else "",
            do="Give a smaller number.",
        )


@dataclass(frozen=True)
class Real:
    """Numbers above `low`, or from `low` on, up to `high`.

    Args:
        closed: whether `low` is one of them.
    """

    low: float
    high: float
    closed: bool = False

    def holds(self, value: object) -> bool:
        """Whether a value is one of them."""
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
            return False
        if isinstance(value, np.complexfloating):
            return False
        return bool(self.low < value <= self.high or (self.closed and value == self.low))

    def check(self, name: str, value: Any) -> None:
        """Refuse a value that is not one of them.

        Raises:
            SettingError: it is not.
        """
        if self.holds(value):
            return
        said = f"{value:g}" if isinstance(value, float) else quoted(value)
        if self.closed:
            raise SettingError(
                f"{name} must be a number of at least {self.low:g} and at most {self.high:g}, "
                f"not {said}."
            )
        raise SettingError(
            f"{name}={said} must be greater than {self.low:g} and at most {self.high:g}."
        )


Range = Whole | Real

SEED: Final = Whole(-(2**63), 2**64 - 1, costly=False)
"""What torch's generators take."""

FOLDED_SEED: Final = Whole(-(2**256), 2**256, costly=False)
"""What is taken modulo 2^63 before a generator sees it."""

BATCH_SIZE: Final = Whole(1, 1_000_000)
BUDGET: Final = Whole(1, 1_000_000_000)
TOLERANCE: Final = Real(0, 1)
PHOTOS: Final = Whole(1, 1_000_000_000)
SHARDS: Final = Whole(1, 1_000_000)
NETWORKS: Final = Whole(1, 1000)
"""How many networks the sanity check may draw for each stage."""
