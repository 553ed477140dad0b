"""Score-CAM as the paper tells it: one map at a time, in float64, slow and plain.

What the package is compared with. It shares no code with it: the networks hand out their own
activations, torch does the upsampling, and every masked image is scored alone.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate

VARIANTS = ("official", "algorithm1", "increase", "literal")
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class HandsOutMaps(Protocol):
    """A network that gives its scores, and the maps of its explained layer (`b k *g`)."""

    def __call__(self, images: Tensor) -> Tensor: ...

    def maps(self, images: Tensor) -> Tensor: ...


def upsampled(grid: Tensor, size: tuple[int, ...]) -> Tensor:
    """One map at the image's size: linear interpolation between the centres of cells."""
    mode = MODES[len(size)]
    return interpolate(grid[None, None], size=size, mode=mode, align_corners=False)[0, 0]


def min_max(values: Tensor) -> Tensor:
    """(values − min) / (max − min); zeros where that is 0/0."""
    if values.max() == values.min():
        return torch.zeros_like(values)
    return (values - values.min()) / (values.max() - values.min())


def live_maps(network: HandsOutMaps, image: Tensor) -> list[tuple[int, Tensor]]:
    """The channels that are not flat, each with its map."""
    with torch.no_grad():
        maps = network.maps(image[None])[0]
    return [(k, maps[k]) for k in range(len(maps)) if maps[k].max() != maps[k].min()]


def masked_images(network: HandsOutMaps, image: Tensor) -> list[Tensor]:
    """X·H_k for every channel that is not flat."""
    size = tuple(image.shape[1:])
    return [image * min_max(upsampled(grid, size)) for _, grid in live_maps(network, image)]


def score_cam(network: HandsOutMaps, image: Tensor, target: int, variant: str) -> Tensor:
    """The heatmap, min-max scaled, for a network that answers with logits.

    Args:
        network: in float64.
        image: `c *i` float64.
    """
    maps = [grid for _, grid in live_maps(network, image)]
    with torch.no_grad():
        logits = [network(masked[None])[0] for masked in masked_images(network, image)]
        baseline = network(torch.zeros_like(image)[None])[0]

    z = torch.stack([each[target] for each in logits])
    p = torch.stack([each.exp()[target] / each.exp().sum() for each in logits])
    if variant == "official":
        weights = p
    elif variant == "algorithm1":
        weights = z.exp() / z.exp().sum()
    elif variant == "increase":
        weights = z - baseline[target]
    elif variant == "literal":
        weights = p.exp() / p.exp().sum()
    else:
        raise ValueError(variant)

    total = torch.zeros_like(maps[0])
    for weight, grid in zip(weights, maps, strict=True):
        total = total + weight * grid
    positive = total.clamp(min=0)
    return min_max(upsampled(positive, tuple(image.shape[1:])))
