"""A part of a picture, as a box or a mask, and its outline."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageColor
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from scorecam.images.lettering import BACKGROUND, em_size

Region = tuple[float, ...] | Annotated[Tensor, "*i"]
"""A box, the first corner before the last and x first; or a mask of booleans."""

PixelMask = npt.NDArray[np.bool_]

OUTLINE: Final = "#5ad1ff"
"""The colour of outlines; no heatmap has it."""

_SMALL: Final = 8
"""A region of fewer line widths than this is outlined from outside, so that its map is visible."""


def region_mask(region: Region, size: tuple[int, ...]) -> Annotated[Tensor, "*i"]:
    """The pixels that a region touches, bool; none if it is outside the picture.

    Args:
        size: the axes of the picture, `*i`.
    """
    if isinstance(region, Tensor):
        return region.detach().cpu()
    mask = torch.zeros(size, dtype=torch.bool, device="cpu")
    axes = len(size)
    corners = zip(region[axes - 1 :: -1], region[: axes - 1 : -1], size, strict=True)
    mask[tuple(_pixels(low, high, length) for low, high, length in corners)] = True
    return mask


def _pixels(low: float, high: float, length: int) -> slice:
    """The pixels of an axis that a span touches; one of them if the span is empty."""
    low, high = max(low, 0.0), min(high, float(length))
    first = math.floor(low + 1e-6)
    return slice(first, max(first + 1, math.ceil(high - 1e-6))) if low <= high else slice(0)


def resized_mask(mask: Annotated[Tensor, "h w"], size: tuple[int, int]) -> PixelMask:
    """A mask at another size, (width, height); a pixel stays if half of it is covered.

    Of a mask that is too fine for this size, the pixels that it touches.
    """
    greys = Image.fromarray(mask.cpu().numpy().astype(np.uint8) * 255)
    resized = np.asarray(greys.resize(size, Image.Resampling.BILINEAR))
    return resized >= (128 if (resized >= 128).any() else 1)


def draw_outline(picture: Image.Image, mask: PixelMask) -> None:
    """Draw the outline of a region: a light line with dark edges, visible on any picture.

    Args:
        picture: RGB.
        mask: of its pixels, `h w`.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return
    line = max(2, em_size(min(picture.size)) // 5)
    edge = max(1, line // 2)
    small = min(len(rows), len(columns)) < _SMALL * line
    reach = edge + (line + edge if small else 0)
    top, bottom = max(0, rows[0] - reach), min(mask.shape[0], rows[-1] + 1 + reach)
    left, right = max(0, columns[0] - reach), min(mask.shape[1], columns[-1] + 1 + reach)
    inside = mask[top:bottom, left:right]
    if small:
        inside = _grown(inside, line + edge)
    box = (int(left), int(top), int(right), int(bottom))
    pixels = np.array(picture.crop(box))
    inner = _shrunk(inside, line)
    pixels[_grown(inside, edge) & ~_shrunk(inner, edge)] = ImageColor.getrgb(BACKGROUND)
    pixels[inside & ~inner] = ImageColor.getrgb(OUTLINE)
    picture.paste(Image.fromarray(pixels), box[:2])


def _grown(mask: PixelMask, reach: int) -> PixelMask:
    """The mask and the pixels near it."""
    return _largest_near(pad(_floats(mask), (reach,) * 4), reach)


def _shrunk(mask: PixelMask, reach: int) -> PixelMask:
    """The mask without the pixels near its edge, or near the edge of the picture."""
    return ~_largest_near(pad(_floats(~mask), (reach,) * 4, value=1.0), reach)


def _floats(mask: PixelMask) -> Tensor:
    return torch.from_numpy(mask.astype(np.float32))[None]


def _largest_near(values: Tensor, reach: int) -> npt.NDArray[Any]:
    across = max_pool2d(values, (1, 2 * reach + 1), 1)
    return max_pool2d(across, (2 * reach + 1, 1), 1)[0].numpy() > 0
