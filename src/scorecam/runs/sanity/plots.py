"""The figures of a sanity check: similarity by stage, and the maps of single photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scorecam.cam import scaled
from scorecam.runs.figures import (
    MOST_METHODS,
    colour,
    legend_at_right,
    line,
    new_figure,
    plain,
    save,
    short,
)
from scorecam.runs.layout import Layout
from scorecam.runs.tables import CHANCE, Point

STRIP = 10
"""The most maps in a row: the first, the last, and others evenly spaced in between."""


def draw_sanity(layout: Layout, points: Sequence[Point]) -> None:
    """Draw the similarity to the trained network's maps by stage, a panel per mode and measure.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    chance = {(p.method, p.measure): p.found.mean for p in points if p.mode == CHANCE}
    points = [point for point in points if point.mode != CHANCE]
    modes = list(dict.fromkeys(point.mode for point in points))
    measures = list(dict.fromkeys(point.measure for point in points))
    figure = new_figure(4.6 * len(measures) + 1.6, 3.6 * len(modes))
    panels = figure.subplots(len(modes), len(measures), squeeze=False)
    methods = list(dict.fromkeys(point.method for point in points))[:MOST_METHODS]
    for row, mode in zip(panels, modes, strict=True):
        stages = list(dict.fromkeys(point.stage for point in points if point.mode == mode))
        for axes, measure in zip(row, measures, strict=True):
            for number, method in enumerate(methods):
                own = [
                    p for p in points if (p.method, p.mode, p.measure) == (method, mode, measure)
                ]
                _draw_method(axes, own, stages, {"label": short(method), **line(number)})
                if (method, measure) in chance:
                    level = chance[method, measure]
                    axes.axhline(level, color=colour(number), linewidth=1, linestyle=(0, (1, 3)))
            axes.axhline(0, color="#888888", linewidth=0.8)
            axes.set_ylim(-0.3, 1.05)
            axes.set_title(plain(f"{mode}: {measure}"), fontsize=10)
            axes.grid(alpha=0.25)
            labels = [short(stage) for stage in stages]
            axes.set_xticks(range(len(stages)), labels, rotation=90, fontsize=7)
    legend_at_right(figure)
    figure.suptitle(
        "Similarity to the trained network's maps (mean, 95 % interval); "
        "dotted: between its maps of different photos",
        fontsize=11,
    )
    save(figure, layout.curves)


def _draw_method(
    axes: Any, points: Sequence[Point], stages: Sequence[str], style: dict[str, Any]
) -> None:
    """The means of one method, with their intervals."""
    places = [stages.index(point.stage) for point in points]
    mean, low, high = (
        np.array([getattr(point.found, name) for point in points])
        for name in ("mean", "low", "high")
    )
    axes.plot(places, mean, marker=".", **style)
    axes.fill_between(places, low, high, color=style["color"], alpha=0.15)


def draw_strips(
    path: Path, photo: Any, titles: Sequence[str], strips: Mapping[str, Sequence[Any]]
) -> None:
    """Draw the maps of one photo by every method, network after network (the paper's Figure 9).

    Args:
        photo: `h w 3` uint8.
        titles: of the networks.
        strips: by method, a map `u v` per title; None for a map that was not kept.

    Raises:
        MissingExtra: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    places = sorted({round(i) for i in np.linspace(0, len(titles) - 1, STRIP)})
    high, wide = photo.shape[:2]
    figure = new_figure(1.15 * (len(places) + 1), 1.3 * len(strips) + 0.9)
    panels = figure.subplots(len(strips), len(places) + 1, squeeze=False)
    for row, (method, maps) in zip(panels, strips.items(), strict=True):
        row[0].imshow(photo)
        row[0].set_ylabel(short(method), fontsize=8)
        for axes, place in zip(row[1:], places, strict=True):
            axes.imshow(photo.mean(axis=2), cmap="gray", extent=(0, wide, high, 0))
            if maps[place] is not None:
                heat = scaled(torch.as_tensor(maps[place])).numpy()
                axes.imshow(
                    heat, cmap="inferno", alpha=0.7, vmin=0, vmax=1,
                    extent=(0, wide, high, 0), interpolation="bilinear",
                )  # fmt: skip
    for axes, place in zip(panels[0][1:], places, strict=True):
        axes.set_title(plain(str(titles[place])), fontsize=7, wrap=True)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
    figure.suptitle("Maps as weights are re-initialised, last layer first")
    save(figure, path)
