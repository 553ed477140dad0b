"""Few masks instead of all: which to ask about, what the others must have said, with what error.

A score is a smooth function of the few numbers a mask is made of: its content on the layer's grid.
A Gaussian process over masks, conditioned on those that were asked, predicts the scores of the
others, linearly in the scores and for every column at once (Rasmussen and Williams, Gaussian
Processes for Machine Learning, 2006, eq. 2.25 and 2.26). Masks are asked in rounds, each round the
ones that most reduce the expected error of the heatmap itself; what the process does not know,
seen through the map, is the error that is stated.

Nothing here runs a model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor, nn

from scorecam.cam import Answers, Variant, exact_products
from scorecam.errors import SettingError, did_you_mean
from scorecam.model import Head, reduced, two_sided
from scorecam.shapes import Activations, Columns, Scores, Weights

BudgetSpec = int | Literal["exact", "fast"]

# How scores vary with masks, in units of one another: fitted on half of the photos of
# benchmarks/fidelity.py, and good on other networks too. Factors of two hardly matter.
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

ROUND = 8
"""Masks asked before the next are chosen."""

FLOOR = 0.1
"""Channels whose weight seems fixed still count a little: the process may be wrong."""

DRAWS = 48
WAVES = 512
CONFIDENCE = 0.9
CALIBRATION = 1.25
"""The stated error is the 0.9 quantile of so many drawn maps' errors, times this."""

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
        if budget != "exact":
            raise SettingError(
                f"budget={budget!r} and tolerance={tolerance!r} both say when to stop.",
                do="Give one of them.",
            )
        if isinstance(tolerance, bool) or not 0 < _number(tolerance) < 1:
            raise SettingError(
                f"tolerance={tolerance!r} is not a number between 0 and 1.",
                do="It is the largest error of the scaled map that you accept, such as 0.02.",
            )
        return Plan(15, math.inf, float(tolerance), expected=200)
    if budget == "exact":
        return None
    if budget == "fast":
        return FAST
    if isinstance(budget, bool) or not isinstance(budget, int | np.integer) or budget < 1:
        raise SettingError(
            f"budget={budget!r} is not 'exact', 'fast' or a number of masks of at least 1.",
            likely=did_you_mean(str(budget), ("exact", "fast")),
            do="Use 'fast' where in doubt.",
        )
    return Plan(int(budget), int(budget), math.inf, expected=int(budget))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float | np.number) else math.nan


def described(budget: BudgetSpec, tolerance: float | None) -> str:
    """The budget in a result's record."""
    return str(budget) if tolerance is None else f"tolerance {tolerance:g}"


# ── the surrogate ────────────────────────────────────────────────────────────────────────────


class Surrogate:
    """A Gaussian process over the distinct masks of one image.

    The covariance of every mask with every other is never kept, only made a few rows at a time:
    memory grows with the number of masks, not its square.

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
        pooled = _pooled(activations).flatten(1)
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
            return torch.randn(shape, generator=generator).to(self._content)

        count, cells = self._content.shape
        phases = 2 * math.pi * torch.rand(WAVES, generator=generator).to(self._content)
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
    return ((flattened - low) / _divisor(high - low)).reshape(maps.shape)


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
        own = rows[:, asked] + surrogate.noise * torch.eye(len(asked), device=rows.device)
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
        weighted = (left_out * importance).sum() / _divisor(importance.sum())
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
        effects = effects / _divisor(effects.abs().max())
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


def _scaled(maps: Annotated[Tensor, "b cells"]) -> Annotated[Tensor, "b cells"]:
    """Each map's positive part, min-max scaled."""
    positive = maps.relu()
    low, high = positive.aminmax(dim=1, keepdim=True)
    return (positive - low) / _divisor(high - low)


