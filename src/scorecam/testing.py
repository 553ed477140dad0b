"""For tests, yours and ours: a network with a known explanation, and a recorder of inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from scorecam.shapes import Image, Images

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class Regions(nn.Module):
    """A linear classifier of the amount of each colour: z_t = Σ_k W_tk · Σ_pixels X_k.

    Its layer `maps` returns the image itself, one map per colour. In the images of `regions(…)`,
    colours are 0 or 1 and never overlap. Then H_k = X_k, and the masked image X·H_k shows region k
    only, so that

        z_t(X·H_k) = W_tk · |R_k|        z_t(fill = 0) = 0        A_k = 1 on R_k, else 0

    For example, the heatmap of `increase` is max(0, W_tk · |R_k|) everywhere in region k.

    Args:
        weights: W, `t k`.
        axes: image axes: 1, 2 or 3.
    """

    def __init__(self, weights: Tensor, axes: int = 2) -> None:
        super().__init__()
        colours = weights.shape[1]
        self.maps = CONVOLUTIONS[axes](colours, colours, kernel_size=1, bias=False)
        self.classes = nn.Linear(colours, len(weights), bias=False)
        with torch.no_grad():
            self.maps.weight.copy_(torch.eye(colours).reshape(colours, colours, *[1] * axes))
            self.classes.weight.copy_(weights)

    def forward(self, images: Images) -> Tensor:
        return self.classes(self.maps(images).flatten(2).sum(dim=2))


def regions(sizes: tuple[int, ...], *image: int) -> Image:
    """An image for `Regions`: colour k is 1 on `sizes[k]` pixels, in reading order.

    Returns:
        `c *i` float32, with `c = len(sizes)`.
    """
    owner = torch.full((math.prod(image),), -1)
    start = 0
    for colour, size in enumerate(sizes):
        owner[start : start + size] = colour
        start += size
    return torch.stack([(owner == colour).float() for colour in range(len(sizes))]).reshape(
        len(sizes), *image
    )


class Spy(nn.Module):
    """Calls a network, and records every batch.

    Attributes:
        seen: the batches in order, as copies on the CPU.
        modes: for each batch: (autograd on, inference mode on, training mode on).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.seen: list[Tensor] = []
        self.modes: list[tuple[bool, bool, bool]] = []

    @property
    def images(self) -> Tensor:
        """All images in order, `b c *i`."""
        return torch.cat(self.seen)

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach().cpu().clone())
        self.modes.append(
            (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), self.training)
        )
        return self.network(images)
