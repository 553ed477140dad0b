"""Pictures of heatmaps: on the photo, with a legend, and side by side.

Everything is drawn with Pillow and the one font it comes with.
"""

from __future__ import annotations

import bisect
import functools
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from scorecam.errors import SettingError
from scorecam.images.preprocess import Box

COLOURS: Final[npt.NDArray[np.uint8]] = np.frombuffer(
    bytes.fromhex("""
    00000401000501010601010802010a02020c02020e03021004031204031405041706041907051b08051d09061f0a0722
    0b07240c08260d08290e092b10092d110a30120a32140b34150b37160b39180c3c190c3e1b0c411c0c431e0c451f0c48
    210c4a230c4c240c4f260c51280b53290b552b0b572d0b592f0a5b310a5c320a5e340a5f3609613809623909633b0964
    3d09653e0966400a67420a68440a68450a69470b6a490b6a4a0c6b4c0c6b4d0d6c4f0d6c510e6c520e6d540f6d550f6d
    57106e59106e5a116e5c126e5d126e5f136e61136e62146e64156e65156e67166e69166e6a176e6c186e6d186e6f196e
    71196e721a6e741a6e751b6e771c6d781c6d7a1d6d7c1d6d7d1e6d7f1e6c801f6c82206c84206b85216b87216b88226a
    8a226a8c23698d23698f24699025689225689326679526679727669827669a28659b29649d29649f2a63a02a63a22b62
    a32c61a52c60a62d60a82e5fa92e5eab2f5ead305dae305cb0315bb1325ab3325ab43359b63458b73557b93556ba3655
    bc3754bd3853bf3952c03a51c13a50c33b4fc43c4ec63d4dc73e4cc83f4bca404acb4149cc4248ce4347cf4446d04545
    d24644d34743d44842d54a41d74b3fd84c3ed94d3dda4e3cdb503bdd513ade5238df5337e05536e15635e25734e35933
    e45a31e55c30e65d2fe75e2ee8602de9612bea632aeb6429eb6628ec6726ed6925ee6a24ef6c23ef6e21f06f20f1711f
    f1731df2741cf3761bf37819f47918f57b17f57d15f67e14f68013f78212f78410f8850ff8870ef8890cf98b0bf98c0a
    f98e09fa9008fa9207fa9407fb9606fb9706fb9906fb9b06fb9d07fc9f07fca108fca309fca50afca60cfca80dfcaa0f
    fcac11fcae12fcb014fcb216fcb418fbb61afbb81dfbba1ffbbc21fbbe23fac026fac228fac42afac62df9c72ff9c932
    f9cb35f8cd37f8cf3af7d13df7d340f6d543f6d746f5d949f5db4cf4dd4ff4df53f4e156f3e35af3e55df2e661f2e865
    f2ea69f1ec6df1ed71f1ef75f1f179f2f27df2f482f3f586f3f68af4f88ef5f992f6fa96f8fb9af9fc9dfafda1fcffa4
    """),
    np.uint8,
).reshape(256, 3)
"""From least to greatest, (256, 3) uint8 RGB: matplotlib's `inferno`, by N. Smith and S. van der
Walt (CC0). Its lightness rises evenly, so it reads the same to colour-blind eyes and in print."""

_LONG_SIDE = (480, 1600)
_NARROWEST = 480  # below, a legend cannot be read
_WIDEST_GRID = 3200

_GROUND, _TEXT, _FAINT, _WARNING = "#16161c", "#ffffff", "#b8b8c4", "#ffc857"

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_OUTSIDE, _INSIDE = 0.38, 0.7  # brightness of the photo
_SATURATION = 0.35  # of the photo inside the crop
_STRONGEST = 0.85  # how much of the photo the greatest values hide

_LONGEST_TEXT = 2000

