"""Few masks instead of all: which to ask about, when to stop, and how far the map may be off.

Masks are asked in rounds, each round the ones that most reduce the expected error of the heatmap
itself, as far as the surrogate knows; what it does not know, seen through the map, is the error
that is stated.

Nothing here runs a model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from scorecam.base.once import cached_property
from scorecam.base.products import exact_products
from scorecam.base.wording import quoted
from scorecam.budget.gaussian_process import Posterior, Surrogate, divisor
from scorecam.cam import Answers, Head, Variant, agreeing
from scorecam.errors import SettingError, did_you_mean
from scorecam.io.ranges import BUDGET, TOLERANCE
from scorecam.model.columns import reduced, two_sided
from scorecam.shapes import Columns, Grid, Scores, Weights

BudgetSpec = int | Literal["exact", "fast"]

ROUND = 8
"""Masks asked before the next are chosen."""

CAREFUL = 15
"""Masks that a tolerance takes at least: with fewer, the estimate is lucky too often."""

FLOOR = 0.1
"""Channels whose weight seems fixed still count a little: the process may be wrong."""

CONFIDENCE = 0.9
CALIBRATION = 1.25
"""The stated error is the 0.9 quantile of drawn maps' errors, times this."""

FEW = 2
"""How much scores vary is itself told by the answers: of few, the stated error is 1 + 2/m times."""

FAINT = 0.05
"""Cells of a map, from 0 to 1, in which a geometric mean's slope is too steep to follow."""

STEP = 0.05
COLUMNS = 64
"""While masks are chosen and errors estimated, the smaller columns count as one."""


# ── budgets ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Plan:
    """When to stop asking.

    Args:
        least: masks that are asked in any case.
        most: masks that are never exceeded.
        until: stop where the estimated error of the scaled map is at most this.
        expected: about how many masks that takes, for those who weigh a price against it.
    """

    least: int
    most: float
    until: float
    expected: int = 40


FAST = Plan(least=7, most=192, until=0.12)
"""`budget="fast"`: see benchmarks/fidelity.py for what it keeps."""


def plan(budget: BudgetSpec, tolerance: float | None) -> Plan | None:
    """What a user's budget and tolerance mean; None where every mask is asked.

    Raises:
        SettingError: they are none, or both are given.
    """
    if tolerance is not None:
        if not isinstance(budget, str) or budget != "exact":
            raise SettingError(
                f"budget={quoted(budget)} and tolerance={quoted(tolerance)} both say when to stop.",
                do="Give one of them.",
            )
        if not TOLERANCE.holds(tolerance) or tolerance == 1:
            raise SettingError(
                f"tolerance={quoted(tolerance)} is not a number between 0 and 1.",
                do="It is the largest error of the scaled map that you accept, such as 0.02.",
            )
        return Plan(CAREFUL, math.inf, float(tolerance), expected=200)
    if isinstance(budget, str) and budget == "exact":
        return None
    if isinstance(budget, str) and budget == "fast":
        return FAST
    if not BUDGET.holds(budget):
        raise SettingError(
            f"budget={quoted(budget)} is not 'exact', 'fast' or a number of masks from "
            f"{BUDGET.least} to {BUDGET.most:,}.",
            likely=did_you_mean(budget, ("exact", "fast")),
            do="Use 'fast' where in doubt.",
        )
    return Plan(int(budget), int(budget), math.inf, expected=int(budget))


def described(budget: BudgetSpec, tolerance: float | None) -> str:
    """The budget in a result's record."""
    return str(budget) if tolerance is None else f"tolerance {tolerance:g}"


# ── from scores to a map and its error ───────────────────────────────────────────────────────


def evidence(scores: Scores, head: Head, column: int, variant: Variant) -> Columns:
    """What of each mask's scores the weights hang on, `k`: by this much they are uncertain.

    The column itself; where weights are probabilities made of logits, its log-odds, in which the
    other columns are as uncertain as the target's own.
    """
    if variant.reads != "p" or head != "logits" or scores.shape[1] == 1:
        return scores[:, column]
    others = torch.arange(scores.shape[1], device=scores.device) != column
    return scores[:, column] - scores[:, others].logsumexp(dim=1)


