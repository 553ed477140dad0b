"""A plain reference for the Gaussian process, and random maps and scores for it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from scorecam.budget import gaussian_process as gp

Array = NDArray[np.float64]

MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def maps_of(count: int, *grid: int, seed: int = 0) -> Tensor:
    """Activations `k *g` after a ReLU, each with one or two active regions."""
    generator = torch.Generator().manual_seed(seed)
    size = [min(cells, 4) for cells in grid]
    coarse = torch.randn(count, 1, *size, generator=generator)
    mode = MODES[len(grid)]
    smooth = interpolate(coarse, size=grid, mode=mode, align_corners=True)[:, 0]
    maps = smooth + 0.2 * torch.rand(smooth.shape, generator=generator)
    maps -= maps.flatten(1).mean(1).reshape(-1, *[1] * len(grid))
    return maps.relu() * (0.5 + torch.rand(count, *[1] * len(grid), generator=generator))


def scores_of(maps: Tensor, columns: int, seed: int = 0) -> Tensor:
    """Scores `k n` that depend non-linearly on the content of the masks."""
    generator = torch.Generator().manual_seed(seed)
    content = torch.from_numpy(content_of(maps)).float()
    content = content / content.shape[1] ** 0.5
    hidden = (content @ torch.randn(content.shape[1], 12, generator=generator)).tanh()
    return 3 * hidden @ torch.randn(12, columns, generator=generator) + 1


def pooled(maps: Array) -> Array:
    """Average-pool maps, axis by axis, to at most `CELLS` cells."""
    side = max(s for s in range(1, gp.CELLS + 1) if s ** (maps.ndim - 1) <= gp.CELLS)
    for axis in range(1, maps.ndim):
        cells = maps.shape[axis]
        parts = [
            maps.take(range(i * cells // side, -(-(i + 1) * cells // side)), axis).mean(axis)
            for i in range(min(side, cells))
        ]
        maps = maps if cells <= side else np.stack(parts, axis)
    return maps


def content_of(maps: Tensor) -> Array:
    """Every mask on the layer's grid, scaled to [0, 1], pooled and flattened."""
    precise = maps.double().numpy()
    axes = tuple(range(1, maps.ndim))
    low, high = precise.min(axes, keepdims=True), precise.max(axes, keepdims=True)
    return pooled((precise - low) / (high - low)).reshape(len(maps), -1)


class Process:
    """A Gaussian process over the masks; its mean is the generalised least-squares estimate."""

    def __init__(self, maps: Tensor) -> None:
        content = content_of(maps)
        squares = ((content[:, None] - content) ** 2).sum(-1)
        typical = np.sort(squares, axis=None)[(squares.size - 1) // 2]
        linear = content @ content.T / content.shape[1]
        smooth = np.exp(-squares / (2 * gp.REACH**2 * typical))
        own = np.eye(len(content))
        self.prior: Array = gp.CONSTANT + gp.LINEAR * linear
        self.prior += gp.SMOOTH * smooth + gp.OWN * own
        self.noise = gp.NOISE * (np.diag(self.prior).mean() - gp.CONSTANT)

    def observed(self, asked: list[int]) -> Array:
        return self.prior[np.ix_(asked, asked)] + self.noise * np.eye(len(asked))

    def mean(self, asked: list[int], scores: Array) -> Array:
        inverse = np.linalg.inv(self.observed(asked))
        constant = inverse.sum(0) @ scores / inverse.sum()
        return constant + self.prior[:, asked] @ inverse @ (scores - constant)

    def covariance(self, asked: list[int]) -> Array:
        rows = self.prior[:, asked]
        return self.prior - rows @ np.linalg.inv(self.observed(asked)) @ rows.T