_SPELLED_OUT = str.maketrans(
    {"α": "alpha", "β": "beta", "Σ": "sum", "×": "x", "∘": "*", "⊙": "*", "−": "-", "–": "-"}
    | {"—": "-", "≤": "<=", "≥": ">=", "≈": "~", "→": "->", "ß": "ss", "æ": "ae", "ø": "o"}
)
"""For what formulas and sentences need and Pillow's font lacks."""


@dataclass(frozen=True)
class Legend:
    """What a picture says of its heatmap.

    title: what it is of: "tiger cat  41 %".
    low, high: its range before it was scaled to [0, 1].
    layer: the explained layer.
    method: how it was made, with the formula.
    notes: sentences of warning, each shown behind a sign.
    """

    title: str
    low: float
    high: float
    layer: str
    method: str
    notes: tuple[str, ...] = ()


def colour(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The colours of values in [0, 1]: (*s) of any float dtype to (*s, 3) uint8.

    What lies beyond gets the colour of the nearer end, and NaN that of 0.
    """
    steps = np.nan_to_num(values.astype(np.float64)).clip(0, 1) * 255
    return COLOURS[steps.round().astype(np.uint8)]


def overlay(
    photo: Image.Image, heatmap: Annotated[Tensor, "H W"], crop: Box, legend: Legend | None
) -> Image.Image:
    """The heatmap on the photo, and a legend below (unless None), as an RGB picture.

    The photo keeps its shape, and its size but for a long side brought into 480..1600 pixels. It
    starts at the top, in the middle where it is narrower than its legend. Where the heatmap is
    low, the photo shows in muted colours. The crop is outlined unless it is the whole photo; what
    lies outside is dark and grey.

    Args:
        photo: RGB, of any size.
        heatmap: (H, W) of the photo, scaled to [0, 1]; what it has outside the crop is not drawn.
        crop: (left, top, right, bottom) of what the model saw, in pixels of the photo.
        legend: what to write.

    Raises:
        SettingError: the heatmap has not the photo's size, or the crop is not a part of the photo.
    """
    width, height = photo.size
    left, top, right, bottom = crop
    if tuple(heatmap.shape) != (height, width):
        raise SettingError(
            f"The heatmap has the size {tuple(heatmap.shape)}, and the photo {(height, width)}.",
            do="Lay it over the photo first, with Preprocess.to_photo.",
        )
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise SettingError(f"The crop {crop} is not a part of a {width} × {height} photo.")
    shortest, longest = _LONG_SIDE
    scale = min(max(shortest, *photo.size), longest) / max(photo.size)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    rgb = photo if photo.mode == "RGB" else photo.convert("RGB")  # else a copy of a large photo
    drawn = _drawn(rgb.resize(size, Image.Resampling.LANCZOS), heatmap, crop)
    if legend is None:
        return drawn
    return _stacked([drawn, _strip(legend, max(size[0], size[1] * 2 // 5, _NARROWEST))])


def side_by_side(pictures: Sequence[tuple[str, Image.Image]], columns: int) -> Image.Image:
    """Labelled pictures in rows of `columns`, as an RGB picture.

    Each keeps its size, unless the whole would be wider than 3200 pixels.

    Raises:
        SettingError: there are no pictures, or no columns.
    """
    if columns < 1 or not pictures:
        raise SettingError(f"{len(pictures)} pictures cannot be shown in {columns} columns.")
    columns = min(columns, len(pictures))
    widest = max(picture.width for _, picture in pictures)
    shrink = min(1.0, _WIDEST_GRID / (columns * widest))
    width = max(1, round(widest * shrink))
    cells = [_cell(label, picture, shrink, width) for label, picture in pictures]
    gap = _em(width)
    rows: list[Image.Image] = []
    for start in range(0, len(cells), columns):
        chosen = cells[start : start + columns]
        size = (columns * (width + gap) + gap, max(cell.height for cell in chosen) + gap)
        row = Image.new("RGB", size, _GROUND)
        for index, cell in enumerate(chosen):
            row.paste(cell, (gap + index * (width + gap), 0))
        rows.append(row)
    return _stacked(rows)


# ── the photo and its map ────────────────────────────────────────────────────────────────────


def _drawn(photo: Image.Image, heatmap: Tensor, crop: Box) -> Image.Image:
    """The photo, at its final size, under the heatmap and the outline of the crop."""
    left, right = _ends(crop[0], crop[2], heatmap.shape[1], photo.width)
    top, bottom = _ends(crop[1], crop[3], heatmap.shape[0], photo.height)
    inside = np.s_[top:bottom, left:right]
    rgb = np.asarray(photo, np.float32)
    grey = (rgb @ _LUMA)[..., None]
    muted = _INSIDE * (grey + _SATURATION * (rgb - grey))[inside]
    values = _resampled(heatmap, crop, (right - left, bottom - top))
    strength = (_STRONGEST * values)[..., None]
    pixels = np.repeat(_OUTSIDE * grey, 3, axis=2)
    pixels[inside] = muted + strength * (colour(values) - muted)
    picture = Image.fromarray(pixels.round().astype(np.uint8))
    line = min(max(2, _em(min(photo.size)) // 5), (right - left) // 8, (bottom - top) // 8)
    if line and (right - left, bottom - top) != photo.size:
        ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), None, _TEXT, line)
    return picture


def _ends(start: float, stop: float, length: int, drawn: int) -> tuple[int, int]:
    """Where a span of an axis begins and ends when the axis is drawn; at least one pixel apart."""
    first = min(round(start * drawn / length), drawn - 1)
    return first, max(first + 1, round(stop * drawn / length))


def _resampled(heatmap: Tensor, crop: Box, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """The part of a photo's heatmap inside the crop, at another (width, height).

    Cut out first: what lies outside must not bleed over the outline.
    """
    left, top = math.floor(crop[0] + 1e-6), math.floor(crop[1] + 1e-6)
    right, bottom = math.ceil(crop[2] - 1e-6), math.ceil(crop[3] - 1e-6)
    cut = heatmap.detach()[top:bottom, left:right].float().nan_to_num().clamp(0, 1)
    box = (
        max(0.0, crop[0] - left),
        max(0.0, crop[1] - top),
        min(crop[2] - left, right - left),
        min(crop[3] - top, bottom - top),
    )
    part = Image.fromarray(cut.cpu().numpy())
    return np.asarray(part.resize(size, Image.Resampling.BILINEAR, box=box)).clip(0, 1)


# ── words ────────────────────────────────────────────────────────────────────────────────────


def _strip(legend: Legend, width: int) -> Image.Image:
    """The legend: title and colour bar beside each other; method, layer and notes below."""
    em = _em(width)
    inner = width - 2 * em
    bar = inner * 3 // 8
    big = em * 8 // 5
    title = _wrapped(legend.title, big, inner - bar - 2 * em, most=3)
    details = _wrapped(legend.method, em, inner, most=3)
    if legend.layer:
        details += _wrapped(f"layer {legend.layer}", em, inner, most=2)
    wrapped = (_wrapped(note, em, inner - 2 * em, most=4) for note in legend.notes)
    notes = [lines for lines in wrapped if lines]

    below = em + max(_leading(big) * len(title), 5 * em // 2) + em // 2
    small = len(details) + sum(map(len, notes))
    height = below + _leading(em) * small + em // 2 * len(notes) + em
    strip = Image.new("RGB", (width, height), _GROUND)
    draw = ImageDraw.Draw(strip)
    _draw_bar(strip, (width - em - bar, em, width - em, 2 * em), legend)
    _write(draw, title, (em, em), big, _TEXT)
    y = _write(draw, details, (em, below), em, _FAINT)
    for note in notes:
        y += em // 2
        _draw_sign(draw, (em, y), em)
        y = _write(draw, note, (3 * em, y), em, _WARNING)
    return strip


def _draw_bar(strip: Image.Image, box: tuple[int, int, int, int], legend: Legend) -> None:
    """The colours from least to greatest, and below the ends what they stand for."""
    left, top, right, bottom = box
    ramp = colour(np.linspace(0, 1, right - left))[None].repeat(bottom - top, axis=0)
    strip.paste(Image.fromarray(ramp), (left, top))
    draw = ImageDraw.Draw(strip)
    draw.rectangle((left, top, right - 1, bottom - 1), None, _FAINT)
    em = bottom - top
    y = bottom + em // 3
    draw.text((left, y), f"{legend.low:.3g}", _FAINT, _font(em))
    draw.text((right, y), f"{legend.high:.3g}", _FAINT, _font(em), anchor="ra")


def _draw_sign(draw: ImageDraw.ImageDraw, corner: tuple[int, int], em: int) -> None:
    """A disc with an exclamation mark: a note is told by its shape, not only by its colour."""
    x, y = corner
    draw.ellipse((x, y, x + 1.4 * em, y + 1.4 * em), _WARNING)
    draw.text((x + 0.7 * em, y + 0.7 * em), "!", _GROUND, _font(em * 5 // 4), anchor="mm")


def _cell(label: str, picture: Image.Image, shrink: float, width: int) -> Image.Image:
    """A picture below its label, as wide as its column."""
    size = _em(width) * 5 // 4
    lines = _wrapped(label, size, width, most=2)
    top = size + _leading(size) * len(lines)
    shown = picture.convert("RGB")
    if shrink < 1:
        smaller = (max(1, round(shown.width * shrink)), max(1, round(shown.height * shrink)))
        shown = shown.resize(smaller, Image.Resampling.LANCZOS)
    cell = Image.new("RGB", (width, top + shown.height), _GROUND)
    _write(ImageDraw.Draw(cell), lines, (0, size), size, _TEXT)
    cell.paste(shown, ((width - shown.width) // 2, top))
    return cell


def _stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """The pictures below each other, in the middle."""
    width = max(picture.width for picture in pictures)
    stack = Image.new("RGB", (width, sum(picture.height for picture in pictures)), _GROUND)
    y = 0
    for picture in pictures:
        stack.paste(picture, ((width - picture.width) // 2, y))
        y += picture.height
    return stack


def _em(width: int) -> int:
    """The size of small print, in pixels, on a picture of some width."""
    return max(12, width // 54)


def _leading(size: int) -> int:
    return size * 3 // 2


def _write(
    draw: ImageDraw.ImageDraw, lines: list[str], corner: tuple[int, int], size: int, fill: str
) -> int:
    """Draw lines below each other; where the next would begin."""
    x, y = corner
    for line in lines:
        draw.text((x, y), line, fill, _font(size))
        y += _leading(size)
    return y


def _wrapped(text: str, size: int, width: int, most: int) -> list[str]:
    """The text in at most `most` lines of some width, in characters that can be drawn.

    Words break where they are too long, and what is too much becomes an ellipsis.
    """
    font, rest = _font(size), _drawable(text)
    lines: list[str] = []
    while rest and len(lines) < most:
        lengths = range(1, len(rest) + 1)
        end = bisect.bisect(lengths, width, key=lambda length: font.getlength(rest[:length]))
        if end < len(rest):
            end = max(rest.rfind(" ", 0, end + 1), 0) or max(end, 1)
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    if rest:
        while lines[-1] and font.getlength(lines[-1] + "…") > width:
            lines[-1] = lines[-1][:-1]
        lines[-1] = lines[-1].rstrip() + "…"
    return lines


def _drawable(text: str) -> str:
    """One line, spelled with what Pillow's font has; what it lacks altogether shows as a box."""
    plain = unicodedata.normalize("NFKD", text[:_LONGEST_TEXT].translate(_SPELLED_OUT))
    characters = (" " if c.isspace() else c for c in plain if not unicodedata.combining(c))
    return "".join(c for c in characters if c.isprintable()).strip()


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
