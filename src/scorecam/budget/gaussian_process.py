"""A Gaussian process over masks, which predicts the scores of masks that were not scored.

A score is a smooth function of the mask, which is a few numbers on the layer's grid. Given some
scores, the process predicts the others, linearly in the scores and for all columns at once, and
gives their uncertainty (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006,
eq. 2.25 and 2.26).

Nothing here runs a model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

from scorecam.base.cached_property import cached_property
from scorecam.base.interpolation import upsample
from scorecam.shapes import Activations, Columns, Grid, Scores, Weights

# The parts of the covariance of scores, relative to each other. They were fitted on
# EfficientNet-Lite0; docs/speed.md has results on other networks.
CONSTANT = 30.0
"""Variance that all masks share."""

LINEAR = 24.5
"""Variance that is linear in the mask's content."""

SMOOTH = 13.3
"""Variance that is a smooth function of the mask's content (a squared exponential)."""

REACH = 0.77
"""The length scale of the smooth part, relative to the median distance between masks."""

OWN = 1.9
"""Variance of each mask that is independent of all others."""

NOISE = 0.002
"""Variance from rounding and half precision, relative to the mean variance."""

SAMPLED = 256
"""Masks from which the median distance is computed."""

BLOCK = 512
"""Rows of the covariance that are computed at a time."""

KEPT_ROWS = 2048
"""Up to this many masks, the smooth part of the covariance is computed once: 16 MiB at most."""

CELLS = 256
"""A mask's content is pooled to at most this many numbers."""

STEPS = 10
"""Points between the empty and the whole mask at which the evidence field is integrated."""

DRAWS = 48
"""Functions that are sampled from the process."""

WAVES = 512
"""Random waves that a sampled function is the sum of."""


