"""A heatmap estimated from the scores of a few masks, and its error.

The Gaussian process over masks predicts the scores that were not computed, and how uncertain they
are. The variant turns both into a map and its uncertainty. Nothing here runs a model.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from scorecam.base.cached_property import cached_property
from scorecam.budget.gaussian_process import Posterior, Surrogate, divisor
from scorecam.cam import VARIANTS, Answers, Head, Variant, agreeing
from scorecam.shapes import Columns, Scores, Weights

QUANTILE = 0.9
CALIBRATION = 1.25
"""The estimated error is this quantile of the errors of sampled maps, times the calibration. The
estimated correlation is this quantile of theirs, from the top."""

SMALL_SAMPLE = 2
"""How much scores vary is estimated from the m known scores, so the error is scaled by 1 + 2/m."""

FAINT = 0.05
"""Values of a scaled map below which the slope of a geometric mean is too steep to use."""

STEP = 0.05
"""The smallest step of a score for a numerical derivative."""


def evidence(scores: Scores, head: Head, column: int, variant: Variant) -> Columns:
    """The quantity each weight depends on, `k`: the score, or its log-odds.

    Weights that are probabilities of logits depend on the log-odds, because the other columns are
    as uncertain as the target's.
    """
    if variant.reads != "p" or head != "logits" or scores.shape[1] == 1:
        return scores[:, column]
    other_columns = torch.arange(scores.shape[1], device=scores.device) != column
    return scores[:, column] - scores[:, other_columns].logsumexp(dim=1)


@dataclass(frozen=True)
class MapEstimate:
    """One heatmap of completed scores, and how it depends on the scores.

    Args:
        scores: of every distinct mask, `k n`: computed or predicted.
        ends: Z(fill) and Z(X), `2 n`.
        head: the kind of the scores.
        column: the target's column.
        variant: how scores become weights.
        deviation: the standard deviation of each mask's evidence, `k`.
        channels: the mask of each channel, if some channels share a mask.
    """

    scores: Scores
    ends: Scores
    head: Head
    column: int
    variant: Variant
    deviation: Columns
    channels: Tensor | None = None

    @cached_property
    def weights(self) -> Weights:
        """α, `k` float32."""
        return self._weights(Answers(self.scores, self.ends[0], self.head))

    @cached_property
    def slopes(self) -> Weights:
        """The change of each weight per unit of its own score, `k`, for any variant.

        A central difference over one standard deviation, with alternating signs, so that changes
        which all weights share, such as those of a softmax's sum, nearly cancel.
        """
        steps = self.deviation.clamp(min=STEP)
        signed = steps.clone()
        signed[1::2] *= -1
        up, down = self.weights_after(torch.stack([signed, -signed], dim=1))
        return (up - down) / (2 * signed)

    def weights_after(self, changes: Annotated[Tensor, "k draws"]) -> Annotated[Tensor, "draws k"]:
        """α after each of these changes of the masks' evidence.

        Changing a logit changes its log-odds by as much.
        """
        if VARIANTS.get(self.variant.name) is not self.variant:
            return torch.stack([self._weights(self._changed(change)) for change in changes.T])
        # Our own variants depend on the evidence only, and have no branches.
        known, fill = self._evidence
        logits = self.head == "logits" and self.variant.reads == "p" and self.scores.shape[1] > 1
        head: Head = "sigmoid" if logits else self.head  # of log-odds: the same probability

        def weights(change: Columns) -> Weights:
            return self._weights(Answers((known + change)[:, None], fill, head), 0)

        return torch.vmap(weights, in_dims=1)(changes)

    @cached_property
    def _evidence(self) -> tuple[Columns, Columns]:
        """The evidence of every mask, `k`, and of the empty image, `1`."""
        both = (self.scores, self.ends[:1])
        masks, fill = (evidence(some, self.head, self.column, self.variant) for some in both)
        return masks, fill

    def _changed(self, change: Columns) -> Answers:
        scores = self.scores.clone()
        scores[:, self.column] += change
        return Answers(scores, self.ends[0], self.head)

    def _weights(self, answers: Answers, column: int | None = None) -> Weights:
        """α of each mask. A mean or a sum over k is over channels, not over masks."""
        masks = len(answers.scores)
        if self.channels is not None:
            answers = dataclasses.replace(answers, scores=answers.scores[self.channels])
        weights = self.variant.weights(answers, self.column if column is None else column)
        weights = weights.nan_to_num(0.0, 0.0, 0.0)
        if self.channels is None:
            return weights
        return weights.new_zeros(masks).index_copy(0, self.channels, weights)

    def grid(self, surrogate: Surrogate) -> Annotated[Tensor, "cells"]:
        """The map on the surrogate's cells, at least 0."""
        signed = self.weights @ surrogate.maps
        return agreeing(signed, self.field(surrogate)) if self.variant.field else signed.relu()

    def field(self, surrogate: Surrogate) -> Annotated[Tensor, "cells"]:
        """The evidence field on the surrogate's cells, signed."""
        return self._fields(surrogate, self.scores[:, self.column, None])[0]

    def maps_after(
        self, surrogate: Surrogate, changes: Annotated[Tensor, "k draws"]
    ) -> Annotated[Tensor, "draws cells"]:
        """The map after each of these changes of the evidence."""
        maps = self.weights_after(changes) @ surrogate.maps
        if not self.variant.field:
            return maps.relu()
        changed = self.scores[:, self.column, None] + changes
        return agreeing(maps, self._fields(surrogate, changed))

    def _fields(self, surrogate: Surrogate, scores: Scores) -> Annotated[Tensor, "b cells"]:
        """The evidence fields of these scores of the column, `k b`."""
        empty, whole = self.ends[:, self.column, None].expand(-1, scores.shape[1])
        return surrogate.field(scores, empty, whole).T

    def effects(self, surrogate: Surrogate, floor: float = 0.0) -> Annotated[Tensor, "k cells"]:
        """The change of each cell of the scaled map per unit of each score, to first order.

        Cells at 0 after ReLU do not change, nor does the cell of the maximum, which the map is
        scaled by.

        Args:
            floor: added to every slope, relative to their mean.
        """
        slopes = self.slopes
        slopes = slopes + floor * slopes.abs().mean()
        signed = self.weights @ surrogate.maps
        effects = slopes[:, None] * surrogate.maps
        if not self.variant.field:
            return scaled_effects(signed, effects)
        field = self.field(surrogate)
        result = agreeing(signed, field)
        # The logarithm of a geometric mean is half the sum of the logarithms. Where either part is
        # almost 0, the map is too.
        parts = (signed, effects), (field, surrogate.field_slopes.T.to(signed))
        share = [effect / torch.where(result > FAINT, part, math.inf) for part, effect in parts]
        return scaled_effects(result, result * (share[0] + share[1]) / 2)


