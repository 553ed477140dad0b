"""Markdown in which inserted values stay plain text; no other module makes Markdown.

Names of files, classes, methods and models come from outside. Unescaped, they could become links,
pictures or HTML, or end the cell of a table.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final, LiteralString, final

from scorecam.base.wording import one_line
from scorecam.io.files import write_bytes


@final
class Markdown(str):
    """Text that is Markdown; only this module makes it."""

    __slots__ = ()


_SPECIAL: Final = re.compile(
    r"""[\\`*\[\]|~$]
    | (?<![^\W_])_ | _(?![^\W_])      # within a word it has no effect
    | (?<=:)//                        # an address is a link even without brackets
    | (?<=www)\.
    | @
    """,
    re.VERBOSE | re.IGNORECASE,
)
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_BLOCK: Final = re.compile(r"[#+\-=:]|\d+(?=[.)])")
"""Matches the beginnings of lines that are not paragraphs."""


def escaped(text: object) -> Markdown:
    """Text as Markdown that shows it unchanged; `Markdown` itself is returned as it is."""
    if isinstance(text, Markdown):
        return text
    plain = _SPECIAL.sub(lambda match: _backslashes(match[0]), one_line(str(text)))
    return Markdown("".join(_ENTITIES.get(char, char) for char in plain))


def words(template: LiteralString, *values: object) -> Markdown:
    """A constant template with escaped values in its braces."""
    return Markdown(template.format(*map(escaped, values)))


def paragraph(template: LiteralString, *values: object) -> Markdown:
    """A paragraph, made as by `words`."""
    text = words(template, *values)
    begins = _BLOCK.match(text)
    if begins and template.startswith("{"):
        text = f"{begins[0]}\\{text[begins.end() :]}" if begins[0].isdigit() else f"\\{text}"
    return Markdown(f"{text}\n")


def heading(level: int, template: LiteralString, *values: object) -> Markdown:
    """A heading, made as by `words`."""
    return Markdown(f"{'#' * level} {words(template, *values)}\n")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markdown:
    """A table; every cell is escaped."""
    lines: list[list[str]] = [[escaped(cell) for cell in row] for row in [head, *rows]]
    lines.insert(1, ["---"] * len(head))
    return Markdown("\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n")


def document(*blocks: Markdown) -> Markdown:
    """Headings, paragraphs and tables, separated by empty lines."""
    return Markdown("\n".join(blocks))


def write(path: str | os.PathLike[str], text: Markdown) -> None:
    """Write a document to a file.

    Raises:
        OutputError: the file cannot be written.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def _backslashes(text: str) -> str:
    return "".join(f"\\{char}" for char in text)
