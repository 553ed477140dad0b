"""Fitting the first map of a branch to Score-CAM maps: ridge regression towards equal weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import torch
from torch import Tensor

from scorecam.backends.branches.weights import Overlap
from scorecam.shapes import Activations, Grid

RIDGE: Final = 1.0
"""The penalty for a channel, in units of its own mean square over all cells."""


@dataclass(eq=False)
class Fit:
    """The sums that the regression needs: of products over all cells of all photos.

    Args:
        products: Σ A_j A_k, `k k` float64.
        targets: Σ A_k L, `k` float64.
        cells: their number.
        photos: their number.
    """

    products: Annotated[Tensor, "k k"]
    targets: Annotated[Tensor, "k"]
    cells: int = 0
    photos: int = 0

    @classmethod
    def of(cls, channels: int) -> Fit:
        return cls(
            torch.zeros(channels, channels, dtype=torch.float64),
            torch.zeros(channels, dtype=torch.float64),
        )

    def add(self, activations: Activations, summed: Grid) -> None:
        """Add a photo.

        Args:
            activations: `k *g`.
            summed: Σ_k α_k A_k with Score-CAM's weights, signed.
        """
        top = summed.abs().max().double()
        if not (top > 0 and top.isfinite()):
            return
        cells = activations.flatten(1).double()
        self.products += cells @ cells.T
        self.targets += cells @ (summed.flatten().double() / top)
        self.cells += cells.shape[1]
        self.photos += 1

    def weights(self) -> Overlap:
        """The fitted weights; equal ones if no photo was added."""
        channels = len(self.targets)
        if not self.cells:
            return Overlap(np.ones(channels, np.float32))
        scale = (self.products.diagonal() / self.cells).sqrt().clamp(min=1e-9)
        products = self.products / scale[:, None] / scale
        targets = self.targets / scale
        # The weights are equal ones times their best factor, and a correction that is kept small.
        equal = scale
        predicted = products @ equal
        equal = equal * (equal @ targets) / (equal @ predicted).clamp(min=1e-30)
        penalty = RIDGE * self.cells * torch.eye(channels, dtype=torch.float64)
        correction = torch.linalg.solve(products + penalty, targets - products @ equal)
        return Overlap(((equal + correction) / scale).float().numpy(), fitted=True)