@dataclass(frozen=True)
class Reading:
    """One heatmap of completed scores: its weights, and how they hang on the scores.

    Args:
        scores: `k n`, of every live channel.
        ends: Z(fill) and Z(X), `2 n`.
        head: what the scores are.
        column: the target's.
        variant: how scores become weights.
        doubt: how uncertain each mask's evidence still is, one standard deviation, `k`.
    """

    scores: Scores
    ends: Scores
    head: Head
    column: int
    variant: Variant
    doubt: Columns

    @cached_property
    def weights(self) -> Weights:
        """α, `k` float32."""
        return self._weights(self.scores)

    @cached_property
    def slopes(self) -> Weights:
        """How far each weight moves per unit of its own score, for any variant.

        A central difference over one standard deviation, in alternating signs: what all weights
        share, such as a softmax's sum, nearly cancels, and what is left is each weight's own.
        """
        steps = self.doubt.clamp(min=STEP)
        signed = steps.clone()
        signed[1::2] *= -1
        return (self.moved(signed) - self.moved(-signed)) / (2 * signed)

    def moved(self, deviation: Columns) -> Weights:
        """α were the evidence off by `deviation`, `k`: as a logit moves, so do its log-odds."""
        scores = self.scores.clone()
        scores[:, self.column] += deviation
        return self._weights(scores)

    def _weights(self, scores: Scores) -> Weights:
        weights = self.variant.weights(Answers(scores, self.ends[0], self.head), self.column)
        return weights.nan_to_num(0.0, 0.0, 0.0)

    def grid(self, surrogate: Surrogate) -> Annotated[Tensor, "cells"]:
        """The map on the surrogate's cells, at least 0."""
        own = self.weights @ surrogate.maps
        return agreeing(own, self.field(surrogate)) if self.variant.field else own.relu()

    def field(self, surrogate: Surrogate) -> Annotated[Tensor, "cells"]:
        """The evidence field on the surrogate's cells, signed."""
        return self._fields(surrogate, self.scores[:, self.column, None])[0]

    def possible(
        self, surrogate: Surrogate, deviations: Annotated[Tensor, "k draws"]
    ) -> Annotated[Tensor, "draws cells"]:
        """The map were the evidence off by each of these."""
        maps = torch.stack([self.moved(each) for each in deviations.T]) @ surrogate.maps
        if not self.variant.field:
            return maps.relu()
        moved = self.scores[:, self.column, None] + deviations
        return agreeing(maps, self._fields(surrogate, moved))

    def _fields(self, surrogate: Surrogate, scores: Scores) -> Annotated[Tensor, "b cells"]:
        """The evidence fields of the column's scores, `k b`."""
        empty, whole = self.ends[:, self.column, None].expand(-1, scores.shape[1])
        return surrogate.field(scores, empty, whole).T

    def effects(self, surrogate: Surrogate, floor: float = 0.0) -> Annotated[Tensor, "k cells"]:
        """What one unit of each score does to each cell of the scaled map, to first order.

        Cells that ReLU mutes stay as they are, and so does the cell of the maximum, which the map
        is scaled by.
        """
        slopes = self.slopes
        slopes = slopes + floor * slopes.abs().mean()
        own = self.weights @ surrogate.maps
        effects = slopes[:, None] * surrogate.maps
        if not self.variant.field:
            return scaled_effects(own, effects)
        field = self.field(surrogate)
        shown = agreeing(own, field)
        # The logarithm of a geometric mean is half the sum of the logarithms; where either part is
        # nearly nothing, so is the map.
        parts = (own, effects), (field, surrogate.pull.T.to(own))
        share = [effect / torch.where(shown > FAINT, part, math.inf) for part, effect in parts]
        return scaled_effects(shown, shown * (share[0] + share[1]) / 2)


def scaled_effects(
    shown: Annotated[Tensor, "cells"], effects: Annotated[Tensor, "k cells"]
) -> Annotated[Tensor, "k cells"]:
    """The derivative of the scaled map by each score, given that of the map itself."""
    peak = int(shown.argmax())
    high = divisor(shown[peak])
    effects = effects * (shown > 0)
    return ((effects - effects[:, peak, None] * (shown.relu() / high)) / high).nan_to_num()


def read(
    posterior: Posterior, asked: Scores, ends: Scores, head: Head, aim: tuple[int, Variant]
) -> Reading:
    """What the answers `asked` (`s n`) make of the column and the variant aimed at.

    Args:
        ends: Z(fill) and Z(X), `2 n`.
    """
    doubt = posterior.doubt(evidence(asked, head, *aim))
    return Reading(posterior.complete(asked), ends, head, *aim, doubt)


def error_of(posterior: Posterior, asked: Scores, reading: Reading) -> float:
    """The estimated largest absolute error of a reading's scaled heatmap, in [0, 1].

    Maps are drawn from what the process still thinks possible, through the variant itself: where
    weights are exponentials of scores, no straight line tells how far they may go.

    Args:
        asked: the scores of the masks that were asked, `s n`.
    """
    if len(posterior.asked) < 2:
        return 1.0  # one answer does not tell how much scores vary
    grid = reading.grid(posterior.surrogate)
    if reading.variant.field and not grid.any():
        return 1.0  # where nothing agrees, one cell more may be the whole map
    importance = reading.slopes[posterior.asked].abs()
    known = evidence(asked, reading.head, reading.column, reading.variant)
    surprise = posterior.surprise(known, importance)
    deviations = surprise * posterior.deviations()
    possible = _min_max(reading.possible(posterior.surrogate, deviations))
    shown = _min_max(grid[None])
    errors = (possible - shown).abs().amax(dim=1)
    few = 1 + FEW / len(posterior.asked)
    return min(1.0, few * CALIBRATION * float(errors.quantile(CONFIDENCE)))


