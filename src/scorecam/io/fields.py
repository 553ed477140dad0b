"""Values of foreign records, checked one by one: type, range and length.

JSON has numbers without end, texts with halves of characters, and anything where a list should be.
Every reader of a format takes its values through these functions, so that what passes can be
computed with, compared, printed and written.
"""

from __future__ import annotations

import math
import sys
from typing import Any, TypeGuard, cast

from scorecam.base.wording import excerpt

LONGEST_TEXT = 10_000
"""Characters of a name or a sentence."""


def number(value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number in a range; a text that says one counts.

    Raises:
        ValueError: it is none, or lies outside.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{_quoted(value)} is not a number")  # noqa: TRY004  one kind of error
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ValueError(f"{_quoted(value)} is not a number")
    try:
        found = float(value)
    except OverflowError:  # a whole number beyond all floats
        found = math.inf
    except ValueError as error:
        raise ValueError(f"{_quoted(value)} is not a number") from error
    if not math.isfinite(found):
        raise ValueError(f"{_quoted(value)} is not a finite number")
    if not low <= found <= high:
        raise ValueError(f"{_quoted(value)} is not between {low:g} and {high:g}")
    return found


def between(value: object, low: float, high: float, slack: float = 1e-6) -> bool:
    """Whether something is a finite number in a range, give or take what rounding does."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # Compared with the largest float, not converted to one: JSON's whole numbers have no end.
    largest = sys.float_info.max
    return max(low - slack, -largest) <= value <= min(high + slack, largest)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether something counts or numbers things: 0, 1 and so on."""
    return type(value) is int and 0 <= value <= 2**31


def is_text(value: object, most: int = LONGEST_TEXT) -> TypeGuard[str]:
    """Whether something is a text that is not too long; it may hold halves of characters."""
    return isinstance(value, str) and len(value) <= most


def is_key(value: object) -> TypeGuard[int | str]:
    """Whether something can be an id or a class: a whole number, or a text."""
    return -(2**63) < value < 2**63 if type(value) is int else is_text(value)


def is_clean(value: str) -> bool:
    """Whether a text can be written: it holds no halves of characters."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def is_table(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether something is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object, most: int) -> TypeGuard[list[Any]]:
    """Whether something is a list that is not too long."""
    return isinstance(value, list) and len(cast("list[Any]", value)) <= most


def _quoted(value: object) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return excerpt(repr(value), 60)
