"""A self-contained HTML page of pictures with heatmaps, made from plain data."""

from scorecam.page.content import (
    Channel,
    Drawing,
    FindingCard,
    Grid8,
    Page,
    Picture,
    Shown,
    Table,
    grid8,
)
from scorecam.page.document import html, write
from scorecam.page.outline import Outline, box_outline, mask_outline
from scorecam.page.thumbnails import decodable

__all__ = [
    "box_outline",
    "Channel",
    "decodable",
    "Drawing",
    "FindingCard",
    "Grid8",
    "grid8",
    "html",
    "mask_outline",
    "Outline",
    "Page",
    "Picture",
    "Shown",
    "Table",
    "write",
]