class Surrogate:
    """A Gaussian process over the distinct masks of one image.

    The covariance of more than `KEPT_ROWS` masks is computed a few rows at a time, so memory grows
    with the number of masks, not with its square. Only `field` needs all of it.

    Args:
        activations: `l *g` float32, live channels only (see `cam.live`).
        first, inverse: the distinct masks (see `cam.distinct`).
        seed: for the samples that errors are estimated from.

    Attributes:
        maps: the sum of the maps of each mask's channels, `k cells`; a mask's weight multiplies it.
        variance: of every score before any is known, `k`.
        channels: the mask of each channel, `l`; None if every channel has its own.
    """

    def __init__(
        self, activations: Activations, first: Tensor, inverse: Tensor, seed: int = 0
    ) -> None:
        self._seed = seed
        content = _pooled(activations)
        self._grid, self._pooled = activations.shape[1:], content.shape[1:]
        pooled = content.flatten(1)
        self.maps = pooled
        self.channels = inverse if len(first) < len(inverse) else None
        if self.channels is not None:
            self.maps = torch.zeros_like(pooled[: len(first)]).index_add_(0, inverse, pooled)
        parts = first.split(BLOCK)
        self._content = torch.cat([_pooled(_unit(activations[part])) for part in parts]).flatten(1)
        cells = self._content.shape[1]
        self._linear = math.sqrt(LINEAR / cells) * self._content
        self._reach = REACH * _typical_distance(self._content)
        # exp(−d²/2) as exp(h·h' − |h|²/2 − |h'|²/2): one product gives all exponents.
        reached = self._content / self._reach
        halves = (reached**2).sum(dim=1, keepdim=True) / 2
        ones = torch.ones_like(halves)
        self._left = torch.cat([reached, math.log(SMOOTH) - halves, ones], dim=1)
        self._right = torch.cat([reached, ones, -halves], dim=1)
        self.variance = CONSTANT + SMOOTH + OWN + (self._linear**2).sum(dim=1)
        self.noise = NOISE * (float(self.variance.mean()) - CONSTANT)

    def __len__(self) -> int:
        return len(self.maps)

    def given(self, masks: Sequence[int]) -> Posterior:
        """The process given the scores of these masks."""
        return Posterior(self, list(masks))

    def rows(self, masks: Tensor) -> Annotated[Tensor, "s k"]:
        """The prior covariance of these masks' scores with all scores."""
        rows = self._smooth(masks).addmm_(self._linear[masks], self._linear.T).add_(CONSTANT)
        rows[torch.arange(len(masks), device=masks.device), masks] += OWN
        return rows

    def spread(self, effects: Annotated[Tensor, "k cells"]) -> Annotated[Tensor, "k cells"]:
        """The prior covariance of every score with every cell of the map."""
        smooth = self._all_smooth @ effects if self._is_small else self._smooth_by_blocks(effects)
        rest = CONSTANT * effects.sum(dim=0) + OWN * effects
        return smooth.add_(rest).addmm_(self._linear, self._linear.T @ effects)

    def field(self, scores: Scores, empty: Columns, whole: Columns) -> Annotated[Tensor, "cells n"]:
        """The evidence field: how much showing each cell adds to the scores.

        These are the integrated gradients (Sundararajan et al. 2017) of the process's mean, from
        the empty mask to the whole one: E = ∫ ∂f/∂h at h = t·1 over t in (0, 1), where f is given
        the scores of every mask, of the empty mask and of the whole mask. No network is
        differentiated.

        Args:
            scores: of every mask, `k n`.
            empty: of the empty image, Z(fill), `n`.
            whole: of the image itself, Z(X), `n`.

        Returns:
            The field of each column. It is linear in the scores.
        """
        mean = scores.mean(dim=0)
        known = torch.cat([scores, empty[None], whole[None]]) - mean
        return (self._all_field_slopes @ known.double()).to(scores.dtype).nan_to_num(0.0, 0.0, 0.0)

    def on_grid(self, cells: Annotated[Tensor, "cells"]) -> Grid:
        """A map on the process's cells, upsampled to the layer's grid."""
        return upsample(cells.reshape(1, *self._pooled), self._grid)[0]

    @property
    def field_slopes(self) -> Annotated[Tensor, "cells k"]:
        """The change of each cell of the evidence field per unit of each mask's score."""
        return self._all_field_slopes[:, :-2]

    @cached_property
    def _all_field_slopes(self) -> Annotated[Tensor, "cells k+2"]:
        """As `field_slopes`, with the empty and the whole mask as the last two; float64."""
        content = self._content.double()
        cells = content.shape[1]
        content = torch.cat([content, content.new_zeros(1, cells), content.new_ones(1, cells)])
        linear = LINEAR / cells
        near = SMOOTH * (-(torch.cdist(content, content) ** 2) / (2 * self._reach**2)).exp()
        covariance = near + linear * content @ content.T + CONSTANT
        covariance.diagonal().add_(OWN + self.noise)
        slopes = linear * content.T.clone()
        for step in range(STEPS):
            share = (step + 0.5) / STEPS
            away = content - share
            closeness = SMOOTH * (-(away**2).sum(dim=1) / (2 * self._reach**2)).exp()
            slopes += (closeness[:, None] * away / self._reach**2).T / STEPS
        root = torch.linalg.cholesky(covariance)
        return torch.cholesky_solve(slopes.T, root).T

    def _smooth_by_blocks(self, effects: Annotated[Tensor, "k cells"]) -> Tensor:
        """The smooth covariance times the effects; one buffer, as new blocks fragment the heap."""
        smooth, buffer = torch.empty_like(effects), effects.new_empty(BLOCK, len(self))
        for start in range(0, len(self), BLOCK):
            left, out = self._left[start : start + BLOCK], smooth[start : start + BLOCK]
            rows = torch.mm(left, self._right.T, out=buffer[: len(left)]).exp_()
            torch.mm(rows, effects, out=out)
        return smooth

    @property
    def _is_small(self) -> bool:
        return len(self) <= KEPT_ROWS

    def _smooth(self, masks: Tensor) -> Annotated[Tensor, "s k"]:
        if self._is_small:
            return self._all_smooth[masks]
        return (self._left[masks] @ self._right.T).exp_()

    @cached_property
    def _all_smooth(self) -> Annotated[Tensor, "k k"]:
        return (self._left @ self._right.T).exp_()

    @cached_property
    def draws(self) -> tuple[Annotated[Tensor, "k draws"], Annotated[Tensor, "k draws"]]:
        """Scores sampled from the prior, and noise.

        Each part of the covariance is sampled separately, the smooth one as a sum of random waves
        (Rahimi and Recht, Random Features for Large-Scale Kernel Machines, 2007).
        """
        generator = torch.Generator().manual_seed(self._seed % 2**63)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float32).to(self._content)

        count, cells = self._content.shape
        phases = (
            2
            * math.pi
            * torch.rand(WAVES, generator=generator, dtype=torch.float32).to(self._content)
        )
        waves = (self._content @ normal(cells, WAVES) / self._reach + phases).cos_()
        drawn = math.sqrt(CONSTANT) * normal(1, DRAWS)
        drawn = drawn + self._linear @ normal(cells, DRAWS)
        drawn += math.sqrt(2 * SMOOTH / WAVES) * waves @ normal(WAVES, DRAWS)
        drawn += math.sqrt(OWN) * normal(count, DRAWS)
        return drawn, math.sqrt(self.noise) * normal(count, DRAWS)


