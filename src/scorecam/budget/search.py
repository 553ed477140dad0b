"""The search for the few masks that determine a heatmap.

Masks are scored in rounds. Each round takes the masks that are expected to reduce the error of the
heatmap the most. Nothing here runs a model.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scorecam.base.exact_products import exact_products
from scorecam.budget.estimate import (
    NOTHING_KNOWN,
    MapEstimate,
    estimate,
    scaled_effects,
    uncertainty_of,
)
from scorecam.budget.gaussian_process import Posterior, Surrogate
from scorecam.budget.plan import Plan
from scorecam.cam import Head, Variant
from scorecam.model.columns import reduced, two_sided
from scorecam.shapes import Columns, Grid, Scores, Weights

ROUND = 8
"""Masks scored in the first rounds; later rounds are larger."""

FLOOR = 0.1
"""Added to every slope, relative to their mean: the process may be wrong about a fixed weight."""

SEPARATE_COLUMNS = 64
"""The largest columns, which stay separate during the search; the others are combined into one."""


class BudgetedSearch:
    """Selects the masks of one image in rounds, until its plan says to stop.

    `select` names the masks of a round, `update` takes their scores. One thread uses it.

    Args:
        surrogate: of the image's distinct masks.
        image_scores: Z(X), `n`.
        column: the column to explain.
        plan: when to stop.

    Attributes:
        selected: the masks selected so far, in order.
        uncertainty: how far the exact map may be from the estimated one.
        most: the most masks that may be selected.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        image_scores: Columns,
        column: int,
        plan: Plan,
    ) -> None:
        self.surrogate = surrogate
        self.plan = plan
        self.selected: list[int] = []
        self.uncertainty = NOTHING_KNOWN
        self.most = int(min(len(surrogate), plan.most))
        if len(image_scores) == 1:  # a value, or one of the two sides of a yes-or-no answer
            self._columns = torch.tensor([column], device=image_scores.device)
            self._column = 0
        else:
            self._columns, self._column = large_columns(image_scores, column)
        self._image_scores = image_scores
        self._posterior: Posterior | None = None
        self._scores: Scores | None = None
        self._estimate: MapEstimate | None = None

    @property
    def done(self) -> bool:
        """Whether enough masks were scored."""
        count = len(self.selected)
        return count >= self.most or (
            count >= self.plan.least and self.plan.reached(self.uncertainty)
        )

    def select(self, *, spare: int = 0) -> Tensor:
        """The indices of the masks to score next; empty when the search is done.

        Args:
            spare: places of the round that the caller needs for other images.
        """
        if self.done:
            return torch.zeros(0, dtype=torch.int64)
        with exact_products(self.surrogate.maps.device):
            return self._select(spare)

    def _select(self, spare: int) -> Tensor:
        count = max(ROUND, len(self.selected) // (8 * ROUND) * ROUND) - spare
        count = min(count, self.most - len(self.selected))
        if self._estimate is None or self._posterior is None:
            # Before the first scores, every mask counts the same.
            even = torch.full_like(self.surrogate.maps[:, 0], 1 / len(self.surrogate))
            maps = self.surrogate.maps
            effects = scaled_effects(even @ maps, even[:, None] * maps)
            posterior = self.surrogate.given(self.selected)
        else:
            effects = self._estimate.effects(self.surrogate, FLOOR)
            posterior = self._posterior
        chosen = posterior.choose(effects, count, self.selected)
        self.selected += chosen
        return torch.tensor(chosen, dtype=torch.int64)

    def update(self, scores: Scores, fill: Columns, head: Head, variant: Variant) -> None:
        """Take the scores of the masks that `select` returned, `s n`, and of the fill, `n`.

        Args:
            variant: of the heatmap. It may depend on the head, so it is not known any earlier.
        """
        with exact_products(self.surrogate.maps.device):
            self._update(scores, fill, head, variant)

    def _update(self, scores: Scores, fill: Columns, head: Head, variant: Variant) -> None:
        columns = reduced(two_sided(scores, head), self._columns, head)
        self._scores = columns if self._scores is None else torch.cat([self._scores, columns])
        finite = self._scores.isfinite().all(dim=1)
        if not finite.any():
            return
        known_masks = [mask for mask, ok in zip(self.selected, finite.tolist(), strict=True) if ok]
        known_scores = self._scores[finite]
        self._posterior = self.surrogate.given(known_masks)
        whole = two_sided(self._image_scores[None], head)
        ends = torch.cat([two_sided(fill[None], head), whole])
        ends = reduced(ends, self._columns, head)
        aim = self._column, variant
        self._estimate = estimate(self._posterior, known_scores, ends, head=head, aim=aim)
        if len(self.selected) >= self.plan.least and self.plan.until < math.inf:
            self.uncertainty = uncertainty_of(self._posterior, known_scores, self._estimate)

    def weights(self) -> Weights:
        """α of every distinct mask as estimated so far, `k` float32; zeros before any score."""
        if self._estimate is None:
            return torch.zeros_like(self.surrogate.maps[:, 0])
        return self._estimate.weights

    def field(self) -> Grid | None:
        """The evidence field as estimated so far; None if the variant does not use it."""
        if self._estimate is None or not self._estimate.variant.field:
            return None
        with exact_products(self.surrogate.maps.device):
            return self.surrogate.on_grid(self._estimate.field(self.surrogate))


def large_columns(image_scores: Columns, column: int) -> tuple[Tensor, int]:
    """The largest columns and `column`, in order, and the place of `column` among them."""
    columns = torch.arange(len(image_scores), device=image_scores.device)
    if len(image_scores) > SEPARATE_COLUMNS:
        largest = image_scores.topk(SEPARATE_COLUMNS).indices
        columns = torch.cat([largest, largest.new_tensor([column])]).unique()
    return columns, int((columns == column).nonzero()[0, 0])
