"""One self-contained HTML page of pictures with heatmaps; it knows plain data only."""

from scorecam.page.content import Channel, Finding, Grid8, Page, Picture, Shown, grid8
from scorecam.page.document import html, write
from scorecam.page.thumbnails import decodable

__all__ = [
    "Channel",
    "decodable",
    "Finding",
    "Grid8",
    "grid8",
    "html",
    "Page",
    "Picture",
    "Shown",
    "write",
]
