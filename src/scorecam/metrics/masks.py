"""Heatmaps as masks: which part of an image is shown, and what replaces the rest."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from scorecam.cam import scaled
from scorecam.shapes import Heatmap, Image, Images, Masks

Ranks = Annotated[Tensor, "*i"]
"""The rank of each pixel, int64; 0 is the most important."""


def soft_mask(heatmap: Heatmap) -> Heatmap:
    """The heatmap as a mask: min-max scaled to [0, 1].

    A constant map hides nothing, so it gives ones; a map of zeros shows nothing, so it gives zeros.
    """
    low, high = heatmap.aminmax()
    return scaled(heatmap) if high > low else (heatmap > 0).to(heatmap.dtype)


def ranks(heatmap: Heatmap) -> Ranks:
    """The rank of each pixel by importance; equal pixels are in reading order."""
    order = heatmap.flatten().argsort(descending=True, stable=True)
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device)
    return places.reshape(heatmap.shape)


def shown(heatmap: Heatmap, muted: float = 0.5, *, soft: bool = True) -> Heatmap:
    """The mask that shows the more important pixels and mutes the others.

    Args:
        heatmap: `*i`, raw.
        muted: the share of pixels to mute, in [0, 1], rounded to whole pixels.
        soft: whether the shown pixels have the scaled value of the heatmap; otherwise 1.

    Returns:
        `*i` in [0, 1].
    """
    kept = heatmap.numel() - round(muted * heatmap.numel())
    keep = (ranks(heatmap) < kept).to(heatmap.dtype)
    return soft_mask(heatmap) * keep if soft else keep


def blend(image: Image, mask: Masks, canvas: Image) -> Images:
    """X·H + canvas·(1 − H) for every mask: `b *i` to `b c *i`."""
    return torch.lerp(canvas[None], image[None], mask[:, None].to(image.dtype))


def blurred(image: Image, size: int = 11, sigma: float = 5.0) -> Image:
    """The image, `c h w`, blurred with a Gaussian of `size` pixels; it is zero beyond its edges."""
    distance = torch.arange(size, dtype=image.dtype, device=image.device) - size // 2
    bell = (-(distance**2) / (2 * sigma**2)).exp()
    kernel = torch.outer(bell, bell) / bell.sum() ** 2
    kernels = kernel.expand(len(image), 1, size, size)
    return torch.conv2d(image[None], kernels, padding=size // 2, groups=len(image))[0]
