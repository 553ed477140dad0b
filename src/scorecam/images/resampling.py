"""Resizing photos: by Pillow's filters with antialiasing, or linearly without, as OpenCV does."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from scorecam.images.geometry import Box

Interpolation = Literal["bilinear", "bicubic", "nearest", "lanczos", "linear"]

_FILTERS: dict[str, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
}


def resized(
    photo: Image.Image, size: tuple[int, int], interpolation: Interpolation, box: Box | None = None
) -> Image.Image:
    """A part of a photo, of any mode, at another (width, height).

    Args:
        photo: the photo.
        size: (width, height) of the result.
        interpolation: the filter; "linear" weights the four nearest pixels only.
        box: the part; None for the whole photo.
    """
    if interpolation != "linear":
        return photo.resize(size, _FILTERS[interpolation], box=box)
    left, top, right, bottom = box or (0, 0, *photo.size)
    pixels = np.asarray(photo)
    x, x_after, across = _neighbours(left, right, size[0], photo.width)
    y, y_after, down = _neighbours(top, bottom, size[1], photo.height)
    if pixels.ndim == 3:
        across = across[:, None]
    above, below = (
        pixels[np.ix_(row, x)] * (1 - across) + pixels[np.ix_(row, x_after)] * across
        for row in (y, y_after)
    )
    down = down.reshape(-1, *(1,) * (pixels.ndim - 1))
    values: npt.NDArray[Any] = above * (1 - down) + below * down
    if pixels.dtype.kind == "u":
        values = np.rint(values)
    return Image.fromarray(values.astype(pixels.dtype))


def _neighbours(
    start: float, stop: float, count: int, length: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """The pixels before and after the centre of each output pixel, and the weight of the second."""
    steps = np.arange(count, dtype=np.float64)
    centres = (start + (steps + 0.5) * ((stop - start) / count) - 0.5).clip(0, length - 1)
    before = centres.astype(np.intp)
    return before, (before + 1).clip(max=length - 1), np.subtract(centres, before)
