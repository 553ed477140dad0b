"""Values from JSON and other foreign records, checked one by one: type, range and length.

JSON allows numbers of any length, strings with lone surrogates, and any type in place of a list.
Readers of formats take values through these functions, so that every value that passes can be used
in arithmetic, compared, printed and written.
"""

from __future__ import annotations

import math
import sys
from typing import Any, TypeGuard, cast

from scorecam.base.wording import excerpt

LONGEST_TEXT = 10_000
"""The most characters of a name or a sentence."""


def to_number(value: object, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number in a range, from a number or a string.

    Raises:
        ValueError: the value is not a number, or is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{_quoted(value)} is not a number")  # noqa: TRY004  one kind of error
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise ValueError(f"{_quoted(value)} is not a number")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond all floats
        number = math.inf
    except ValueError as error:
        raise ValueError(f"{_quoted(value)} is not a number") from error
    if not math.isfinite(number):
        raise ValueError(f"{_quoted(value)} is not a finite number")
    if not low <= number <= high:
        raise ValueError(f"{_quoted(value)} is not between {low:g} and {high:g}")
    return number


def in_range(value: object, low: float, high: float, slack: float = 1e-6) -> bool:
    """Whether a value is a finite number in a range, up to rounding errors."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # The value is not converted to a float: an integer in JSON may be larger than any float.
    largest = sys.float_info.max
    return max(low - slack, -largest) <= value <= min(high + slack, largest)


def is_count(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number from 0 to 2^31."""
    return type(value) is int and 0 <= value <= 2**31


def is_text(value: object, most: int = LONGEST_TEXT) -> TypeGuard[str]:
    """Whether a value is a string of at most `most` characters; it may have lone surrogates."""
    return isinstance(value, str) and len(value) <= most


def is_id(value: object) -> TypeGuard[int | str]:
    """Whether a value can be an id or a class: a whole number or a string."""
    return -(2**63) < value < 2**63 if type(value) is int else is_text(value)


def is_encodable(value: str) -> bool:
    """Whether a string can be encoded as UTF-8: it has no lone surrogates."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a value is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object, most: int) -> TypeGuard[list[Any]]:
    """Whether a value is a list of at most `most` entries."""
    return isinstance(value, list) and len(cast("list[Any]", value)) <= most


def _quoted(value: object) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return excerpt(repr(value), 60)
