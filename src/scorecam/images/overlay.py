"""Pictures of heatmaps: on the photo, with a legend, and side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from torch import Tensor

from scorecam.errors import SettingError
from scorecam.images.blending import blended, greys
from scorecam.images.geometry import Box
from scorecam.images.legend import Legend, draw_legend
from scorecam.images.lettering import BACKGROUND, TEXT, em_size, line_height, wrap, write
from scorecam.images.region import PixelMask, Region, draw_outline, region_mask, resized_mask

_SHORTEST: Final = 480
LONGEST: Final = 1600
"""The fewest and the most pixels of a picture's long side."""

_NARROWEST: Final = 480
"""Pixels; a narrower legend is hard to read."""

_WIDEST_GRID: Final = 3200
"""The most pixels of a row of pictures."""

_NARROWEST_CELL: Final = 240
"""Pixels; a shorter label is hard to read."""

_OUTSIDE: Final = 0.38
"""Brightness of the photo outside the crop."""


def overlay(
    photo: Image.Image,
    heatmap: Annotated[Tensor, "H W"],
    crop: Box,
    legend: Legend | None,
    *,
    region: Region | None = None,
    longest: int = LONGEST,
) -> Image.Image:
    """The heatmap on the photo, with a legend below unless it is None, as an RGB picture.

    The photo keeps its shape. It is resized only to bring its long side into 480 to `longest`
    pixels, and centred if the legend is wider. Where the heatmap is low, the photo appears in muted
    colours. The crop is outlined unless it is the whole photo; everything outside it is dark grey.

    Args:
        photo: RGB, of any size.
        heatmap: (H, W) of the photo, scaled to [0, 1]; drawn inside the crop only.
        crop: (left, top, right, bottom) of what the model saw, in pixels of the photo.
        legend: the texts to write.
        region: what to outline: a box in pixels of the photo, or a mask of them.
        longest: the most pixels of the long side.

    Raises:
        SettingError: the heatmap and the photo differ in size, or the crop exceeds the photo.
    """
    width, height = photo.size
    left, top, right, bottom = crop
    if tuple(heatmap.shape) != (height, width):
        raise SettingError(
            f"The heatmap has the size {tuple(heatmap.shape)}, and the photo {(height, width)}.",
            do="Map it to the photo first, with Preprocess.to_photo.",
        )
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise SettingError(
            f"The crop {crop} exceeds the photo, which has {width} × {height} pixels."
        )
    scale = min(max(_SHORTEST, *photo.size), longest) / max(photo.size)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    rgb = (
        photo if photo.mode == "RGB" else photo.convert("RGB")
    )  # convert() would copy a large photo
    drawn = _drawn(rgb.resize(size, Image.Resampling.LANCZOS), heatmap, crop)
    if region is not None:
        draw_outline(drawn, _region_pixels(region, photo.size, size))
    if legend is None:
        return drawn
    return stack([drawn, draw_legend(legend, max(size[0], size[1] * 2 // 5, _NARROWEST))])


def side_by_side(pictures: Sequence[tuple[str, Image.Image]], columns: int) -> Image.Image:
    """Labelled pictures in rows of `columns`, as an RGB picture.

    The pictures keep their size, unless a row would be wider than 3200 pixels.

    Raises:
        SettingError: there are no pictures, or no columns.
    """
    if columns < 1 or not pictures:
        raise SettingError(f"{len(pictures)} pictures cannot be shown in {columns} columns.")
    columns = min(columns, len(pictures))
    widest = max(picture.width for _, picture in pictures)
    shrink = min(1.0, _WIDEST_GRID / (columns * widest))
    width = max(round(widest * shrink), min(_NARROWEST_CELL, _WIDEST_GRID // columns), 1)
    letters = max(em_size(width) * 5 // 4, em_size(columns * width) * 2 // 3)
    gap = em_size(width)
    rows: list[Image.Image] = []
    for start in range(0, len(pictures), columns):
        some = pictures[start : start + columns]
        labels = [wrap(label, letters, width, most=2) for label, _ in some]
        labels = [lines + [""] * (max(map(len, labels)) - len(lines)) for lines in labels]
        drawn = [_shrunk(picture, shrink) for _, picture in some]
        chosen = [_cell(*each, letters, width) for each in zip(labels, drawn, strict=True)]
        size = (columns * (width + gap) + gap, max(cell.height for cell in chosen) + gap)
        row = Image.new("RGB", size, BACKGROUND)
        for index, cell in enumerate(chosen):
            row.paste(cell, (gap + index * (width + gap), 0))
        rows.append(row)
    return stack(rows)


# ── the photo and its map ────────────────────────────────────────────────────────────────────


def _drawn(photo: Image.Image, heatmap: Tensor, crop: Box) -> Image.Image:
    """The photo, already resized, with the heatmap and the outline of the crop."""
    left, right = _ends(crop[0], crop[2], heatmap.shape[1], photo.width)
    top, bottom = _ends(crop[1], crop[3], heatmap.shape[0], photo.height)
    inside = np.s_[top:bottom, left:right]
    rgb = np.asarray(photo, np.float32)
    values = _resampled(heatmap, crop, (right - left, bottom - top))
    pixels = np.repeat(_OUTSIDE * greys(rgb), 3, axis=2)
    pixels[inside] = blended(rgb[inside], values)
    picture = Image.fromarray(pixels.round().astype(np.uint8))
    line = min(max(2, em_size(min(photo.size)) // 5), (right - left) // 8, (bottom - top) // 8)
    if line and (right - left, bottom - top) != photo.size:
        ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), None, TEXT, line)
    return picture


def _ends(start: float, stop: float, length: int, drawn: int) -> tuple[int, int]:
    """A span of an axis in pixels of the picture; at least one pixel long."""
    first = min(round(start * drawn / length), drawn - 1)
    return first, max(first + 1, round(stop * drawn / length))


def _resampled(heatmap: Tensor, crop: Box, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """The part of the heatmap inside the crop, resized to (width, height).

    It is cut out before it is resized, so that values outside the crop do not bleed into it.
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


def _region_pixels(region: Region, photo: tuple[int, int], size: tuple[int, int]) -> PixelMask:
    """The pixels of the drawn photo that a region covers; sizes are (width, height)."""
    if isinstance(region, Tensor):
        return resized_mask(region, size)
    across, down = size[0] / photo[0], size[1] / photo[1]
    x1, y1, x2, y2 = region
    box = tuple(map(float, map(round, (x1 * across, y1 * down, x2 * across, y2 * down))))
    return region_mask(box, size[::-1]).numpy()


# ── layout ───────────────────────────────────────────────────────────────────────────────────


def _cell(label: list[str], picture: Image.Image, letters: int, width: int) -> Image.Image:
    """A picture with its label above, as wide as its column."""
    top = letters + line_height(letters) * len(label)
    cell = Image.new("RGB", (width, top + picture.height), BACKGROUND)
    write(ImageDraw.Draw(cell), label, (0, letters), size=letters, fill=TEXT)
    cell.paste(picture, ((width - picture.width) // 2, top))
    return cell


def _shrunk(picture: Image.Image, shrink: float) -> Image.Image:
    shown = picture.convert("RGB")
    if shrink == 1:
        return shown
    smaller = (max(1, round(shown.width * shrink)), max(1, round(shown.height * shrink)))
    return shown.resize(smaller, Image.Resampling.LANCZOS)


def stack(pictures: Sequence[Image.Image]) -> Image.Image:
    """The pictures one below the other, centred."""
    width = max(picture.width for picture in pictures)
    stack = Image.new("RGB", (width, sum(picture.height for picture in pictures)), BACKGROUND)
    y = 0
    for picture in pictures:
        stack.paste(picture, ((width - picture.width) // 2, y))
        y += picture.height
    return stack