def _pooled(maps: Activations) -> Activations:
    """Maps with at most `CELLS` cells."""
    axes = maps.ndim - 1
    most = int(CELLS ** (1 / axes) + 1e-9)
    size = [min(cells, most) for cells in maps.shape[1:]]
    if axes > 3 or size == list(maps.shape[1:]):
        return maps
    pools = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
    return pools[axes - 1](tuple(size))(maps)


def _unit(maps: Activations) -> Activations:
    """Each map scaled to [0, 1], as its mask is."""
    flattened = maps.flatten(1)
    low, high = flattened.aminmax(dim=1, keepdim=True)
    return ((flattened - low) / divisor(high - low)).reshape(maps.shape)


def _typical_distance(content: Annotated[Tensor, "k cells"]) -> float:
    """The median distance between masks, from an evenly spaced sample."""
    sample = content[:: max(1, len(content) // SAMPLED)]
    if not len(sample):
        return 1.0
    # Distances are computed from products; smaller ones are rounding errors.
    least = 0.01 * float(sample.norm(dim=1).mean())
    distances = torch.cdist(sample, sample).flatten().cpu().numpy()
    middle = (len(distances) - 1) // 2
    return max(float(np.partition(distances, middle)[middle]), least, 1e-6)  # torch's is slower


class Posterior:
    """The process given the scores of some masks.

    Args:
        masks: the indices of those masks.
    """

    def __init__(self, surrogate: Surrogate, masks: list[int]) -> None:
        self.surrogate = surrogate
        self.masks = masks
        rows = surrogate.rows(torch.tensor(masks, dtype=torch.int64))
        own = rows[:, masks] + surrogate.noise * torch.eye(len(masks)).to(rows)
        self._root = torch.linalg.cholesky(own)
        # K − F Fᵀ is the posterior covariance.
        self.factor = torch.linalg.solve_triangular(self._root, rows, upper=False).T
        self.variance = (surrogate.variance - (self.factor**2).sum(dim=1)).clamp(min=0)

    def complete(self, scores: Scores) -> Scores:
        """The scores of every mask: the known ones unchanged, the others predicted.

        Args:
            scores: the known ones, in the order of `masks`, `s n`.

        Returns:
            `k n`, linear in `scores`.
        """
        mean, rest = self._centred(scores)
        completed = self.factor @ self._whitened(rest) + mean
        completed[self.masks] = scores
        return completed

    def amplitudes(self, scores: Scores) -> Columns:
        """The most likely factor on the covariance for each column, `n`."""
        _, rest = self._centred(scores)
        return (self._whitened(rest) ** 2).mean(dim=0)

    def deviation(self, scores: Columns) -> Columns:
        """The standard deviation of every mask's score in one column, from the known scores."""
        deviation = (self.variance * self.amplitudes(scores[:, None])).sqrt()
        deviation[self.masks] = 0
        return deviation

    def surprise(self, scores: Columns, importance: Weights) -> float:
        """How far each known score is from its leave-one-out prediction, in standard deviations.

        The root mean square over the known scores; or over them weighted by importance, if that is
        larger: the process may fit unimportant scores better than important ones.
        """
        _, rest = self._centred(scores[:, None])
        inverse = torch.cholesky_inverse(self._root)
        left_out = (inverse @ rest)[:, 0] ** 2 / inverse.diagonal()
        weighted = (left_out * importance).sum() / divisor(importance.sum())
        return float(torch.maximum(weighted, left_out.mean()).sqrt())

    def _centred(self, scores: Scores) -> tuple[Columns, Scores]:
        """The mean of the process, by generalised least squares, and the scores minus the mean."""
        ones = self._whitened(torch.ones_like(scores[:, :1]))
        mean = (ones.T @ self._whitened(scores))[0] / (ones**2).sum()
        return mean, scores - mean

    def _whitened(self, scores: Scores) -> Scores:
        return torch.linalg.solve_triangular(self._root, scores, upper=False)

    def choose(
        self, effects: Annotated[Tensor, "k cells"], count: int, excluded: Sequence[int]
    ) -> list[int]:
        """The masks whose scores reduce the uncertainty of the map the most, chosen greedily.

        Args:
            effects: the change of each cell of the map per unit of each score.
            count: how many masks; at most those that are not in `excluded`.
            excluded: masks that must not be chosen.
        """
        noise = self.surrogate.noise
        factor, variance = self.factor, self.variance.clone()
        # Only ratios matter, and the squares of very large effects would overflow.
        effects = effects[:, effects.any(dim=0)] / divisor(effects.abs().max())
        covariance = self._covariance(effects)
        penalty = torch.zeros_like(variance)
        penalty[list(excluded)] = -math.inf
        chosen: list[Tensor] = []  # stays on the device: reading a number waits for it
        for _ in range(count):
            gains = (covariance**2).sum(dim=1) / (variance + noise) + penalty
            best = gains.argmax(keepdim=True)
            chosen.append(best)
            penalty[best] = -math.inf
            column = self.surrogate.rows(best)[0] - factor @ factor[best][0]
            column = column / (variance[best] + noise).sqrt()
            covariance = covariance - torch.outer(column, column @ effects)
            variance = (variance - column**2).clamp(min=0)
            factor = torch.cat([factor, column[:, None]], dim=1)
        return torch.cat(chosen).tolist() if chosen else []

    def sampled_errors(self) -> Annotated[Tensor, "k draws"]:
        """Posterior samples of the scores minus the posterior mean; zero for known scores.

        Samples of the prior minus their own predictions (Matheron's rule: Wilson et al., Pathwise
        Conditioning of Gaussian Processes, 2021, eq. 11).
        """
        drawn, noise = self.surrogate.draws
        predicted = self.factor @ self._whitened(drawn[self.masks] + noise[self.masks])
        errors = drawn - predicted
        errors[self.masks] = 0
        return errors

    def _covariance(self, effects: Tensor) -> Tensor:
        """The posterior covariance of every score with every cell of the map."""
        return self.surrogate.spread(effects) - self.factor @ (self.factor.T @ effects)


def divisor(span: Tensor) -> Tensor:
    """The span, or 1 where it is 0. It may be tiny: maps of improbable classes reach 1e-35."""
    return torch.where(span > 0, span, 1.0)