def scaled_effects(
    map_: Annotated[Tensor, "cells"], effects: Annotated[Tensor, "k cells"]
) -> Annotated[Tensor, "k cells"]:
    """The derivative of the scaled map with respect to each score, from that of the map itself."""
    peak = int(map_.argmax())
    high = divisor(map_[peak])
    effects = effects * (map_ > 0)
    return ((effects - effects[:, peak, None] * (map_.relu() / high)) / high).nan_to_num()


def estimate(
    posterior: Posterior, known: Scores, ends: Scores, head: Head, aim: tuple[int, Variant]
) -> MapEstimate:
    """The map for a column and a variant, from the scores of the masks in the posterior.

    Args:
        known: the scores of those masks, `s n`.
        ends: Z(fill) and Z(X), `2 n`.
        aim: the column and the variant.
    """
    column, variant = aim
    deviation = posterior.deviation(evidence(known, head, column, variant))
    return MapEstimate(
        scores=posterior.complete(known),
        ends=ends,
        head=head,
        column=column,
        variant=variant,
        deviation=deviation,
        channels=posterior.surrogate.channels,
    )


@dataclass(frozen=True)
class Uncertainty:
    """How far the exact map may be from the estimated one.

    Args:
        error: the largest absolute error of the scaled map, in [0, 1].
        correlation: Pearson's, between the cells of the two maps; at most 1.
    """

    error: float
    correlation: float


NOTHING_KNOWN = Uncertainty(error=1.0, correlation=-1.0)


def uncertainty_of(posterior: Posterior, scores: Scores, estimate: MapEstimate) -> Uncertainty:
    """The estimated error of the map, and its estimated correlation with the exact map.

    Scores are sampled from the posterior and turned into maps by the variant itself: if weights
    are exponentials of scores, a linear approximation would be too small.

    Args:
        scores: of the masks in the posterior, `s n`.
    """
    if len(posterior.masks) < 2:
        return NOTHING_KNOWN  # one score does not show how much scores vary
    grid = estimate.grid(posterior.surrogate)
    if estimate.variant.field and not grid.any():
        return NOTHING_KNOWN  # one more score could change the empty map completely
    importance = estimate.slopes[posterior.masks].abs()
    known = evidence(scores, estimate.head, estimate.column, estimate.variant)
    surprise = posterior.surprise(known, importance)
    changes = surprise * posterior.sampled_errors()
    sampled = estimate.maps_after(posterior.surrogate, changes)
    small_sample = 1 + SMALL_SAMPLE / len(posterior.masks)
    errors = (_min_max(sampled) - _min_max(grid[None])).abs().amax(dim=1)
    error = small_sample * CALIBRATION * float(errors.quantile(QUANTILE))
    # What a correlation lacks of 1 grows with the square of the errors.
    lacks = small_sample**2 * float((1 - _correlation(sampled, grid)).quantile(QUANTILE))
    return Uncertainty(min(1.0, error), 1 - lacks)


def _correlation(
    maps: Annotated[Tensor, "b cells"], other: Annotated[Tensor, "cells"]
) -> Annotated[Tensor, "b"]:
    """Pearson's correlation of each map with the other one; 0 if one of them is constant."""
    maps, other = (some - some.mean(dim=-1, keepdim=True) for some in (maps, other))
    maps, other = (some / divisor(some.norm(dim=-1, keepdim=True)) for some in (maps, other))
    return maps @ other


def _min_max(maps: Annotated[Tensor, "b cells"]) -> Annotated[Tensor, "b cells"]:
    """Each map min-max scaled."""
    low, high = maps.aminmax(dim=1, keepdim=True)
    return (maps - low) / divisor(high - low)
