"""The scores of all masks of a bank: those that were computed, and predictions of the others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from scorecam import cam
from scorecam.bank.parts import MOST_PAIRS
from scorecam.base.cached_property import cached_property
from scorecam.budget.gaussian_process import Posterior, Surrogate
from scorecam.cam import Masking
from scorecam.errors import BankError
from scorecam.shapes import Activations, Columns, Grid, Scores


@dataclass(frozen=True)
class _Masks:
    """The distinct masks of the channels in the map, and the process over them.

    Args:
        surrogate: the process.
        first: one channel of each mask, `d`: indices into the channels in the map.
        inverse: the mask of each channel in the map.
    """

    surrogate: Surrogate
    first: Tensor
    inverse: Tensor


@dataclass(frozen=True)
class _Known:
    """The process given the scores that were computed.

    Args:
        posterior: given those scores.
        scores: one row per mask in the posterior, in its order.
    """

    posterior: Posterior
    scores: Scores


@dataclass(frozen=True, eq=False)
class Completion:
    """The scores of every channel that enters the heatmap, predicted where necessary.

    Predictions are linear in the scores. They are computed on reading and never stored.

    Args:
        activations, live, asked, scores: as in `ScoreBank`.
        masking: how activations became masks.
        seed: for the samples that errors are estimated from.
    """

    activations: Activations
    live: Tensor
    asked: Tensor
    scores: Scores
    masking: Masking
    seed: int

    @cached_property
    def answered(self) -> Tensor:
        """Which of the scored masks have finite scores, `s` bool; the others are ignored."""
        return self.scores.isfinite().all(dim=1)

    @property
    def exact(self) -> bool:
        """Whether every mask was scored."""
        return len(self.asked) == len(self.live)

    @cached_property
    def channels(self) -> Tensor:
        """The channels that enter the heatmap: live, and without a score that is not finite."""
        ignored = torch.zeros(len(self.activations), dtype=torch.bool, device=self.live.device)
        ignored[self.asked[~self.answered]] = True
        return self.asked[self.answered] if self.exact else self.live[~ignored[self.live]]

    @cached_property
    def scores_of_channels(self) -> Scores:
        """Z of every channel that enters the heatmap, in the order of `channels`."""
        if self.exact:
            return self.scores[self.answered]
        with cam.exact_products(self.activations.device):
            return self.known.posterior.complete(self.known.scores)[self._masks.inverse]

    @cached_property
    def _masks(self) -> _Masks:
        maps = self.activations[self.channels]
        first, inverse = cam.distinct(maps, self.masking)
        return _Masks(Surrogate(maps, first, inverse, self.seed), first, inverse)

    @cached_property
    def known(self) -> _Known:
        """The process given the computed scores."""
        masks, device = self._masks, self.activations.device
        row_of_channel = torch.full((len(self.activations),), -1, dtype=torch.int64, device=device)
        row_of_channel[self.asked] = torch.arange(len(self.asked), device=device)
        # Channels that share a mask either all have a score, or none has.
        rows = torch.full_like(masks.first, -1).scatter_reduce(
            0, masks.inverse, row_of_channel[self.channels], reduce="amax"
        )
        scored = (rows >= 0).nonzero()[:, 0]
        posterior = masks.surrogate.given(scored.tolist())
        return _Known(posterior, self.scores[rows[scored]])

    def fields(self, fill: Columns, image: Columns) -> Annotated[Tensor, "cells n"]:
        """The evidence field of every column; see `Surrogate.field`.

        Args:
            fill, image: Z(fill) and Z(X), in the columns of `scores`.

        Raises:
            BankError: there are too many masks.
        """
        first = self._masks.first
        if len(first) ** 2 > MOST_PAIRS:
            raise BankError(
                "This variant compares every mask with every other. The limit is "
                f"{math.isqrt(MOST_PAIRS):,} masks, and there are {len(first):,}.",
                do="Use another variant, such as official, or a layer with fewer channels.",
            )
        with cam.exact_products(self.activations.device):
            return self._masks.surrogate.field(self.scores_of_channels[first], fill, image)

    def on_grid(self, field: Annotated[Tensor, "cells"]) -> Grid:
        """A field of one column on the layer's grid, signed."""
        return self._masks.surrogate.on_grid(field)
