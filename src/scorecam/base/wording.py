"""Foreign text in our sentences: visible, on one line, and short.

File names, class names, users' values and other libraries' messages come from outside. Printed as
they are, they could move the cursor, reverse a line, or fill a screen.
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
"""The most characters of anything that is said to a user in one paragraph."""

LONGEST_REPR: Final = 400
"""The most characters that an object prints."""

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of control and format characters, surrogates, and separators of lines."""

_JOINERS: Final = "\u200c\u200d"
"""Format characters that ordinary words and emoji are written with."""


def _is_hidden(char: str) -> bool:
    return unicodedata.category(char) in _HIDDEN and char not in _JOINERS


def visible(text: str) -> str:
    """The text with every control character as a visible escape: a backslash and its code."""
    if text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode("ascii") if _is_hidden(char) else char for char in text
    )


def shown(name: str) -> str:
    """A name that can be written in UTF-8, whatever bytes it is made of."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def shortened(text: str, most: int) -> str:
    """The text, its middle left out where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    end = (most - 1) // 3
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def one_line(text: str, most: int | None = None) -> str:
    """A foreign message on one line, visible, of at most `most` characters.

    Runs of white space, line ends among them, become one space.
    """
    if most is not None:
        text = shortened(text, 50 * most)  # a message of megabytes is not worth splitting
    line = visible(" ".join(text.split()))
    return line if most is None else shortened(line, most)


def reason(error: BaseException) -> str:
    """What another library's exception says, on one short line; its kind where it says nothing."""
    try:
        said = one_line(str(error), 200)
    except Exception:  # noqa: BLE001  (an exception's own `__str__` may fail)
        said = ""
    return said or type(error).__name__


def quoted(value: object, most: int = 80) -> str:
    """A user's value as Python writes it, but short, on one line, and whatever it is."""
    try:
        return shortened(visible(_reader(most).repr(value)), most)
    except Exception:  # noqa: BLE001  (a foreign `__repr__` may fail in any way)
        return f"a value of type {shortened(visible(type(value).__name__), most)}"


def excerpt(value: object, most: int = 100) -> str:
    """A foreign name or text as it is, but visible, on one line and short."""
    try:
        return shortened(visible(str(value)), most)
    except Exception:  # noqa: BLE001  (a foreign `__str__` may fail in any way)
        return quoted(value, most)


def summary(parts: Callable[[T], Iterator[str]]) -> Callable[[T], str]:
    """Make a `__repr__` of a method that yields the parts of an object's line: `Name(part, part)`.

    Empty parts are left out. Printing never fails: of an object that is only half built it says
    `Name(…)`.
    """

    def line(owner: T) -> str:
        name = type(owner).__name__
        try:
            inside = ", ".join(part for part in parts(owner) if part)
        except Exception:  # noqa: BLE001  (the parts of a half-built object fail in any way)
            inside = "…"
        return f"{name}({excerpt(inside, LONGEST_REPR - len(name) - 2)})"

    line.__doc__ = parts.__doc__
    return line


def constructor(self: Any) -> str:
    """The `__repr__` of a dataclass: its constructor as it is written, without the defaults."""
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
    # Only values of one type are compared: a tensor compared with a number is no yes or no.
    return value is default or (type(value) is type(default) and bool(value == default))


def json_safe(text: str) -> str:
    """A JSON text with every control character escaped as JSON does; line ends between stay."""
    if all(line.isprintable() for line in text.split("\n")):
        return text
    return "".join(_json_escape(char) if _is_hidden(char) else char for char in text)


def _json_escape(char: str) -> str:
    if char in "\n\r\t":  # strict JSON has these between its values only
        return "\n" if char == "\r" else char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else json.dumps(char)[1:-1]


class _Reader(reprlib.Repr):
    """`repr` with limits; a tensor or an array is described by its shape."""

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
