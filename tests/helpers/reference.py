"""A reference implementation of Score-CAM: one map at a time, in float64, slow and simple.

It shares no code with the package: the networks return their own activations, torch upsamples, and
every masked image is scored in its own pass.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate

VARIANTS = ("official", "algorithm1", "increase", "centred", "literal")
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class NetworkWithMaps(Protocol):
    """A network that also returns the maps of its explained layer (`b k *g`)."""

    def __call__(self, images: Tensor) -> Tensor: ...

    def maps(self, images: Tensor) -> Tensor: ...


def upsampled(grid: Tensor, size: tuple[int, ...]) -> Tensor:
    """One map at the image's size: linear interpolation between the centres of cells."""
    mode = MODES[len(size)]
    return interpolate(grid[None, None], size=size, mode=mode, align_corners=False)[0, 0]


def min_max(values: Tensor) -> Tensor:
    """(values − min) / (max − min); zeros if all values are equal."""
    if values.max() == values.min():
        return torch.zeros_like(values)
    return (values - values.min()) / (values.max() - values.min())


def live_maps(network: NetworkWithMaps, image: Tensor) -> list[tuple[int, Tensor]]:
    """The channels that are not flat, each with its map."""
    with torch.no_grad():
        maps = network.maps(image[None])[0]
    return [(k, maps[k]) for k in range(len(maps)) if maps[k].max() != maps[k].min()]


def masked_images(network: NetworkWithMaps, image: Tensor) -> list[Tensor]:
    """X·H_k for every channel that is not flat."""
    size = tuple(image.shape[1:])
    return [image * min_max(upsampled(grid, size)) for _, grid in live_maps(network, image)]


def score_cam(network: NetworkWithMaps, image: Tensor, target: int, variant: str) -> Tensor:
    """The min-max scaled heatmap of a network that returns logits.

    Args:
        network: in float64.
        image: `c *i` float64.
    """
    maps = [grid for _, grid in live_maps(network, image)]
    with torch.no_grad():
        logits = [network(masked[None])[0] for masked in masked_images(network, image)]
        baseline = network(torch.zeros_like(image)[None])[0]

    z = torch.stack([row[target] for row in logits])
    p = torch.stack([row.exp()[target] / row.exp().sum() for row in logits])
    if variant == "official":
        weights = p
    elif variant == "algorithm1":
        weights = z.exp() / z.exp().sum()
    elif variant == "increase":
        weights = z - baseline[target]
    elif variant == "centred":
        weights = p - p.mean()
    elif variant == "literal":
        weights = p.exp() / p.exp().sum()
    else:
        raise ValueError(variant)

    total = torch.zeros_like(maps[0])
    for weight, grid in zip(weights, maps, strict=True):
        total = total + weight * grid
    positive = total.clamp(min=0)
    return min_max(upsampled(positive, tuple(image.shape[1:])))
