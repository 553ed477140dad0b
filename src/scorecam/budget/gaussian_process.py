"""What masks that were not asked about must have scored: a Gaussian process over masks.

A score is a smooth function of the few numbers a mask is made of: its content on the layer's grid.
The process, conditioned on the masks that were asked, predicts the scores of the others, linearly
in the scores and for every column at once (Rasmussen and Williams, Gaussian Processes for Machine
Learning, 2006, eq. 2.25 and 2.26), and knows how far it may be off.

Nothing here runs a model, or knows what the scores are for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn

from scorecam.base.interpolation import upsample
from scorecam.base.once import cached_property
from scorecam.shapes import Activations, Columns, Grid, Scores, Weights

# How scores vary with masks, in units of one another: found on EfficientNet-Lite0; what they give
# on other networks is in docs/speed.md.
CONSTANT = 30.0  # what all masks share
LINEAR = 24.5  # in the mask's mean content
SMOOTH = 13.3  # in its shape ...
REACH = 0.77  # ... up to this distance, in medians of the distances between masks
OWN = 1.9  # what no other mask tells
NOISE = 0.002  # of the variance: rounding, and what half precision adds
SAMPLED = 256
"""Masks from which the median distance is taken."""

BLOCK = 512
"""Rows of the covariance that are made at a time."""

CELLS = 256
"""A mask's content is pooled to at most this many numbers."""

STEPS = 10
"""Places on the way from the empty to the whole mask where the evidence field is read."""

DRAWS = 48
"""Functions that are drawn from the process ..."""

WAVES = 512
"""... each a sum of so many waves."""


