"""A page's pictures as JSON that is safe inside a `<script>` element."""

from __future__ import annotations

import base64
import functools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from scorecam.page.content import Channel, FindingCard, Grid8, Page, Picture, Shown
from scorecam.page.thumbnails import thumbnail

THUMBNAIL, SINGLE = 112, 512
"""The long side of a picture in pixels: in a gallery, and on a page with one picture."""

MAX_CELLS = 12_000_000
"""Cells of all maps, a byte each; with more, a page of 2,000 pictures would exceed 30 MB."""

COARSE = 16
"""Rows and columns of the maps on a page that would have too many cells."""

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
"""Characters that could end the element or begin a comment. `json.dumps` escapes non-ASCII ones."""


def views(pictures: Iterable[Picture]) -> list[str]:
    """The names of all views, in order of first occurrence."""
    names = (view for picture in pictures for shown in picture.classes for view in shown.maps)
    return list(dict.fromkeys(names))


def has_too_many_cells(page: Page) -> bool:
    """Whether maps of more than 16 × 16 cells must be averaged to that size."""
    maps = [grid for picture in page.pictures for grid in _grids(picture)]
    fine = any(max(grid.shape) > COARSE for grid in maps)
    return fine and sum(grid.size for grid in maps) > MAX_CELLS


def _grids(picture: Picture) -> Iterable[Grid8]:
    for shown in picture.classes:
        yield from shown.maps.values()
    if picture.contrast is not None:
        yield picture.contrast[1]
    for channel in picture.channels:
        yield channel.grid


def encoded(page: Page, *, coarse: bool) -> str:
    """The data of the page's script, as JSON.

    Args:
        page: the page.
        coarse: whether maps of more than 16 × 16 cells are averaged to that size.

    Raises:
        PhotoError: a picture cannot be decoded.
    """
    names = views(page.pictures)
    side = SINGLE if len(page.pictures) == 1 else THUMBNAIL
    places = {picture.id: place for place, picture in enumerate(page.pictures)}
    grid = _coarse if coarse else _grid
    content = {
        "views": names,
        "pictures": [_picture(picture, names, side, grid) for picture in page.pictures],
        "findings": [_finding(finding, places) for finding in page.findings],
        "columns": page.columns,
        "sides": any(picture.sides for picture in page.pictures),
    }
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def examples_on_page(finding: FindingCard, page: Page) -> int:
    """The number of a finding's examples that are on the page."""
    return len({picture.id for picture in page.pictures}.intersection(finding.pictures))


def _finding(finding: FindingCard, places: dict[str, int]) -> dict[str, Any]:
    unique = dict.fromkeys(finding.pictures)
    return {
        "name": finding.rule,
        "role": finding.role,
        "places": [places[id_] for id_ in unique if id_ in places],
    }


def _picture(
    picture: Picture, names: Sequence[str], side: int, grid: Callable[[Grid8], str]
) -> dict[str, Any]:
    jpeg, size = None, None
    if picture.jpeg is not None:
        jpeg, size = thumbnail(picture.jpeg, side, picture.name)
    contrast = picture.contrast
    return {
        "name": picture.name,
        "jpeg": jpeg,
        "size": size,
        "classes": [_shown(shown, names, grid) for shown in picture.classes],
        "contrast": None if contrast is None else {"name": contrast[0], "map": grid(contrast[1])},
        "facts": {name: _number(value) for name, value in picture.facts.items()},
        "tags": list(dict.fromkeys(picture.tags)),
        "words": list(picture.words),
        "channels": [_channel(channel, grid) for channel in picture.channels],
        "sides": [picture.sides.get(name) for name in names] if picture.sides else None,
    }


def _shown(shown: Shown, names: Sequence[str], grid: Callable[[Grid8], str]) -> dict[str, Any]:
    return {
        "name": shown.name,
        "probability": _number(shown.probability),
        "value": shown.value,
        "outline": None if shown.outline is None else asdict(shown.outline),
        "roles": [role.strip() for role in shown.role.split(",") if role.strip()],
        "maps": [grid(shown.maps[name]) if name in shown.maps else None for name in names],
    }


def _channel(channel: Channel, grid: Callable[[Grid8], str]) -> dict[str, Any]:
    return {"name": channel.name, "share": _number(channel.share), "map": grid(channel.grid)}


def _grid(grid: Grid8) -> str:
    """`ROWSxCOLUMNS,CELLS`: the cells row by row, one byte each, in base64."""
    rows, columns = grid.shape
    return f"{rows}x{columns},{base64.b64encode(grid.tobytes()).decode()}"


def _coarse(grid: Grid8) -> str:
    """The same, averaged to at most 16 × 16 cells, with the same largest value."""
    rows, columns = (_averaging(cells, min(cells, COARSE)) for cells in grid.shape)
    mean = rows @ grid @ columns.T
    top = float(mean.max())
    scaled = mean * (float(grid.max()) / top) if top > 0 else mean
    return _grid(np.round(scaled).astype(np.uint8))


@functools.cache
def _averaging(cells: int, fewer: int) -> npt.NDArray[np.float64]:
    """`fewer × cells`: the weight of each cell in each larger cell along an axis."""
    edges = np.linspace(0, cells, fewer + 1)[:, None]
    first = np.arange(cells)
    inside = np.minimum(edges[1:], first + 1) - np.maximum(edges[:-1], first)
    return np.maximum(inside, 0) * fewer / cells


def _number(value: float | None) -> float | None:
    """The value rounded to six digits; None if it is undefined."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