def _min_max(maps: Annotated[Tensor, "b cells"]) -> Annotated[Tensor, "b cells"]:
    """Each map min-max scaled."""
    low, high = maps.aminmax(dim=1, keepdim=True)
    return (maps - low) / divisor(high - low)


# ── asking in rounds ─────────────────────────────────────────────────────────────────────────


class BudgetedSearch:
    """Asks about the masks of one image in rounds, until its plan is content.

    Args:
        surrogate: of the image's distinct masks.
        image_scores: Z(X), `n`.
        aim: the column and variant whose map is wanted.
        plan: when to stop.

    Attributes:
        asked: the masks asked about so far, in order.
        estimate: the estimated error of the scaled map; infinite while it is not known.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        image_scores: Columns,
        aim: tuple[int, Variant],
        plan: Plan,
    ) -> None:
        self.surrogate = surrogate
        self.plan = plan
        self.asked: list[int] = []
        self.estimate = math.inf
        self.most = int(min(len(surrogate), plan.most))
        if len(image_scores) == 1:  # a value, or one of the two sides of a yes-or-no answer
            self._columns, column = torch.tensor([aim[0]], device=image_scores.device), 0
        else:
            self._columns, column = large_columns(image_scores, aim[0])
        self._image_scores = image_scores
        self._aim = (column, aim[1])
        self._posterior: Posterior | None = None
        self._heard: Scores | None = None
        self._reading: Reading | None = None

    @property
    def done(self) -> bool:
        """Whether enough was asked."""
        asked = len(self.asked)
        return asked >= self.most or (asked >= self.plan.least and self.estimate <= self.plan.until)

    def select(self, *, spare: int = 0) -> Tensor:
        """The masks to ask about next, by number; none where enough was asked.

        Args:
            spare: how many fewer than a round, because something else is asked with them.
        """
        if self.done:
            return torch.zeros(0, dtype=torch.int64)
        with exact_products(self.surrogate.maps.device):
            return self._select(spare)

    def _select(self, spare: int) -> Tensor:
        count = max(ROUND, len(self.asked) // (8 * ROUND) * ROUND) - spare
        count = min(count, self.most - len(self.asked))
        if self._reading is None or self._posterior is None:
            # Nothing is known yet: as if every mask counted the same.
            even = torch.full_like(self.surrogate.maps[:, 0], 1 / len(self.surrogate))
            maps = self.surrogate.maps
            effects = scaled_effects(even @ maps, even[:, None] * maps)
            posterior = self.surrogate.given(self.asked)
        else:
            effects = self._reading.effects(self.surrogate, FLOOR)
            posterior = self._posterior
        chosen = posterior.choose(effects, count, self.asked)
        self.asked += chosen
        return torch.tensor(chosen, dtype=torch.int64)

    def update(self, scores: Scores, fill: Columns, head: Head) -> None:
        """The answers to what `select` asked for, `s n`; and to the fill, `n`."""
        with exact_products(self.surrogate.maps.device):
            self._update(scores, fill, head)

    def _update(self, scores: Scores, fill: Columns, head: Head) -> None:
        columns = reduced(two_sided(scores, head), self._columns, head)
        self._heard = columns if self._heard is None else torch.cat([self._heard, columns])
        answered = self._heard.isfinite().all(dim=1)
        if not answered.any():
            return
        known = [mask for mask, ok in zip(self.asked, answered.tolist(), strict=True) if ok]
        heard = self._heard[answered]
        self._posterior = self.surrogate.given(known)
        whole = two_sided(self._image_scores[None], head)
        ends = torch.cat([two_sided(fill[None], head), whole])
        ends = reduced(ends, self._columns, head)
        self._reading = read(self._posterior, heard, ends, head, self._aim)
        if len(self.asked) >= self.plan.least and self.plan.until < math.inf:
            self.estimate = error_of(self._posterior, heard, self._reading)

    def weights(self) -> Weights:
        """α of every mask as far as it is known, `k` float32; zeros before any answer."""
        if self._reading is None:
            return torch.zeros_like(self.surrogate.maps[:, 0])
        return self._reading.weights

    def field(self) -> Grid | None:
        """The evidence field as far as it is known, on the grid; None where it has no part."""
        if self._reading is None or not self._reading.variant.field:
            return None
        with exact_products(self.surrogate.maps.device):
            return self.surrogate.on_grid(self._reading.field(self.surrogate))


def large_columns(image_scores: Columns, column: int) -> tuple[Tensor, int]:
    """The columns that are told apart while errors are estimated, and where `column` is in them."""
    columns = torch.arange(len(image_scores), device=image_scores.device)
    if len(image_scores) > COLUMNS:
        largest = image_scores.topk(COLUMNS).indices
        columns = torch.cat([largest, largest.new_tensor([column])]).unique()
    return columns, int((columns == column).nonzero()[0, 0])
