"""Linear interpolation along any number of axes, by small matrix products."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import Tensor

from scorecam.base.exact_products import exact_products


@functools.lru_cache(maxsize=64)
def interpolation(
    cells: int, pixels: int, align_corners: bool, device: torch.device
) -> Annotated[Tensor, "pixels cells"]:
    """Linear interpolation along one axis as a matrix; every row sums to 1.

    The same numbers as `torch.nn.functional.interpolate` (linear, no antialiasing).
    """
    positions = _positions(cells, pixels, align_corners)
    distance = (positions[:, None] - torch.arange(cells, dtype=torch.float64, device="cpu")).abs()
    return (1 - distance).clamp(min=0).to(torch.float32).to(device)


@functools.lru_cache(maxsize=64)
def _ends(
    cells: int, pixels: int, align_corners: bool, device: torch.device
) -> Annotated[Tensor, "ends cells"]:
    """The rows of `interpolation` at the ends of its linear pieces."""
    piece = _positions(cells, pixels, align_corners).floor()
    changes = piece[1:] != piece[:-1]
    edge = torch.ones(1, dtype=torch.bool, device="cpu")
    ends = torch.cat([edge, changes]) | torch.cat([changes, edge])
    return interpolation(cells, pixels, align_corners, device)[ends.to(device)]


def _positions(
    cells: int, pixels: int, align_corners: bool, span: range | None = None
) -> Annotated[Tensor, "pixels"]:
    """The position of each pixel, or of each in `span`, in cells."""
    first, last = (0, pixels) if span is None else (span.start, span.stop)
    steps = torch.arange(first, last, dtype=torch.float64, device="cpu")
    if align_corners:
        return steps * ((cells - 1) / (pixels - 1) if pixels > 1 else 0.0)
    return ((steps + 0.5) * (cells / pixels) - 0.5).clamp(0, cells - 1)


def upsample(
    maps: Annotated[Tensor, "k *g"], size: Sequence[int], align_corners: bool = False
) -> Annotated[Tensor, "k *i"]:
    """Linear interpolation of every map to `size`, one small matrix product per axis.

    Args:
        maps: `k *g` float32.
        size: the image's axes `*i`; as many as the grid has.

    Returns:
        `k *i` float32.
    """
    return _upsampled(interpolation, maps, size, align_corners)


def extremes(
    maps: Annotated[Tensor, "k *g"], size: Sequence[int], align_corners: bool = False
) -> Annotated[Tensor, "k *e"]:
    """Some pixels of `upsample`, which include the minimum and the maximum of each map.

    Interpolation is piecewise linear, so both are at the end of a piece.
    """
    return _upsampled(_ends, maps, size, align_corners)


def _upsampled(
    matrix: Callable[[int, int, bool, torch.device], Tensor],
    maps: Tensor,
    size: Sequence[int],
    align_corners: bool,
) -> Tensor:
    with exact_products(maps.device):
        for pixels in size:
            cells = maps.shape[1]
            if pixels * cells > LARGEST_MATRIX and matrix is interpolation:
                maps = _without_matrix(maps, pixels, align_corners)
                continue
            rows = matrix(cells, pixels, align_corners, maps.device)
            maps = torch.einsum("kg...,pg->k...p", maps, rows)  # replaces a grid axis by pixels
        return maps


LARGEST_MATRIX = 2**26
"""The most entries of an interpolation matrix."""

PIECE = 2**16
"""How many pixels of an axis are interpolated at a time without a matrix."""


def _without_matrix(maps: Tensor, pixels: int, align_corners: bool) -> Tensor:
    """Interpolation for axes whose matrix would be too large: `k g …` to `k … p`."""
    maps = maps.movedim(1, -1)
    cells = maps.shape[-1]
    result = maps.new_empty((*maps.shape[:-1], pixels))
    for start in range(0, pixels, PIECE):
        span = range(start, min(start + PIECE, pixels))
        positions = _positions(cells, pixels, align_corners, span)
        low = positions.long()
        fraction = (positions - low).to(maps)
        before, after = (maps[..., at.clamp(max=cells - 1)] for at in (low, low + 1))
        result[..., start : span.stop] = torch.lerp(before, after, fraction)
    return result
