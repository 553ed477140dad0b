"""The legend below a heatmap: what it explains, its colours, how it was made, and warnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from scorecam.images.colours import colour
from scorecam.images.lettering import (
    BACKGROUND,
    FAINT,
    TEXT,
    WARNING,
    em_size,
    font,
    line_height,
    wrap,
    write,
)

_LARGEST_TEXT: Final = em_size(1600)


@dataclass(frozen=True)
class Legend:
    """The texts of a legend.

    Args:
        title: what is explained, such as "tiger cat  41 %".
        low, high: the range of the heatmap before it was scaled to [0, 1].
        layer: the explained layer.
        method: the method and its formula.
        notes: warnings, one sentence each.
        caption: what the picture shows, if it is not a photo.
        outline: what the outline on the picture shows.
    """

    title: str
    low: float
    high: float
    layer: str
    method: str
    notes: tuple[str, ...] = ()
    caption: str = ""
    outline: str = ""


def draw_legend(legend: Legend, width: int) -> Image.Image:
    """The title and the colour bar side by side; method, layer and notes below."""
    em = min(em_size(width), _LARGEST_TEXT)
    inner = width - 2 * em
    bar = inner * 3 // 8
    big = em * 8 // 5
    title = wrap(legend.title, big, inner - bar - 2 * em, most=3)
    details = wrap(legend.outline, em, inner, most=2)
    details += wrap(legend.caption, em, inner, most=5)
    details += wrap(legend.method, em, inner, most=3)
    if legend.layer:
        details += wrap(f"layer {legend.layer}", em, inner, most=2)
    wrapped = (wrap(note, em, inner - 2 * em, most=4) for note in legend.notes)
    notes = [lines for lines in wrapped if lines]

    below = em + max(line_height(big) * len(title), 5 * em // 2) + em // 2
    small = len(details) + sum(map(len, notes))
    height = below + line_height(em) * small + em // 2 * len(notes) + em
    strip = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(strip)
    _draw_bar(strip, (width - em - bar, em, width - em, 2 * em), legend)
    write(draw, title, (em, em), size=big, fill=TEXT)
    y = write(draw, details, (em, below), size=em, fill=FAINT)
    for note in notes:
        y += em // 2
        _draw_sign(draw, (em, y), em)
        y = write(draw, note, (3 * em, y), size=em, fill=WARNING)
    return strip


def _draw_bar(strip: Image.Image, box: tuple[int, int, int, int], legend: Legend) -> None:
    """Draw the colour bar, with the lowest and the highest value below its ends."""
    left, top, right, bottom = box
    ramp = colour(np.linspace(0, 1, right - left))[None].repeat(bottom - top, axis=0)
    strip.paste(Image.fromarray(ramp), (left, top))
    draw = ImageDraw.Draw(strip)
    draw.rectangle((left, top, right - 1, bottom - 1), None, FAINT)
    em = bottom - top
    y = bottom + em // 3
    draw.text((left, y), f"{legend.low:.3g}", FAINT, font(em))
    draw.text((right, y), f"{legend.high:.3g}", FAINT, font(em), anchor="ra")


def _draw_sign(draw: ImageDraw.ImageDraw, corner: tuple[int, int], em: int) -> None:
    """Draw the warning sign, so that notes differ from other text in more than colour."""
    x, y = corner
    draw.ellipse((x, y, x + 1.4 * em, y + 1.4 * em), WARNING)
    draw.text((x + 0.7 * em, y + 0.7 * em), "!", BACKGROUND, font(em * 5 // 4), anchor="mm")
