"""Text in pictures, drawn with the one font that comes with Pillow."""

from __future__ import annotations

import bisect
import functools
import unicodedata
from typing import Final

from PIL import ImageDraw, ImageFont

BACKGROUND, TEXT, FAINT, WARNING = "#16161c", "#ffffff", "#b8b8c4", "#ffc857"

LONGEST_TEXT: Final = 2000
"""The most characters of a text; the rest is cut off."""

_SPELLED_OUT = str.maketrans(
    {"α": "alpha", "β": "beta", "Σ": "sum", "×": "x", "∘": "*", "⊙": "*", "−": "-", "–": "-"}
    | {"—": "-", "≤": "<=", "≥": ">=", "≈": "~", "→": "->", "ß": "ss", "æ": "ae", "ø": "o"}
)
"""Replacements for characters of formulas and sentences that the font lacks."""


def em_size(width: int) -> int:
    """The font size of normal text on a picture of this width, in pixels."""
    return max(12, width // 54)


def line_height(size: int) -> int:
    """Pixels from one line to the next."""
    return size * 3 // 2


def write(
    draw: ImageDraw.ImageDraw, lines: list[str], corner: tuple[int, int], *, size: int, fill: str
) -> int:
    """Draw lines one below the other; returns the y coordinate of the next line."""
    x, y = corner
    for line in lines:
        draw.text((x, y), line, fill, font(size))
        y += line_height(size)
    return y


def wrap(text: str, size: int, width: int, most: int) -> list[str]:
    """The text in at most `most` lines of this width, in characters that can be drawn.

    Long words are broken. Text that does not fit is replaced by an ellipsis.
    """
    face, rest = font(size), _drawable(text)
    lines: list[str] = []
    while rest and len(lines) < most:
        lengths = range(1, len(rest) + 1)
        end = bisect.bisect(lengths, width, key=lambda length: face.getlength(rest[:length]))
        if end < len(rest):
            end = max(rest.rfind(" ", 0, end + 1), 0) or max(end, 1)
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    if rest:
        while lines[-1] and face.getlength(lines[-1] + "…") > width:
            lines[-1] = lines[-1][:-1]
        lines[-1] = lines[-1].rstrip() + "…"
    return lines


def _drawable(text: str) -> str:
    """One line in characters of the font; those without a replacement appear as boxes."""
    plain = unicodedata.normalize("NFKD", text[:LONGEST_TEXT].translate(_SPELLED_OUT))
    characters = (" " if c.isspace() else c for c in plain if not unicodedata.combining(c))
    return "".join(c for c in characters if c.isprintable()).strip()


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font in a size."""
    return ImageFont.load_default(size)
