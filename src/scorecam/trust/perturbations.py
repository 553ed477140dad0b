"""Changed images that still show the object, and images that no longer show it.

The first kind should keep a score that depends on the object; the second should not. Works for any
number of image axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from scorecam.base.interpolation import upsample
from scorecam.shapes import Heatmap, Image

SHIFT = 1 / 16
"""How far images are shifted, as a share of the side."""

NOISE = 0.15
"""The standard deviation of the noise, divided by that of the image."""

PART = 0.35
"""The share of each side that is shown alone."""

TILES = 8
"""Shuffled tiles along each axis."""


@dataclass(frozen=True, eq=False)
class Change:
    """A mildly changed image.

    Args:
        image: `c *i`.
        undo: moves a heatmap of it back to where the object was.
    """

    image: Image
    undo: Callable[[Heatmap], Heatmap]


def mild_changes(image: Image, seed: int) -> list[Change]:
    """The image mirrored, shifted both ways along every axis, blurred, and with noise.

    Args:
        image: `c *i`.
        seed: of the noise.

    Returns:
        3 + 2 · axes images. Shifts are by a sixteenth of the side and repeat the edge.
    """
    steps = {axis: max(1, round(image.shape[axis] * SHIFT)) for axis in range(1, image.ndim)}
    noise = torch.randn(
        image.shape, generator=_generator(seed), dtype=torch.float32, device="cpu"
    ).to(image)
    noisy = image + NOISE * image.std(correction=0) * noise
    in_place = _blurred(image), noisy
    return [
        Change(image.flip(-1), lambda heatmap: heatmap.flip(-1)),
        *(_shifted(image, sign * step, axis) for axis, step in steps.items() for sign in (1, -1)),
        *(Change(changed, lambda heatmap: heatmap) for changed in in_place),
    ]


def least_important(image: Image, heatmap: Heatmap) -> Image:
    """The least important part of the image, enlarged to its size.

    Args:
        image: `c *i`.
        heatmap: `*i`.

    Returns:
        `c *i`: among all windows with 35 % of each side, the one with the smallest sum of the map.
    """
    sums, sides = heatmap.double(), [max(1, round(side * PART)) for side in heatmap.shape]
    for axis, side in enumerate(sides):
        sums = sums.unfold(axis, side, 1).sum(dim=-1)
    first = torch.unravel_index(sums.argmin(), sums.shape)
    part = tuple(slice(int(a), int(a) + side) for a, side in zip(first, sides, strict=True))
    return upsample(image[:, *part], image.shape[1:])


def without_object(image: Image, seed: int) -> list[Image]:
    """Four images with the same pixels, tiles or spectrum, in which nothing can be recognised.

    Shuffled tiles; the image's amplitudes with random phases, twice (Oppenheim and Lim 1981: the
    phases carry the content); shuffled pixels.
    """
    generator = _generator(seed)
    order = torch.randperm(math.prod(image.shape[1:]), generator=generator, device="cpu")
    pixels = image.flatten(1)[:, order.to(image.device)].reshape(image.shape)
    return [
        _tiled(image, generator),
        _rephased(image, generator),
        _rephased(image, generator),
        pixels,
    ]


def _generator(seed: int) -> Generator:
    return torch.Generator("cpu").manual_seed(seed % 2**63)


def _shifted(image: Image, pixels: int, axis: int) -> Change:
    return Change(_moved(image, pixels, axis), lambda heatmap: _moved(heatmap, -pixels, axis - 1))


def _moved(tensor: Tensor, pixels: int, axis: int) -> Tensor:
    """The tensor shifted along an axis; the edge is repeated."""
    side = tensor.shape[axis]
    places = (torch.arange(side, device=tensor.device) - pixels).clamp(0, side - 1)
    return tensor.index_select(axis, places)


def _blurred(image: Image) -> Image:
    """The image smoothed twice with 1/4, 1/2, 1/4 along every axis; the edge is repeated."""
    for axis in [*range(1, image.ndim)] * 2:
        image = (_moved(image, 1, axis) + 2 * image + _moved(image, -1, axis)) / 4
    return image


def _tiled(image: Image, generator: Generator) -> Image:
    """The image with shuffled tiles; pixels beyond the last whole tile stay in place."""
    sides = image.shape[1:]
    counts = [min(TILES, side) for side in sides]
    lengths = [side // count for side, count in zip(sides, counts, strict=True)]
    inner = tuple(slice(count * length) for count, length in zip(counts, lengths, strict=True))
    axes = len(sides)
    both = [part for pair in zip(counts, lengths, strict=True) for part in pair]
    # c, tile, pixel, tile, pixel, ... → tiles, c, pixels
    order = [1 + 2 * axis for axis in range(axes)] + [0] + [2 + 2 * axis for axis in range(axes)]
    tiles = image[:, *inner].reshape(len(image), *both).permute(order)
    flat = tiles.flatten(0, axes - 1)
    flat = flat[torch.randperm(len(flat), generator=generator, device="cpu").to(image.device)]
    back = [order.index(axis) for axis in range(len(order))]
    mixed = image.clone()
    mixed[:, *inner] = flat.reshape(tiles.shape).permute(back).reshape(mixed[:, *inner].shape)
    return mixed


def _rephased(image: Image, generator: Generator) -> Image:
    """The image with its phases shifted by those of noise, equally in every channel."""
    axes = tuple(range(1, image.ndim))
    noise = torch.rand(image.shape[1:], generator=generator, dtype=torch.float32, device="cpu").to(
        image
    )[None]
    phases = torch.fft.fftn(noise, dim=axes).angle()
    spectrum = torch.fft.fftn(image, dim=axes)
    return torch.fft.ifftn(spectrum * torch.polar(torch.ones_like(phases), phases), dim=axes).real
