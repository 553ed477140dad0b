"""Pictures of explanations: one map, several maps side by side, and pairs of photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isqrt

import torch
from PIL import Image
from torch import Tensor

from scorecam import cam
from scorecam.base.wording import excerpt
from scorecam.explanation.explained import Explained
from scorecam.explanation.words import words_for
from scorecam.images import overlay, pictures
from scorecam.images.legend import Legend, draw_legend
from scorecam.images.pictures import Spacing
from scorecam.shapes import Heatmap

_SMALLEST_CELL, _LARGEST_CELL = 96, 640
"""The fewest and the most pixels of the long side of a picture among many."""

_WIDTH, _AREA = 2560, 2**24
"""Pixels of a row of many pictures, and of all of them."""


def one_map(explanation: Explained, spacing: Spacing = None) -> Image.Image:
    """The map on the photo or the input, with a legend."""
    legend = legend_of(explanation)
    return _drawn(explanation, explanation.scaled, legend, spacing=spacing)


def methods(explanation: Explained, maps: Mapping[str, Heatmap], columns: int) -> Image.Image:
    """The photo without a map, and with the maps of several methods."""
    nothing = torch.zeros_like(explanation.scaled)
    cells = [(explanation.target.title, _drawn(explanation, nothing))]
    for name, heatmap in maps.items():
        cells.append((str(name), _drawn(explanation, cam.scaled(heatmap))))
    return overlay.side_by_side(cells, columns)


def targets(shown: Sequence[Explained], columns: int, left_out: str = "") -> Image.Image:
    """The maps of several targets of one image, side by side, with one legend.

    Args:
        shown: at least one.
        columns: pictures per row.
        left_out: a sentence about targets that are not shown.
    """
    columns = min(columns, len(shown))
    side = max(_SMALLEST_CELL, min(_LARGEST_CELL, _WIDTH // columns, isqrt(_AREA // len(shown))))
    grid = overlay.side_by_side(
        [(_short_title(each), _small(each, side)) for each in shown], columns
    )
    words = words_for(shown[0].provenance.task)
    text = f"“{shown[0].bank.target(0).label}”" if words.in_order else ""
    outlined = any(each.region is not None for each in shown)
    outline = "Boxes and regions are outlined in blue." if outlined else ""
    legend = replace(
        legend_of(max(shown, key=lambda each: each.error)),
        title=f"{len(shown)} {words.many if len(shown) > 1 else words.one}",
        outline=text,
        caption=" ".join(filter(None, (left_out, outline, _OWN_SCALE))),
        low=0.0,
        high=1.0,
        notes=(),
    )
    return overlay.stack([grid, draw_legend(legend, grid.width)])


def _short_title(explanation: Explained) -> str:
    """A title that fits above a small picture."""
    target = explanation.target
    return f"{excerpt(target.label, 30)} {target.value}"


def pair(one: Explained, other: Explained) -> Image.Image:
    """Two explanations side by side, with one legend."""
    both = (one, other)
    labels = other.target.label, one.target.label  # each photo is the reference of the other
    cells = [
        (excerpt(label, 60), _drawn(each, each.scaled))
        for label, each in zip(labels, both, strict=True)
    ]
    grid = overlay.side_by_side(cells, 2)
    score = words_for(one.provenance.task).score
    values = list(dict.fromkeys(each.target.value for each in both))
    notes = dict.fromkeys(note.sentence for each in both for note in each.health)
    legend = replace(
        legend_of(one),
        title=f"{score} {' and '.join(values)}",
        caption=_OWN_SCALE,
        low=0.0,
        high=1.0,
        notes=tuple(notes),
    )
    return overlay.stack([grid, draw_legend(legend, grid.width)])


_OWN_SCALE = "Each map is scaled to its own minimum and maximum."


def legend_of(explanation: Explained) -> Legend:
    """The legend of one map."""
    low, high = explanation.heatmap.aminmax()
    variant, bank = explanation.variant.name, explanation.bank
    budget = ""
    if not bank.exact:
        masks = f"{len(bank.asked)} of {len(bank.live)} masks"
        budget = f"; {masks}, error at most about {explanation.error:.2f}"
    return Legend(
        title=explanation.target.title,
        low=float(low),
        high=float(high),
        layer=explanation.layer,
        method=f"Score-CAM {variant}: {explanation.formula}{budget}",
        notes=tuple(note.sentence for note in explanation.health),
        outline=_outline(explanation),
    )


def _outline(explanation: Explained) -> str:
    if explanation.region is None:
        return ""
    kind = "region" if isinstance(explanation.region, Tensor) else "box"
    return f"The {kind} is outlined in blue."


def _drawn(
    explanation: Explained,
    scaled: Heatmap,
    legend: Legend | None = None,
    *,
    spacing: Spacing = None,
    longest: int = overlay.LONGEST,
) -> Image.Image:
    photo, preprocess, region = explanation.photo, explanation.preprocess, explanation.region
    if photo is not None and preprocess is not None and spacing is None:
        return pictures.photo_picture(
            photo, preprocess, scaled, legend, region=region, longest=longest
        )
    if spacing is None and len(explanation.bank.size) == 3:
        spacing = explanation.spacing
    return pictures.input_picture(
        explanation.image,
        scaled,
        legend,
        view=explanation.bank.picture(),
        spacing=spacing,
        region=region,
        longest=longest,
    )


def _small(explanation: Explained, side: int) -> Image.Image:
    """The map at the size of one picture among many; neither side is longer than `side`."""
    picture = _drawn(explanation, explanation.scaled, longest=_LARGEST_CELL)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture
