"""The similarity of two heatmaps: 1 for identical maps, NaN if one of them is constant.

The three measures in `SIMILARITIES` are those of Adebayo et al. 2018; they compare maps scaled to
[0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from scorecam.io.extras import require
from scorecam.metrics.masks import soft_mask
from scorecam.shapes import Heatmap

Pixels = npt.NDArray[np.float64]


def pearson(one: Heatmap, other: Heatmap) -> float:
    """The correlation of the pixels of two maps; NaN if one of them is constant."""
    pair = torch.stack([one.flatten(), other.flatten().to(one)]).double()
    centred = pair - pair.mean(dim=1, keepdim=True)
    lengths = centred.norm(dim=1)
    if float(lengths.min()) <= 1e-12 * float(pair.abs().max()):
        return math.nan
    return float(((centred[0] @ centred[1]) / lengths.prod()).clamp(-1, 1))


def spearman(one: Heatmap, other: Heatmap) -> float:
    """The correlation of the pixels' ranks, in [-1, 1]; equal pixels share their mean rank."""
    first, second = _pixels(one), _pixels(other)
    if _is_constant(first) or _is_constant(second):
        return math.nan
    return float(_scipy_stats().spearmanr(first.ravel(), second.ravel()).statistic)


def ssim(one: Heatmap, other: Heatmap) -> float:
    """Structural similarity (Wang et al. 2004) with windows of 7 × 7 pixels, in [-1, 1]."""
    first, second = _pixels(one), _pixels(other)
    if _is_constant(first) or _is_constant(second) or min(first.shape) < 7:
        return math.nan
    metrics = _skimage("metrics")
    return float(metrics.structural_similarity(first, second, win_size=7, data_range=1.0))


def hog(one: Heatmap, other: Heatmap) -> float:
    """Pearson correlation of histograms of oriented gradients: 9 bins, cells of 16 × 16 pixels.

    NaN for maps without rows and columns.
    """
    first, second = _pixels(one), _pixels(other)
    cell = min(16, min(first.shape) // 2) if first.ndim == 2 else 0
    if _is_constant(first) or _is_constant(second) or cell < 2:
        return math.nan
    feature = _skimage("feature")

    def histograms(pixels: Pixels) -> Pixels:
        return feature.hog(pixels, 9, (cell, cell), (1, 1), feature_vector=True)

    pair = histograms(first), histograms(second)
    if _is_constant(pair[0]) or _is_constant(pair[1]):
        return math.nan
    return float(np.corrcoef(*pair)[0, 1])


SIMILARITIES: dict[str, Callable[[Heatmap, Heatmap], float]] = {
    "spearman": spearman,
    "ssim": ssim,
    "hog": hog,
}
"""By name."""


def _pixels(heatmap: Heatmap) -> Pixels:
    return soft_mask(heatmap.detach().float()).double().cpu().numpy()


def _is_constant(pixels: Pixels) -> bool:
    return float(pixels.max() - pixels.min()) <= 1e-12


def _scipy_stats() -> Any:
    return require("scipy.stats", "eval", "compare heatmaps")


def _skimage(part: str) -> Any:
    return require(f"skimage.{part}", "eval", "compare heatmaps")
