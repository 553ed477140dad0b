"""How a heatmap that a network computes itself weighs the activations, and the same in PyTorch.

The heatmap is a weighted sum of the activations of one layer, at one pass and without gradients:

    L = scaled(ReLU(Σ_k α_k A_k)), on the layer's grid
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scorecam import cam
from scorecam.shapes import Activations, Columns, Grid

SMALLEST: Final = 1e-20
"""Ranges below this are taken for zero."""


@dataclass(frozen=True, eq=False)
class WeightsOfClass:
    """α_k = the last layer's weight from channel k to the class with the highest score.

    This is the class activation map of Zhou et al. (CVPR 2016). It needs a network that ends in the
    mean of the activations and one linear layer.

    Args:
        rows: `n k`, the weights of every class.
    """

    rows: npt.NDArray[np.float32]

    name = "class"
    formula = "α_k = the last layer's weight of the predicted class for channel k"


@dataclass(frozen=True, eq=False)
class Overlap:
    """α_k = s_k − mean over k of s_k, where s_k is how far mask k overlaps a first map.

    The first map is ReLU(Σ_k w_k A_k), and s_k = Σ over cells of H_k and this map. It needs no
    class. Channels without a mask have no weight.

    Args:
        channels: w, one number per channel.
        fitted: whether they were fitted to heatmaps; otherwise they are all equal.
    """

    channels: npt.NDArray[np.float32]
    fitted: bool = False

    @property
    def name(self) -> str:
        return "fitted overlap" if self.fitted else "overlap"

    @property
    def formula(self) -> str:
        w = "fitted to Score-CAM maps" if self.fitted else "1"
        return (
            "α_k = s_k − mean over k of s_k, s_k = Σ over cells of H_k · ReLU(Σ_j w_j A_j), "
            f"H_k = A_k scaled to [0, 1], w = {w}"
        )


BranchWeights = WeightsOfClass | Overlap


def branch_map(weights: BranchWeights, activations: Activations, scores: Columns) -> Grid:
    """The heatmap that the branch computes, on the layer's grid: `*g` in [0, 1].

    Args:
        weights: of the branch.
        activations: `k *g`.
        scores: `n`.
    """
    cells = activations.flatten(1)
    if isinstance(weights, WeightsOfClass):
        alpha = torch.from_numpy(weights.rows)[int(scores.argmax())]
    else:
        alpha = overlaps(weights, cells)
    return cam.scaled((alpha @ cells).relu()).reshape(activations.shape[1:])


def overlaps(weights: Overlap, cells: Annotated[Tensor, "k cells"]) -> Annotated[Tensor, "k"]:
    """The weights of `Overlap` for one image."""
    first = (torch.from_numpy(weights.channels) @ cells).relu()
    shifted = cells - cells.amin(dim=1, keepdim=True)
    top = shifted.amax(dim=1, keepdim=True)
    alpha = (shifted / top.clamp(min=SMALLEST)) @ first
    live = top[:, 0] > 0
    if len(cells) > 1 and live.any():
        alpha = (alpha - alpha[live].mean()) * live
    return alpha
