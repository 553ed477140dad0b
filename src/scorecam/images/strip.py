"""A picture of a video with its heatmap: a strip of frames, and a curve over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Final

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from scorecam.images.blending import blended, finite_range, stretched
from scorecam.images.curves import Plot
from scorecam.images.legend import Legend, draw_legend
from scorecam.images.lettering import BACKGROUND, TEXT, em_size, font
from scorecam.images.overlay import stack
from scorecam.images.region import draw_outline, resized_mask
from scorecam.images.volume_picture import CROSS, highest

MOST_FRAMES: Final = 8

_WIDTH, _HIGHEST = 1600, 480
"""Pixels: of the strip, and of the highest frame."""

_LINE: Final = "#5a5a6a"
"""The colour of the lines from the frames to their places on the axis."""


def strip(
    image: Annotated[Tensor, "3 t h w"],
    heatmap: Annotated[Tensor, "t h w"],
    legend: Legend | None,
    *,
    mask: Annotated[Tensor, "t h w"] | None = None,
) -> Image.Image:
    """Up to 8 frames with the heatmap, and the sum of the heatmap in each frame as a curve below.

    The frame with the heatmap's maximum is always shown, and outlined.

    Args:
        image: the video.
        heatmap: scaled to [0, 1].
        legend: the texts to write below; None for none.
        mask: the pixels to outline, bool.
    """
    values = heatmap.detach().float().nan_to_num().clamp(0, 1).cpu()
    best = highest(values)[0] if values.max() > values.min() else None
    frames = chosen_frames(len(values), best)
    em = em_size(_WIDTH)
    plot = Plot(_WIDTH, em * 4 // 5, len(values), name="frame")
    sums = values.sum(dim=(1, 2)).double().numpy()
    curve = plot.row(5 * em)
    scaled = sums / sums.max() if sums.max() > 0 else sums
    plot.curve(curve, scaled, np.full(3, 255, np.float32), fill=True)
    plot.label(curve, "map", "0", "1")
    shown = _frames(plot, image, values, frames)
    for frame, picture in zip(frames, shown, strict=True):
        if mask is not None:
            draw_outline(picture, resized_mask(mask[frame], picture.size))
    rows = [_labelled(plot, shown, frames, best), curve, plot.axis()]
    if legend is not None:
        rows.append(draw_legend(replace(legend, caption=_caption(values, frames)), _WIDTH))
    return stack(rows)


def chosen_frames(count: int, best: int | None) -> list[int]:
    """Up to 8 frames at equal distances; the one nearest to `best` is replaced by it."""
    frames = np.unique(np.linspace(0, count - 1, min(count, MOST_FRAMES)).round().astype(int))
    if best is not None:
        frames[np.abs(frames - best).argmin()] = best
    return frames.tolist()


def _frames(plot: Plot, image: Tensor, heatmap: Tensor, frames: Sequence[int]) -> list[Image.Image]:
    """The frames with their heatmaps, of one size."""
    low, high = finite_range(image.detach().float().cpu().numpy())
    gap = plot.em // 3
    rows, columns = heatmap.shape[1:]
    width = (plot.columns + gap) // max(len(frames), 4) - gap
    scale = min(width / columns, _HIGHEST / rows)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    pictures: list[Image.Image] = []
    for frame in frames:
        own = image[:, frame].detach().float().cpu().numpy().transpose(1, 2, 0)
        picture = Image.fromarray(stretched(own, low, high).round().astype(np.uint8))
        pixels = np.asarray(picture.resize(size, Image.Resampling.LANCZOS), np.float32)
        mask = Image.fromarray(heatmap[frame].numpy()).resize(size, Image.Resampling.BILINEAR)
        drawn = blended(pixels, np.asarray(mask).clip(0, 1)).round()
        pictures.append(Image.fromarray(drawn.astype(np.uint8)))
    return pictures


def _labelled(
    plot: Plot, pictures: Sequence[Image.Image], frames: Sequence[int], best: int | None
) -> Image.Image:
    """The frames from left to right, their numbers, and lines to their places on the axis."""
    em, height = plot.em, pictures[0].height
    row = Image.new("RGB", (plot.width, em + height + 4 * em), BACKGROUND)
    draw = ImageDraw.Draw(row)
    pitch = plot.columns / len(frames)
    for index, (frame, picture) in enumerate(zip(frames, pictures, strict=True)):
        middle = plot.left + round((index + 0.5) * pitch)
        left, bottom = middle - picture.width // 2, em + height
        row.paste(picture, (left, em))
        if frame == best:
            draw.rectangle((left - 2, em - 2, left + picture.width + 1, bottom + 1), None, CROSS, 2)
        text, line = (CROSS, CROSS) if frame == best else (TEXT, _LINE)
        draw.text((middle, bottom + em // 3), str(frame), text, font(em), anchor="ma")
        draw.line((middle, bottom + 2 * em, plot.x(frame), row.height - 1), line, 2)
    draw.text((plot.left - em // 2, em + height // 2), "frames", TEXT, font(em), anchor="rm")
    return row


def _caption(heatmap: Tensor, frames: Sequence[int]) -> str:
    text = "Frames are counted from 0."
    if len(frames) < len(heatmap):
        text = f"{len(frames)} of {len(heatmap):,} frames are shown, counted from 0."
    if heatmap.max() > heatmap.min():
        text += " The outlined frame has the maximum of the map."
    return (
        f"{text} The curve is the sum of the map in each frame, divided by the largest sum. "
        "Colours are stretched from the minimum to the maximum of the video, for display only."
    )
