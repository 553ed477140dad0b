"""Pictures that still show the object, and pictures that no longer do.

An answer that is about the object survives the former and not the latter. Nothing here runs a
model; everything works for any number of image axes.
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
"""How far a shifted picture goes, as a share of its side."""

NOISE = 0.15
"""The noise's deviation over the picture's own."""

PART = 0.35
"""Of each side: the part of a picture that is shown alone."""

TILES = 8
"""Tiles along each axis of a picture that is cut up."""


@dataclass(frozen=True, eq=False)
class Changed:
    """A picture that was changed mildly.

    Args:
        image: `c *i`.
        back: brings a heatmap of it to where the object was.
    """

    image: Image
    back: Callable[[Heatmap], Heatmap]


def mild(image: Image, seed: int) -> list[Changed]:
    """The picture mirrored, shifted both ways along every axis, blurred, and with noise.

    Args:
        image: `c *i`.
        seed: of the noise.

    Returns:
        3 + 2 · axes pictures. Shifts are by a sixteenth of the side, and the edge is repeated.
    """
    steps = {axis: max(1, round(image.shape[axis] * SHIFT)) for axis in range(1, image.ndim)}
    drawn = torch.randn(
        image.shape, generator=_generator(seed), dtype=torch.float32, device="cpu"
    ).to(image)
    noisy = image + NOISE * image.std(correction=0) * drawn
    still = _blurred(image), noisy
    return [
        Changed(image.flip(-1), lambda heatmap: heatmap.flip(-1)),
        *(_shifted(image, way * far, axis) for axis, far in steps.items() for way in (1, -1)),
        *(Changed(changed, lambda heatmap: heatmap) for changed in still),
    ]


def least(image: Image, heatmap: Heatmap) -> Image:
    """The part of the picture that the map finds least important, enlarged to the whole.

    Args:
        image: `c *i`.
        heatmap: `*i`.

    Returns:
        `c *i`: of all parts with 35 % of each side, the one in which the map's sum is least.
    """
    sums, sides = heatmap.double(), [max(1, round(side * PART)) for side in heatmap.shape]
    for axis, side in enumerate(sides):
        sums = sums.unfold(axis, side, 1).sum(dim=-1)
    first = torch.unravel_index(sums.argmin(), sums.shape)
    part = tuple(slice(int(a), int(a) + side) for a, side in zip(first, sides, strict=True))
    return upsample(image[:, *part], image.shape[1:])


def without_object(image: Image, seed: int) -> list[Image]:
    """The same pixels, tiles or spectrum, and nothing to be recognised: four pictures.

    Tiles in another order; the picture's own amplitudes with random phases, twice (Oppenheim and
    Lim 1981: what a picture shows is in its phases); pixels in another order.
    """
    drawn = _generator(seed)
    order = torch.randperm(math.prod(image.shape[1:]), generator=drawn, device="cpu")
    pixels = image.flatten(1)[:, order.to(image.device)].reshape(image.shape)
    return [_tiled(image, drawn), _rephased(image, drawn), _rephased(image, drawn), pixels]


def _generator(seed: int) -> Generator:
    return torch.Generator("cpu").manual_seed(seed % 2**63)


def _shifted(image: Image, pixels: int, axis: int) -> Changed:
    return Changed(_moved(image, pixels, axis), lambda heatmap: _moved(heatmap, -pixels, axis - 1))


def _moved(tensor: Tensor, pixels: int, axis: int) -> Tensor:
    """Moved along an axis; the edge is repeated where something new comes in."""
    side = tensor.shape[axis]
    places = (torch.arange(side, device=tensor.device) - pixels).clamp(0, side - 1)
    return tensor.index_select(axis, places)


def _blurred(image: Image) -> Image:
    """Twice under 1/4, 1/2, 1/4 along every axis; the edge is repeated."""
    for axis in [*range(1, image.ndim)] * 2:
        image = (_moved(image, 1, axis) + 2 * image + _moved(image, -1, axis)) / 4
    return image


def _tiled(image: Image, drawn: Generator) -> Image:
    """Tiles in a random order; what does not fill a tile stays where it is."""
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
    flat = flat[torch.randperm(len(flat), generator=drawn, device="cpu").to(image.device)]
    back = [order.index(axis) for axis in range(len(order))]
    mixed = image.clone()
    mixed[:, *inner] = flat.reshape(tiles.shape).permute(back).reshape(mixed[:, *inner].shape)
    return mixed


def _rephased(image: Image, drawn: Generator) -> Image:
    """The picture's amplitudes, its phases moved by those of noise, alike in every colour."""
    axes = tuple(range(1, image.ndim))
    noise = torch.rand(image.shape[1:], generator=drawn, dtype=torch.float32, device="cpu").to(
        image
    )[None]
    turned = torch.fft.fftn(noise, dim=axes).angle()
    spectrum = torch.fft.fftn(image, dim=axes)
    return torch.fft.ifftn(spectrum * torch.polar(torch.ones_like(turned), turned), dim=axes).real
