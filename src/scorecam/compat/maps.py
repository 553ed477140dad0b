"""What the other packages' maps have in common."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from scorecam import ScoreBank

Grid = Annotated[Tensor, "*g"]


def softmax_map(bank: ScoreBank, column: int) -> Grid:
    """ReLU(Σ_k softmax over k of z_t(X·H_k) · A_k) on the layer's grid, over *every* channel.

    This package asks nothing about a flat channel. The others give it a mask of zeros, so that its
    answer is the empty image's, which the bank holds.
    """
    scores = bank.fill_scores[column].expand(len(bank.activations)).clone()
    scores[bank.asked] = bank.scores[:, column]
    return torch.tensordot(scores.softmax(dim=0), bank.activations, dims=1).relu()


def minmax(grid: Tensor, epsilon: float) -> Tensor:
    """(x − min) / (max − min + epsilon)."""
    shifted = grid - grid.min()
    return shifted / (shifted.max() + epsilon)
