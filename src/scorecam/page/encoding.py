"""A page's pictures as one JSON text that is safe inside a `<script>` element."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from PIL import Image

from scorecam.errors import PhotoError
from scorecam.page.content import Channel, Finding, Grid8, Page, Picture, Shown

THUMBNAIL, ALONE = 112, 512
"""The long side of a picture, in pixels: among others, and alone on its page."""

_QUALITY = 70
_HEAVIEST = 8 * 1024  # a thumbnail of more bytes is compressed anew

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
"""What could end the element or begin a comment. U+2028 and 2029 are escaped with all non-ASCII."""


def views(pictures: Iterable[Picture]) -> list[str]:
    """The names of all views, in the order in which they first occur."""
    names = (view for each in pictures for shown in each.classes for view in shown.maps)
    return list(dict.fromkeys(names))


def encoded(page: Page) -> str:
    """What the page's script reads, as JSON.

    Raises:
        PhotoError: a picture cannot be decoded.
    """
    names = views(page.pictures)
    side = ALONE if len(page.pictures) == 1 else THUMBNAIL
    places = {picture.id: place for place, picture in enumerate(page.pictures)}
    content = {
        "views": names,
        "pictures": [_picture(picture, names, side) for picture in page.pictures],
        "findings": [_finding(finding, places) for finding in page.findings],
    }
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text


def here(finding: Finding, page: Page) -> int:
    """How many of a finding's pictures are on the page."""
    return len({picture.id for picture in page.pictures}.intersection(finding.pictures))


def _finding(finding: Finding, places: dict[str, int]) -> dict[str, Any]:
    there = dict.fromkeys(finding.pictures)
    return {"name": finding.rule, "places": [places[id_] for id_ in there if id_ in places]}


def _picture(picture: Picture, names: Sequence[str], side: int) -> dict[str, Any]:
    jpeg, size = _thumbnail(picture, side)
    contrast = picture.contrast
    return {
        "name": picture.name,
        "jpeg": jpeg,
        "size": size,
        "classes": [_shown(shown, names) for shown in picture.classes],
        "contrast": None if contrast is None else {"name": contrast[0], "map": _grid(contrast[1])},
        "facts": {name: _number(value) for name, value in picture.facts.items()},
        "tags": list(dict.fromkeys(picture.tags)),
        "words": list(picture.words),
        "channels": [_channel(channel) for channel in picture.channels],
    }


def _shown(shown: Shown, names: Sequence[str]) -> dict[str, Any]:
    return {
        "name": shown.name,
        "probability": _number(shown.probability),
        "roles": [role.strip() for role in shown.role.split(",") if role.strip()],
        "maps": [_grid(shown.maps[name]) if name in shown.maps else None for name in names],
    }


def _channel(channel: Channel) -> dict[str, Any]:
    return {"name": channel.name, "share": _number(channel.share), "map": _grid(channel.grid)}


def _grid(grid: Grid8) -> str:
    """`ROWSxCOLUMNS,CELLS`, the cells row by row, a byte each, in base64."""
    rows, columns = grid.shape
    return f"{rows}x{columns},{base64.b64encode(grid.tobytes()).decode()}"


def _number(value: float | None) -> float | None:
    """Six digits; None where it is undefined."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _thumbnail(picture: Picture, side: int) -> tuple[str | None, tuple[int, int] | None]:
    """A JPEG of at most `side` pixels a side in base64, and its (width, height)."""
    if picture.jpeg is None:
        return None, None
    try:
        with Image.open(io.BytesIO(picture.jpeg)) as image:
            small = max(image.size) <= side and len(picture.jpeg) <= _HEAVIEST
            if small and image.format == "JPEG" and image.mode == "RGB":
                image.load()
                return base64.b64encode(picture.jpeg).decode(), image.size
            drawn = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PhotoError(
            f"The picture of {picture.name} cannot be decoded: {error}.",
            likely="Its bytes are cut short, or are not a picture.",
            do="Give a JPEG, or None for a grey tile.",
        ) from error
    drawn.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    drawn.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return base64.b64encode(file.getvalue()).decode(), drawn.size
