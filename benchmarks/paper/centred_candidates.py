"""The candidates next to `centred`: what else could be made of the same scores.

Each reads an exact bank, without further passes. `readings.py --candidates centred` measures them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from scorecam import ScoreBank, cam

Candidate = Callable[[ScoreBank, int], Tensor]
Weighting = Callable[[Tensor, int], Tensor]
"""(logits of the live channels, `l n`; the class) → weights, `l`."""


def weighted(weights: Weighting) -> Candidate:
    """ReLU(Σ α_k A_k) with these weights."""

    def read(bank: ScoreBank, target: int) -> Tensor:
        maps = bank.activations[bank.live]
        return cam.weighted_sum(maps, weights(bank.scores, target)).relu()

    return read


def named(variant: str) -> Candidate:
    """A variant of the package, on the layer's grid."""
    return lambda bank, target: bank.heatmap(target, variant, size=bank.activations.shape[1:])


# ── weights ──────────────────────────────────────────────────────────────────────────────────


def probability(scores: Tensor, target: int) -> Tensor:
    """p_t."""
    return scores.softmax(dim=1)[:, target]


def logit(scores: Tensor, target: int) -> Tensor:
    """z_t."""
    return scores[:, target]


def log_odds(scores: Tensor, target: int) -> Tensor:
    """z_t minus the logarithm of the sum of the other exponentials."""
    others = torch.arange(scores.shape[1]) != target
    return scores[:, target] - scores[:, others].logsumexp(dim=1)


def log_probability(scores: Tensor, target: int) -> Tensor:
    """Log p_t."""
    return scores.log_softmax(dim=1)[:, target]


def less_mean(quantity: Weighting, share: float = 1.0) -> Weighting:
    """The quantity minus its mean over the channels, or minus a share of the mean."""

    def weights(scores: Tensor, target: int) -> Tensor:
        values = quantity(scores, target)
        return values - share * values.mean()

    return weights


def less_median(scores: Tensor, target: int) -> Tensor:
    """p_t minus its median."""
    p = probability(scores, target)
    return p - p.median()


def above_mean(scores: Tensor, target: int) -> Tensor:
    """p_t minus its mean, where that is positive."""
    return less_mean(probability)(scores, target).relu()


# ── readings that are not a weighted sum of the maps ─────────────────────────────────────────


def content(bank: ScoreBank) -> Tensor:
    """The content of every mask on the layer's grid, `l cells` in [0, 1]."""
    flat = bank.activations[bank.live].flatten(1)
    low, high = flat.aminmax(dim=1, keepdim=True)
    return (flat - low) / (high - low)


def centred_p(bank: ScoreBank, target: int) -> Tensor:
    """p_t minus its mean, `l`."""
    return less_mean(probability)(bank.scores, target)


def on_grid(bank: ScoreBank, cells: Tensor) -> Tensor:
    """The positive part of cells, on the layer's grid."""
    return cells.relu().reshape(bank.activations.shape[1:])


def of_masks(bank: ScoreBank, target: int) -> Tensor:
    """Σ α_k H_k instead of Σ α_k A_k."""
    return on_grid(bank, centred_p(bank, target) @ content(bank))


def without_area(bank: ScoreBank, target: int) -> Tensor:
    """The residual of p_t regressed on the masks' area and a constant."""
    p = probability(bank.scores, target)
    area = content(bank).mean(dim=1)
    design = torch.stack([torch.ones_like(area), area], dim=1).double()
    fitted = design @ torch.linalg.lstsq(design, p.double()[:, None]).solution
    maps = bank.activations[bank.live]
    return cam.weighted_sum(maps, p - fitted[:, 0].float()).relu()


def per_spread(power: float) -> Candidate:
    """`centred` divided by the spread of each cell's activations over the channels.

    Args:
        power: 1 for the standard deviation, a correlation; 2 for the variance, a slope.
    """

    def read(bank: ScoreBank, target: int) -> Tensor:
        maps = bank.activations[bank.live].flatten(1)
        spread = maps.std(dim=0).clamp(min=1e-6)
        return on_grid(bank, centred_p(bank, target) @ maps / spread**power)

    return read


def least_squares(ridge: float) -> Candidate:
    """The coefficients of p_t on the masks' content, with an intercept and a ridge.

    Args:
        ridge: relative to the mean of the diagonal.
    """

    def read(bank: ScoreBank, target: int) -> Tensor:
        masks = content(bank).double()
        masks = masks - masks.mean(dim=0)
        gram = masks.T @ masks
        gram += ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
        right = masks.T @ centred_p(bank, target).double()
        return on_grid(bank, torch.linalg.solve(gram, right).float())

    return read


CANDIDATES: dict[str, Candidate] = {
    "official": named("official"),
    "mean: equal weights": weighted(lambda scores, _: torch.full_like(scores[:, 0], 1.0)),
    "algorithm1": named("algorithm1"),
    "increase": named("increase"),
    "consensus": named("consensus"),
    "p minus its mean (centred)": named("centred"),
    "p minus half its mean": weighted(less_mean(probability, 0.5)),
    "p minus its median": weighted(less_median),
    "p minus its mean, positive part": weighted(above_mean),
    "z minus its mean": weighted(less_mean(logit)),
    "log-odds minus their mean": weighted(less_mean(log_odds)),
    "log p minus its mean": weighted(less_mean(log_probability)),
    "p without its regression on the mask's area": without_area,
    "centred, with H_k for A_k": of_masks,
    "centred, per standard deviation of the cell": per_spread(1.0),
    "centred, per variance of the cell": per_spread(2.0),
    "least squares on the masks, ridge 0.02": least_squares(0.02),
    "least squares on the masks, ridge 0.2": least_squares(0.2),
}
"""Every candidate, by name."""
