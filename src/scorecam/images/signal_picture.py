"""A picture of a signal with its heatmap below."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from scorecam.images.blending import GREY, blended, finite_range, stretched
from scorecam.images.colours import colour
from scorecam.images.curves import Plot
from scorecam.images.legend import Legend, draw_legend
from scorecam.images.lettering import BACKGROUND, em_size
from scorecam.images.overlay import stack
from scorecam.images.region import draw_outline

_WIDTH: Final = 1200

MOST_CHANNELS: Final = 6
"""The most channels that are drawn; the first ones."""

_LINE: Final = np.array([184, 184, 196], np.float32)
"""The colour of the signal where the heatmap is 0."""


def signal_picture(
    image: Annotated[Tensor, "c l"] | None,
    heatmap: Annotated[Tensor, "l"],
    legend: Legend | None,
    rate: float | None = None,
    mask: Annotated[Tensor, "l"] | None = None,
) -> Image.Image:
    """The first 6 channels as lines, and the heatmap below as a strip of colours and a curve.

    A line takes the colour of the heatmap where that is high. Each channel has a scale of its own,
    from its minimum to its maximum. Of long signals, every column of pixels shows the minimum and
    the maximum of its samples.

    Args:
        image: the signal; None if its values are not known.
        heatmap: scaled to [0, 1].
        legend: the texts to write below; None for none.
        rate: samples per second, for an axis in seconds; None for an axis in samples.
        mask: the samples to outline, bool.
    """
    values = heatmap.detach().float().nan_to_num().clamp(0, 1).cpu().numpy()
    em = em_size(_WIDTH)
    plot = Plot(_WIDTH, em, len(values))
    if rate is not None:
        plot = replace(plot, unit=1 / rate, name="seconds")
    gap = Image.new("RGB", (_WIDTH, em // 2), BACKGROUND)
    rows = [gap]
    for row in _unknown(plot, values) if image is None else _channels(plot, image, values):
        if mask is not None:
            _outline(plot, row, mask)
        rows += [row, gap]
    curve = plot.row(5 * em)
    plot.curve(curve, values, np.full(3, 255, np.float32), fill=True)
    plot.label(curve, "map", "0", "1")
    rows += [plot.strip(values, em), curve, plot.axis()]
    if legend is not None:
        rows.append(draw_legend(replace(legend, caption=_caption(image)), _WIDTH))
    return stack(rows)


def _channels(plot: Plot, image: Tensor, values: npt.NDArray[Any]) -> list[Image.Image]:
    """A row for each channel that is drawn."""
    strength = plot.highest(values)
    colours = _LINE + strength[:, None] * (colour(strength) - _LINE)
    shown = image[:MOST_CHANNELS].detach().float().cpu().numpy()
    height = min(max(480 // len(shown), 4 * plot.em), 220)
    rows: list[Image.Image] = []
    for channel, signal in enumerate(shown):
        low, high = finite_range(signal)
        row = plot.row(height)
        scaled = np.where(np.isfinite(signal), stretched(signal, low, high) / 255, np.nan)
        plot.curve(row, scaled, colours, fill=False)
        name = "signal" if len(image) == 1 else f"channel {channel}"
        plot.label(row, name, f"{low:.3g}", f"{high:.3g}" if low < high else "")
        rows.append(row)
    return rows


def _outline(plot: Plot, row: Image.Image, mask: Tensor) -> None:
    """Outline samples over the height of a row."""
    pixels = np.zeros((row.height, row.width), np.bool_)
    touched = plot.highest(mask.cpu().numpy().astype(np.float64)) > 0.5
    pixels[:, plot.left : plot.left + plot.columns] = touched
    draw_outline(row, pixels)


def _unknown(plot: Plot, values: npt.NDArray[Any]) -> list[Image.Image]:
    """The heatmap on grey."""
    row = Image.new("RGB", (plot.width, 6 * plot.em), BACKGROUND)
    shown = plot.highest(values).astype(np.float32)[None].repeat(row.height, axis=0)
    grey = np.full((*shown.shape, 3), GREY, np.float32)
    row.paste(Image.fromarray(blended(grey, shown).round().astype(np.uint8)), (plot.left, 0))
    return [row]


def _caption(image: Tensor | None) -> str:
    if image is None:
        return "The values of the input are not known."
    text = "Each channel has its own scale, for display only."
    if len(image) == 1:
        text = "The signal is stretched from its minimum to its maximum, for display only."
    if len(image) <= MOST_CHANNELS:
        return text
    return f"{MOST_CHANNELS} of {len(image):,} channels are shown, 0 to {MOST_CHANNELS - 1}. {text}"
