"""Foreign text in our messages: made visible, put on one line, and shortened.

File names, class names, users' values and messages of other libraries are foreign. Printed as they
are, they could move the cursor, reverse a line, or fill a screen.
"""

from __future__ import annotations

import dataclasses
import json
import reprlib
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

T = TypeVar("T")

LONGEST_PARAGRAPH: Final = 600
"""The most characters of a message."""

LONGEST_REPR: Final = 400
"""The most characters of a `repr`."""

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories: control and format characters, surrogates, line separators."""

_JOINERS: Final = "\u200c\u200d"
"""Format characters that occur in ordinary words and emoji."""


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in _HIDDEN and char not in _JOINERS


def visible(text: str) -> str:
    """The text with control characters replaced by visible escapes."""
    if text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode("ascii") if _is_hidden(char) else char for char in text
    )


def encodable(name: str) -> str:
    """The name with surrogates replaced by escapes, so that it can be encoded as UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def shortened(text: str, most: int) -> str:
    """The text; without its middle if it is longer than `most` characters."""
    if len(text) <= most:
        return text
    end = (most - 1) // 3
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def one_line(text: str, most: int | None = None) -> str:
    """A foreign message on one visible line of at most `most` characters.

    Each run of white space, including line ends, becomes one space.
    """
    if most is not None:
        text = shortened(text, 50 * most)  # saves time on messages of megabytes
    line = visible(" ".join(text.split()))
    return line if most is None else shortened(line, most)


def reason(error: BaseException) -> str:
    """The message of another library's exception on one short line; its type if it has none."""
    try:
        message = one_line(str(error), 200)
    except Exception:  # noqa: BLE001  (an exception's own `__str__` may fail)
        message = ""
    return message or type(error).__name__


def quoted(value: object, most: int = 80) -> str:
    """The `repr` of any value, on one short line. It never fails."""
    try:
        return shortened(visible(_reader(most).repr(value)), most)
    except Exception:  # noqa: BLE001  (a foreign `__repr__` may raise any error)
        return f"a value of type {shortened(visible(type(value).__name__), most)}"


def excerpt(value: object, most: int = 100) -> str:
    """A foreign name or text on one short, visible line. It never fails."""
    try:
        return shortened(visible(str(value)), most)
    except Exception:  # noqa: BLE001  (a foreign `__str__` may raise any error)
        return quoted(value, most)


def summary(parts: Callable[[T], Iterator[str]]) -> Callable[[T], str]:
    """Turn a method that yields parts of a line into a `__repr__`: `Name(part, part)`.

    Empty parts are left out. The `__repr__` never fails: an object that is not fully constructed
    prints as `Name(…)`.
    """

    def line(owner: T) -> str:
        name = type(owner).__name__
        try:
            inside = ", ".join(part for part in parts(owner) if part)
        except Exception:  # noqa: BLE001  (reading a half-built object may raise any error)
            inside = "…"
        return f"{name}({excerpt(inside, LONGEST_REPR - len(name) - 2)})"

    line.__doc__ = parts.__doc__
    return line


def constructor(self: Any) -> str:
    """The `__repr__` of a dataclass: its constructor call, without default values."""
    return _arguments(self)


@summary
def _arguments(record: Any) -> Iterator[str]:
    for field in dataclasses.fields(record):
        if field.repr and hasattr(record, field.name):
            value = getattr(record, field.name)
            if not _is_default(value, field):
                yield f"{field.name}={quoted(value)}"


def _is_default(value: object, field: dataclasses.Field[Any]) -> bool:
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    # Only values of one type are compared: a tensor == a number is not a bool.
    return value is default or (type(value) is type(default) and bool(value == default))


def json_safe(text: str) -> str:
    """A JSON text with control characters escaped as in JSON; line ends between values stay."""
    if all(line.isprintable() for line in text.split("\n")):
        return text
    return "".join(_json_escape(char) if _is_hidden(char) else char for char in text)


def _json_escape(char: str) -> str:
    if char in "\n\r\t":  # in strict JSON, these occur between values only
        return "\n" if char == "\r" else char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else json.dumps(char)[1:-1]


class _Reader(reprlib.Repr):
    """`repr` with limits; tensors and arrays are described by their shape."""

    def repr1(self, x: Any, level: int) -> str:
        shape = getattr(x, "shape", None)
        if isinstance(shape, tuple) and shape:
            kind = type(x).__name__
            return f"<{kind} of shape {tuple(shape)}>"
        return super().repr1(x, level)


def _reader(most: int) -> _Reader:
    reader = _Reader()
    reader.maxlevel = 3
    reader.maxstring = reader.maxother = reader.maxlong = most
    return reader