class Surrogate:
    """A Gaussian process over the distinct masks of one image.

    The covariance of every mask with every other is never kept, only made a few rows at a time:
    memory grows with the number of masks, not its square. (But for `field`, which inverts it.)

    Args:
        activations: `l *g` float32, live channels only (see `cam.live`).
        first, inverse: which of them have a mask of their own (see `cam.distinct`).
        seed: for what is drawn to estimate errors.

    Attributes:
        maps: what each mask's weight multiplies: the sum of its channels' maps, `k cells`.
        variance: of every score before anything was asked, `k`.
    """

    def __init__(
        self, activations: Activations, first: Tensor, inverse: Tensor, seed: int = 0
    ) -> None:
        self._seed = seed
        content = _pooled(activations)
        self._grid, self._pooled = activations.shape[1:], content.shape[1:]
        pooled = content.flatten(1)
        self.maps = pooled
        if len(first) < len(inverse):
            self.maps = torch.zeros_like(pooled[: len(first)]).index_add_(0, inverse, pooled)
        self._content = _pooled(_unit(activations[first])).flatten(1)
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

    def given(self, asked: Sequence[int]) -> Posterior:
        """What is known once these masks have been asked."""
        return Posterior(self, list(asked))

    def rows(self, masks: Tensor) -> Annotated[Tensor, "s k"]:
        """How these masks' scores vary with all others, before anything was asked."""
        rows = self._smooth(masks).addmm_(self._linear[masks], self._linear.T).add_(CONSTANT)
        rows[torch.arange(len(masks)), masks] += OWN
        return rows

    def spread(self, effects: Annotated[Tensor, "k cells"]) -> Annotated[Tensor, "k cells"]:
        """The covariance of every score with every cell, before anything was asked."""
        blocks = torch.arange(len(self)).split(BLOCK)
        smooth = torch.cat([self._smooth(block) @ effects for block in blocks])
        rest = CONSTANT * effects.sum(dim=0) + OWN * effects
        return smooth.add_(rest).addmm_(self._linear, self._linear.T @ effects)

    def field(self, scores: Scores, empty: Columns, whole: Columns) -> Annotated[Tensor, "cells n"]:
        """How much each cell's being shown adds to the scores, on the way from nothing to all.

        The integrated gradients (Sundararajan et al. 2017) of the process's mean, from the empty
        mask to the whole one: E = ∫ ∂f/∂h at h = t·1 over t in (0, 1), where f is conditioned on
        every mask's score and on the scores of those two. No network is differentiated.

        Args:
            scores: of every mask, `k n`.
            empty: of the empty image, Z(fill), `n`.
            whole: of the image itself, Z(X), `n`.

        Returns:
            Linear in the scores.
        """
        mean = scores.mean(dim=0)
        known = torch.cat([scores, empty[None], whole[None]]) - mean
        return (self._pull @ known.double()).to(scores.dtype).nan_to_num(0.0, 0.0, 0.0)

    def on_grid(self, cells: Annotated[Tensor, "cells"]) -> Grid:
        """Numbers for the cells of the content as a map on the layer's grid."""
        return upsample(cells.reshape(1, *self._pooled), self._grid)[0]

    @property
    def pull(self) -> Annotated[Tensor, "cells k"]:
        """How much each cell of the evidence field moves per unit of each mask's score."""
        return self._pull[:, :-2]

    @cached_property
    def _pull(self) -> Annotated[Tensor, "cells k+2"]:
        """The same for the scores of the empty and the whole mask too, which come last; float64."""
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

    def _smooth(self, masks: Tensor) -> Annotated[Tensor, "s k"]:
        return (self._left[masks] @ self._right.T).exp_()

    @cached_property
    def draws(self) -> tuple[Annotated[Tensor, "k draws"], Annotated[Tensor, "k draws"]]:
        """Scores as the process thinks them possible before anything was asked, and noise.

        Every part of the covariance is drawn by itself, the smooth one as a sum of random waves
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
    """The median distance between masks: every so many-th of them tells it well enough."""
    some = content[:: max(1, len(content) // SAMPLED)]
    # Distances are told from products: what is much smaller than those is rounding.
    least = 0.01 * float(some.norm(dim=1).mean()) if len(some) else 0.0
    return max(float(torch.cdist(some, some).median()), least, 1e-6)


class Posterior:
    """What the process knows of every mask's score, given those asked."""

    def __init__(self, surrogate: Surrogate, asked: list[int]) -> None:
        self.surrogate = surrogate
        self.asked = asked
        rows = surrogate.rows(torch.tensor(asked, dtype=torch.int64))
        own = rows[:, asked] + surrogate.noise * torch.eye(len(asked)).to(rows)
        self._root = torch.linalg.cholesky(own)
        # K − F Fᵀ is the posterior covariance.
        self.factor = torch.linalg.solve_triangular(self._root, rows, upper=False).T
        self.variance = (surrogate.variance - (self.factor**2).sum(dim=1)).clamp(min=0)

    def complete(self, scores: Scores) -> Scores:
        """The scores of every mask: those asked as they are, the others predicted.

        Args:
            scores: of the masks asked, in that order, `s n`.

        Returns:
            `k n`, linear in `scores`.
        """
        mean, rest = self._centred(scores)
        completed = self.factor @ self._whitened(rest) + mean
        completed[self.asked] = scores
        return completed

    def amplitudes(self, scores: Scores) -> Columns:
        """How much each column varies, `n`: the likeliest factor on the covariance."""
        _, rest = self._centred(scores)
        return (self._whitened(rest) ** 2).mean(dim=0)

    def doubt(self, scores: Columns) -> Columns:
        """One standard deviation of every mask's score in one column, given it where asked."""
        doubt = (self.variance * self.amplitudes(scores[:, None])).sqrt()
        doubt[self.asked] = 0
        return doubt

    def surprise(self, scores: Columns, importance: Weights) -> float:
        """How many standard deviations each asked score is from what the others predict of it.

        The root mean square over the masks asked, by importance: the process may fit the many
        scores that hardly count better than the few that do.
        """
        _, rest = self._centred(scores[:, None])
        inverse = torch.cholesky_inverse(self._root)
        left_out = (inverse @ rest)[:, 0] ** 2 / inverse.diagonal()
        weighted = (left_out * importance).sum() / divisor(importance.sum())
        return float(torch.maximum(weighted, left_out.mean()).sqrt())

    def _centred(self, scores: Scores) -> tuple[Columns, Scores]:
        """The mean of the process, by generalised least squares, and the scores less it."""
        ones = self._whitened(torch.ones_like(scores[:, :1]))
        mean = (ones.T @ self._whitened(scores))[0] / (ones**2).sum()
        return mean, scores - mean

    def _whitened(self, scores: Scores) -> Scores:
        return torch.linalg.solve_triangular(self._root, scores, upper=False)

    def choose(
        self, effects: Annotated[Tensor, "k cells"], count: int, closed: Sequence[int]
    ) -> list[int]:
        """The masks whose scores would tell most about the map, greedily.

        Args:
            effects: what one unit of each score does to each cell of the map.
            count: how many; no more than there are open.
            closed: masks that are not to be chosen.
        """
        noise = self.surrogate.noise
        factor, variance = self.factor, self.variance.clone()
        # Only proportions matter, and the squares of very large ones would overflow.
        effects = effects / divisor(effects.abs().max())
        seen = self._seen(effects)  # the covariance of every score with every cell
        barred = torch.zeros_like(variance)
        barred[list(closed)] = -math.inf
        chosen: list[int] = []
        for _ in range(count):
            gains = (seen**2).sum(dim=1) / (variance + noise) + barred
            best = int(gains.argmax())
            chosen.append(best)
            barred[best] = -math.inf
            column = self.surrogate.rows(torch.tensor([best]))[0] - factor @ factor[best]
            column = column / (variance[best] + noise).sqrt()
            seen = seen - torch.outer(column, column @ effects)
            variance = (variance - column**2).clamp(min=0)
            factor = torch.cat([factor, column[:, None]], dim=1)
        return chosen

    def deviations(self) -> Annotated[Tensor, "k draws"]:
        """How far the scores may be from what is predicted, drawn; zero where they were asked.

        Draws of the prior, each corrected by what it predicts of itself (Matheron's rule: Wilson
        et al., Pathwise Conditioning of Gaussian Processes, 2021, eq. 11).
        """
        drawn, noise = self.surrogate.draws
        predicted = self.factor @ self._whitened(drawn[self.asked] + noise[self.asked])
        deviations = drawn - predicted
        deviations[self.asked] = 0
        return deviations

    def _seen(self, effects: Tensor) -> Tensor:
        """The posterior covariance times `effects`."""
        return self.surrogate.spread(effects) - self.factor @ (self.factor.T @ effects)


def divisor(span: Tensor) -> Tensor:
    """The span, or 1 where it is none: maps of improbable classes may be 1e-35 high."""
    return torch.where(span > 0, span, 1.0)
