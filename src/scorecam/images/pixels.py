"""Conversion of pixels of every mode, depth and type to 8-bit RGB."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms
from torch import Tensor

from scorecam.errors import PhotoError
from scorecam.images.memory import check_needed, check_pixels

Box = tuple[int, int, int, int]

_TILE = 512
"""Side, in pixels, of the tiles in which photos are converted, to avoid copies of whole photos."""

_BITS = (8, 10, 12)
"""Depths that 16-bit greys may really have, if they are too dark for 16 bits."""

_DARK = 16
"""16-bit colours that stay below this, reduced to 8 bits, probably have 12 bits or fewer."""


def to_rgb(image: Image.Image, name: str) -> tuple[Image.Image, str]:
    """A copy of a decoded image in RGB, and a remark or an empty text."""
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bit(image, name)
    if image.mode == "LAB":
        cms: Any = ImageCms  # its profiles have no types
        lab, srgb = cms.createProfile("LAB"), cms.createProfile("sRGB")
        return cms.profileToProfile(image, lab, srgb, outputMode="RGB"), ""
    if not image.has_transparency_data:
        return image.convert("RGB"), ""
    rgb = Image.new("RGB", image.size)
    for box in _tiles(image.size):
        part = image.crop(box)
        straight = part.convert("LA") if part.mode == "La" else part
        white = Image.new("RGBA", part.size, "white")
        shown = Image.alpha_composite(white, straight.convert("RGBA"))
        rgb.paste(shown.convert("RGB"), box)
    return rgb, ""


def _tiles(size: tuple[int, int]) -> Iterator[Box]:
    """Boxes that together cover an image."""
    width, height = size
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            yield left, top, min(left + _TILE, width), min(top + _TILE, height)


# ── 16-bit colours ───────────────────────────────────────────────────────────────────────────


def has_sixteen_bits(image: Image.Image) -> bool:
    """Whether the file of an image that is not decoded yet has 16 bits per sample."""
    tiles: Any = getattr(image, "tile", None)
    if not tiles:
        return False
    how = tiles[0][3]
    return ";16" in str(how[0] if isinstance(how, tuple) and how else how)


def _brightest(image: Image.Image) -> int:
    """The largest value of a colour; the search stops at `_DARK`."""
    brightest = 0
    for box in _tiles(image.size):
        extrema: Any = image.crop(box).getextrema()
        brightest = max(brightest, *(int(high) for _, high in extrema[:3]))
        if brightest >= _DARK:
            break
    return brightest


def dark_colours(image: Image.Image, name: str) -> str:
    """A remark if a decoded image with 16-bit colours is nearly black; otherwise empty."""
    if image.mode not in {"RGB", "RGBA"}:
        return ""
    brightest = _brightest(image)
    if brightest >= _DARK:
        return ""
    return (
        f"{name} is nearly black: its 16-bit colours end at {brightest} of 255. If they have fewer "
        "than 16 bits, load them with tifffile or OpenCV, scale them to [0, 1], and pass the array."
    )


# ── greys of more than 8 bits ────────────────────────────────────────────────────────────────


def _eight_bit(grey: Image.Image, name: str) -> tuple[Image.Image, str]:
    """Greys of more than 8 bits, scaled to 0..255 as `photo.read` describes."""
    low, high = _extrema(grey)
    low, high, remark = _scale(low, high, 1 if grey.mode == "F" else 65535, name)
    beyond = math.nextafter(high, math.inf)  # a flat image has no range
    rgb = Image.new("RGB", grey.size)
    for box in _tiles(grey.size):
        part = np.interp(np.asarray(grey.crop(box)), (low, beyond), (0, 255))
        rgb.paste(Image.fromarray(part.round().astype(np.uint8)).convert("RGB"), box)
    return rgb, remark


def _extrema(grey: Image.Image) -> tuple[float, float]:
    low, high = math.inf, -math.inf
    for box in _tiles(grey.size):
        part = np.asarray(grey.crop(box))
        if not np.isfinite(part).all():
            raise ValueError("some pixels are not finite numbers")
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    return low, high


def _scale(low: float, high: float, full: int, name: str) -> tuple[float, float, str]:
    """The values that become black and white, and a remark.

    Args:
        full: the full scale: 1 for floats, 65535 for integers.
    """
    if low < 0 or high > full:
        remark = f"{name} has values from {low:.6g} to {high:.6g}, stretched from black to white."
        return low, high, remark
    if full == 1 or not 0 < high < 2**14:
        return 0, full, ""
    for bits in _BITS:
        if high < 2**bits:
            white = 2**bits - 1
            remark = f"{name} has 16-bit greys that end at {high:.0f}; they are read as {bits} bits"
            return 0, white, f"{remark}, so that {white} is white."
    remark = f"{name} is dark: its 16-bit greys end at {high:.0f} of {full}."
    return 0, full, f"{remark} If they have fewer bits, scale them to [0, 1] and pass the array."


# ── bands ────────────────────────────────────────────────────────────────────────────────────


def rgb_picture(bands: Tensor) -> Image.Image:
    """Bands (c, h, w) in [0, 1] as an RGB picture: the first three, or the first of fewer."""
    shown = bands[:3] if len(bands) > 2 else bands[:1]
    rgb = (shown.clamp(0, 1) * 255).round().byte().expand(3, *bands.shape[1:])
    return Image.fromarray(rgb.permute(1, 2, 0).contiguous().numpy())


# ── arrays ───────────────────────────────────────────────────────────────────────────────────


def array_to_rgb(array: npt.NDArray[Any]) -> Image.Image:
    """An array, (height, width, 3) or (height, width), as an RGB image.

    Raises:
        PhotoError: it has another shape or dtype, or values out of range.
    """
    what = f"An array of shape {array.shape} and dtype {array.dtype!s:.60} is not a photo"
    do = "Give uint8 in 0..255 or float in [0, 1], shaped (height, width, 3) or (height, width)."
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        first = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        likely = "Its colours come first; array.transpose(1, 2, 0) puts them last." if first else ""
        raise PhotoError(f"{what}.", likely=likely, do=do)
    if array.size == 0:
        raise PhotoError(f"{what}: it has no pixels.", do=do)
    check_pixels(array.shape[1], array.shape[0], "The array", PhotoError)
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):  # NaN is neither
            likely = f"Its values run from {low:.4g} to {high:.4g}."
            raise PhotoError(f"{what}: floats must be in [0, 1].", likely=likely, do=do)
    elif array.dtype != np.uint8:
        raise PhotoError(f"{what}: it is not clear which value is white.", do=do)
    size = array.shape[1], array.shape[0]
    check_needed(size, int(4.0 * size[0] * size[1]), "The array", PhotoError)
    photo = Image.new("RGB", size)
    for box in _tiles(photo.size):
        left, top, right, bottom = box
        part = array[top:bottom, left:right]
        if part.dtype.kind == "f":
            part = (part * 255.0).round().astype(np.uint8)
        photo.paste(Image.fromarray(np.ascontiguousarray(part)).convert("RGB"), box)
    return photo