def _divisor(span: Tensor) -> Tensor:
    """The span, or 1 where it is none: maps of improbable classes may be 1e-35 high."""
    return torch.where(span > 0, span, 1.0)


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
        fill: Z(fill), `n`.
        head: what the scores are.
        column: the target's.
        variant: how scores become weights.
        doubt: how uncertain each mask's evidence still is, one standard deviation, `k`.
    """

    scores: Scores
    fill: Columns
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
        weights = self.variant.weights(Answers(scores, self.fill, self.head), self.column)
        return weights.nan_to_num(0.0, 0.0, 0.0)

    def effects(self, surrogate: Surrogate, floor: float = 0.0) -> Annotated[Tensor, "k cells"]:
        """What one unit of each score does to each cell of the scaled map, to first order.

        Cells that ReLU mutes stay as they are, and so does the cell of the maximum, which the map
        is scaled by.
        """
        slopes = self.slopes
        slopes = slopes + floor * slopes.abs().mean()
        return scaled_effects(surrogate.maps, self.weights, slopes)


def scaled_effects(
    maps: Annotated[Tensor, "k cells"], weights: Weights, slopes: Weights
) -> Annotated[Tensor, "k cells"]:
    """The derivative of the scaled map by each weight, times `slopes`."""
    shown = weights @ maps
    peak = int(shown.argmax())
    high = _divisor(shown[peak])
    effects = slopes[:, None] * maps * (shown > 0)
    return ((effects - effects[:, peak, None] * (shown.relu() / high)) / high).nan_to_num()


def read(
    posterior: Posterior, asked: Scores, fill: Columns, head: Head, aim: tuple[int, Variant]
) -> Reading:
    """What the answers `asked` (`s n`) make of the column and the variant aimed at."""
    doubt = posterior.doubt(evidence(asked, head, *aim))
    return Reading(posterior.complete(asked), fill, head, *aim, doubt)


def error_of(posterior: Posterior, asked: Scores, reading: Reading) -> float:
    """The estimated largest absolute error of a reading's scaled heatmap, in [0, 1].

    Maps are drawn from what the process still thinks possible, through the variant itself: where
    weights are exponentials of scores, no straight line tells how far they may go.

    Args:
        asked: the scores of the masks that were asked, `s n`.
    """
    if len(posterior.asked) < 2:
        return 1.0  # one answer does not tell how much scores vary
    importance = reading.slopes[posterior.asked].abs()
    known = evidence(asked, reading.head, reading.column, reading.variant)
    surprise = posterior.surprise(known, importance)
    moved = [reading.moved(surprise * each) for each in posterior.deviations().T]
    maps = posterior.surrogate.maps
    possible, shown = _scaled(torch.stack(moved) @ maps), _scaled((reading.weights @ maps)[None])
    errors = (possible - shown).abs().amax(dim=1)
    return min(1.0, CALIBRATION * float(errors.quantile(CONFIDENCE)))


# ── asking in rounds ─────────────────────────────────────────────────────────────────────────


class Inquiry:
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
        if aim[0] == len(image_scores):  # what speaks for no mirrors a yes-or-no model's column
            image_scores = torch.cat([image_scores, -image_scores])
        self._columns, column = large_columns(image_scores, aim[0])
        self._aim = (column, aim[1])
        self._posterior: Posterior | None = None
        self._heard: Scores | None = None
        self._reading: Reading | None = None

    @property
    def done(self) -> bool:
        """Whether enough was asked."""
        asked = len(self.asked)
        return asked >= self.most or (asked >= self.plan.least and self.estimate <= self.plan.until)

    def next(self, *, spare: int = 0) -> Tensor:
        """The masks to ask about next, by number; none where enough was asked.

        Args:
            spare: how many fewer than a round, because something else is asked with them.
        """
        if self.done:
            return torch.zeros(0, dtype=torch.int64)
        with exact_products(self.surrogate.maps.device):
            return self._next(spare)

    def _next(self, spare: int) -> Tensor:
        count = max(ROUND, len(self.asked) // (8 * ROUND) * ROUND) - spare
        count = min(count, self.most - len(self.asked))
        if self._reading is None or self._posterior is None:
            # Nothing is known yet: as if every mask counted the same.
            even = torch.full_like(self.surrogate.maps[:, 0], 1 / len(self.surrogate))
            effects = scaled_effects(self.surrogate.maps, even, even)
            posterior = self.surrogate.given(self.asked)
        else:
            effects = self._reading.effects(self.surrogate, FLOOR)
            posterior = self._posterior
        chosen = posterior.choose(effects, count, self.asked)
        self.asked += chosen
        return torch.tensor(chosen, dtype=torch.int64)

    def hear(self, scores: Scores, fill: Columns, head: Head) -> None:
        """The answers to what `next` asked for, `s n`; and to the fill, `n`."""
        with exact_products(self.surrogate.maps.device):
            self._hear(scores, fill, head)

    def _hear(self, scores: Scores, fill: Columns, head: Head) -> None:
        columns = reduced(two_sided(scores, head), self._columns, head)
        self._heard = columns if self._heard is None else torch.cat([self._heard, columns])
        answered = self._heard.isfinite().all(dim=1)
        if not answered.any():
            return
        known = [mask for mask, ok in zip(self.asked, answered.tolist(), strict=True) if ok]
        heard = self._heard[answered]
        self._posterior = self.surrogate.given(known)
        muted = reduced(two_sided(fill[None], head), self._columns, head)[0]
        self._reading = read(self._posterior, heard, muted, head, self._aim)
        if len(self.asked) >= self.plan.least and self.plan.until < math.inf:
            self.estimate = error_of(self._posterior, heard, self._reading)

    def weights(self) -> Weights:
        """α of every mask as far as it is known, `k` float32; zeros before any answer."""
        if self._reading is None:
            return torch.zeros_like(self.surrogate.maps[:, 0])
        return self._reading.weights


def large_columns(image_scores: Columns, column: int) -> tuple[Tensor, int]:
    """The columns that are told apart while errors are estimated, and where `column` is in them."""
    columns = torch.arange(len(image_scores), device=image_scores.device)
    if len(image_scores) > COLUMNS:
        largest = image_scores.topk(COLUMNS).indices
        columns = torch.cat([largest, largest.new_tensor([column])]).unique()
    return columns, int((columns == column).nonzero()[0, 0])
