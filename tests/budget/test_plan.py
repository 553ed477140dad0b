"""Few masks instead of all, without a model: predictions, the next masks, and estimated errors.

These tests implement the textbook process again in float64. From `scorecam.budget` they take only
the constants.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from reference_process import Array, Process, maps_of, scores_of
from scorecam import cam
from scorecam.budget import estimate as estimates
from scorecam.budget import gaussian_process as gp
from scorecam.budget.estimate import (
    NOTHING_KNOWN,
    MapEstimate,
    Uncertainty,
    estimate,
    uncertainty_of,
)
from scorecam.budget.gaussian_process import Posterior, Surrogate
from scorecam.budget.plan import FAST, MIN_FOR_TOLERANCE, NEAR, Plan, described, plan
from scorecam.budget.search import FLOOR, ROUND, BudgetedSearch
from scorecam.cam import VARIANTS, Head, Masking, Variant
from scorecam.errors import SettingError

seeds = st.integers(0, 2**16)
variants = pytest.mark.parametrize("variant", VARIANTS)


def surrogate_of(maps: Tensor, seed: int = 0) -> Surrogate:
    return Surrogate(maps, *cam.distinct(maps, Masking()), seed)


def reading_of(
    posterior: Posterior,
    answers: Tensor,
    variant: str | Variant = "increase",
    head: Head = "logits",
    column: int = 0,
) -> MapEstimate:
    aim = column, cam.find_variant(variant)
    return estimate(posterior, answers, ends_of(answers), head, aim)


def ends_of(answers: Tensor) -> Tensor:
    """Possible scores of the empty and the whole image, `2 n`."""
    return torch.stack([answers.min(dim=0).values - 1, answers.max(dim=0).values + 1])


# ── the process ──────────────────────────────────────────────────────────────────────────────


GRIDS = [(7,), (5, 6), (3, 4, 5), (300,), (20, 24), (9, 9, 9)]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("count", [1, 2, 9, 30])
def test_predictions_equal_the_textbook_formula(grid: tuple[int, ...], count: int) -> None:
    maps = maps_of(40, *grid)
    asked = torch.randperm(40)[:count].tolist()
    scores = scores_of(maps, 3)[asked]
    posterior = surrogate_of(maps).given(asked)
    process = Process(maps)
    truth = process.mean(asked, scores.double().numpy())
    truth[asked] = scores
    result = posterior.complete(scores).double().numpy()
    np.testing.assert_allclose(result, truth, rtol=0, atol=2e-4)
    left = process.prior.diagonal() - process.covariance(asked).diagonal()
    assert left.min() > 0.01  # every prediction has improved
    np.testing.assert_allclose(
        posterior.variance.double().numpy(), process.covariance(asked).diagonal(), rtol=0, atol=1e-3
    )


def test_one_score_predicts_the_same_for_every_mask() -> None:
    completed = surrogate_of(maps_of(12, 5, 5)).given([4]).complete(torch.tensor([[2.5, -7.0]]))
    torch.testing.assert_close(completed, torch.tensor([[2.5, -7.0]]).expand(12, 2))


def test_half_of_the_masks_predict_most_of_the_other_half() -> None:
    left = []
    for seed in range(6):
        maps = maps_of(60, 5, 5, seed=seed)
        scores = scores_of(maps, 1, seed)
        asked = list(range(0, 60, 2))
        off = surrogate_of(maps).given(asked).complete(scores[asked]) - scores
        left.append(float(off.square().sum() / scores[1::2].var() / 30))
    assert np.mean(left) < 0.4  # their mean would leave 1


def test_large_maps_are_average_pooled() -> None:
    maps = torch.rand(3, 32, 32)
    blocks = maps.reshape(3, 16, 2, 16, 2).mean((2, 4)).flatten(1)
    torch.testing.assert_close(surrogate_of(maps).maps, blocks)


def test_a_shared_mask_counts_the_sum_of_its_channels_maps() -> None:
    one, other = maps_of(2, 4, 4)
    maps = torch.stack([one, other, 4 * one, 0.5 * other, one])
    result = surrogate_of(maps)
    assert len(result) == 2
    torch.testing.assert_close(result.maps, torch.stack([6 * one, 1.5 * other]).flatten(1))


def test_the_amplitude_of_a_column_maximises_its_likelihood() -> None:
    maps = maps_of(30, 5, 5)
    asked = list(range(0, 30, 2))
    scores = scores_of(maps, 2)[asked]
    process = Process(maps)
    inverse = np.linalg.inv(process.observed(asked))
    precise = scores.double().numpy()
    rest = precise - inverse.sum(0) @ precise / inverse.sum()
    truth = (rest * (inverse @ rest)).sum(0) / len(asked)
    posterior = surrogate_of(maps).given(asked)
    np.testing.assert_allclose(posterior.amplitudes(scores).numpy(), truth, rtol=1e-3)

    deviation = np.sqrt(process.covariance(asked).diagonal() * truth[1])
    deviation[asked] = 0
    np.testing.assert_allclose(posterior.deviation(scores[:, 1]).numpy(), deviation, rtol=1e-2)


def test_surprise_is_the_leave_one_out_prediction_error() -> None:
    maps = maps_of(25, 5, 5)
    asked = [3, 1, 20, 8, 11, 14, 6]
    scores = scores_of(maps, 1)[asked]
    process = Process(maps)
    inverse = np.linalg.inv(process.observed(asked))
    precise = scores[:, 0].double().numpy()
    rest = precise - inverse.sum(0) @ precise / inverse.sum()
    squares = []
    for left in range(len(asked)):
        others = [i for i in range(len(asked)) if i != left]
        weights = np.linalg.solve(
            process.observed(asked)[np.ix_(others, others)],
            process.observed(asked)[others, left],
        )
        variance = process.observed(asked)[left, left]
        variance -= weights @ process.observed(asked)[others, left]
        squares.append((rest[left] - weights @ rest[others]) ** 2 / variance)

    posterior = surrogate_of(maps).given(asked)

    def surprise(importance: list[float]) -> float:
        return posterior.surprise(scores[:, 0], torch.tensor(importance))

    most = int(np.argmax(squares))
    alone = [float(i == most) for i in range(len(asked))]
    assert surprise(alone) == pytest.approx(math.sqrt(max(squares)), rel=1e-3)
    assert surprise([1.0] * len(asked)) == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-3)
    # A mask without influence does not reduce the error of the others.
    least = [float(i == int(np.argmin(squares))) for i in range(len(asked))]
    assert surprise(least) == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-3)
    assert surprise([0.0] * len(asked)) == pytest.approx(math.sqrt(np.mean(squares)), rel=1e-3)


# ── completion ───────────────────────────────────────────────────────────────────────────────


@settings(max_examples=30)
@given(seed=seeds, count=st.integers(1, 20), a=st.floats(-4, 4), b=st.floats(-4, 4))
def test_completing_is_linear_in_the_scores(seed: int, count: int, a: float, b: float) -> None:
    maps = maps_of(20, 4, 5, seed=seed)
    posterior = surrogate_of(maps).given(list(range(count)))
    one, other = scores_of(maps, 2, seed)[:count], scores_of(maps, 2, seed + 1)[:count]
    together = posterior.complete(a * one + b * other)
    apart = a * posterior.complete(one) + b * posterior.complete(other)
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-3)


@settings(max_examples=30)
@given(seed=seeds, constant=st.floats(-100, 100), asked=st.permutations(range(15)))
def test_a_constant_added_to_the_scores_is_added_to_all(
    seed: int, constant: float, asked: list[int]
) -> None:
    maps = maps_of(15, 4, 5, seed=seed)
    asked = asked[:6]
    posterior = surrogate_of(maps).given(asked)
    scores = scores_of(maps, 2, seed)[asked]
    moved = posterior.complete(scores + constant)
    torch.testing.assert_close(moved, posterior.complete(scores) + constant, rtol=0, atol=1e-3)


@settings(max_examples=30)
@given(seed=seeds, asked=st.permutations(range(15)), count=st.integers(1, 15))
def test_completing_keeps_the_known_scores(seed: int, asked: list[int], count: int) -> None:
    maps = maps_of(15, 4, 5, seed=seed)
    asked = asked[:count]
    scores = scores_of(maps, 3, seed)[asked]
    posterior = surrogate_of(maps).given(asked)
    completed = posterior.complete(scores)
    assert completed.shape == (15, 3)
    assert torch.equal(completed[asked], scores)
    assert not posterior.deviation(scores[:, 0])[asked].any()
    assert not posterior.sampled_errors()[asked].any()
    for column in range(3):  # columns are independent
        alone = posterior.complete(scores[:, [column]])
        torch.testing.assert_close(alone[:, 0], completed[:, column], rtol=0, atol=1e-4)


@settings(max_examples=30)
@given(seed=seeds, order=st.permutations(range(18)))
def test_the_order_of_channels_and_scores_does_not_matter(seed: int, order: list[int]) -> None:
    maps = maps_of(18, 4, 5, seed=seed)
    scores = scores_of(maps, 2, seed)
    asked = list(range(7))
    completed = surrogate_of(maps).given(asked).complete(scores[asked])
    moved = [order.index(mask) for mask in asked]
    result = surrogate_of(maps[order]).given(moved).complete(scores[order][moved])
    torch.testing.assert_close(result, completed[order], rtol=0, atol=1e-3)


@settings(max_examples=30)
@given(seed=seeds, scale=st.integers(-110, 110))
def test_the_scale_of_the_activations_does_not_matter(seed: int, scale: int) -> None:
    maps = maps_of(18, 4, 5, seed=seed)
    asked = list(range(8))
    answers = scores_of(maps, 2, seed)[asked]
    one, other = (surrogate_of(maps * factor).given(asked) for factor in (1.0, 2.0**scale))
    assert torch.equal(other.complete(answers), one.complete(answers))
    effects, errors = [], []
    for posterior in (one, other):
        reading = reading_of(posterior, answers, "official")
        effects.append(reading.effects(posterior.surrogate))
        errors.append(uncertainty_of(posterior, answers, reading).error)
    torch.testing.assert_close(effects[1], effects[0], rtol=1e-4, atol=1e-6)
    assert errors[1] == pytest.approx(errors[0], abs=1e-5)


def test_more_scores_reduce_the_uncertainty() -> None:
    surrogate = surrogate_of(maps_of(30, 5, 5))
    variances = [surrogate.given(list(range(count))).variance for count in (1, 2, 5, 12, 30)]
    for before, after in itertools.pairwise(variances):
        assert (after <= before + 1e-3).all()
        assert after.sum() < 0.95 * before.sum()


# ── selection ────────────────────────────────────────────────────────────────────────────────


def left(process: Process, effects: Tensor, known: list[int]) -> float:
    """The expected squared error of the map, summed over its cells."""
    precise = effects.double().numpy()
    return float(np.trace(precise.T @ process.covariance(known) @ precise))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("asked", [[], [7], [2, 9, 5]])
def test_the_next_mask_minimises_the_remaining_error(
    seed: int, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gp, "BLOCK", 5)  # the last block of 14 masks is not full
    maps = maps_of(14, 4, 5, seed=seed)
    process = Process(maps)
    effects = torch.randn(14, 20)
    closed = [*asked, 11]
    chosen = surrogate_of(maps).given(asked).choose(effects, 5, closed)
    assert len({*chosen, *closed}) == 5 + len(closed)
    for step, mask in enumerate(chosen):
        known = asked + chosen[:step]
        candidates = set(range(14)) - {*closed, *chosen[:step]}
        best = min(left(process, effects, [*known, other]) for other in candidates)
        now = left(process, effects, known)
        # Two masks that are equal to float32 rounding are interchangeable.
        assert left(process, effects, [*known, mask]) <= best + 1e-4 * now


def test_masks_that_change_the_map_most_are_scored_first() -> None:
    surrogate = surrogate_of(torch.eye(6).reshape(6, 2, 3))
    effects = torch.tensor([0.3, 0.0, 5.0, -2.0, 0.1, 1.0])[:, None] * torch.eye(6)
    assert surrogate.given([]).choose(effects, 6, []) == [2, 3, 5, 0, 4, 1]


def test_a_score_counts_by_its_effect_on_the_scaled_map() -> None:
    maps = maps_of(10, 4, 5) - 0.3
    surrogate = surrogate_of(maps)
    answers = scores_of(maps, 1)
    reading = reading_of(surrogate.given(list(range(10))), answers, "increase")
    weights = reading.weights.double().requires_grad_()
    shown = weights @ maps.double().flatten(1)
    assert (shown < 0).any()
    positive = shown.relu()
    scaled = positive / positive.max()
    rows = [torch.autograd.grad(cell, weights, retain_graph=True)[0] for cell in scaled]
    result = reading.effects(surrogate)
    torch.testing.assert_close(result, torch.stack(rows, 1).float(), rtol=0, atol=1e-4)
    assert not result[:, int(shown.argmax())].abs().max() > 1e-6


def test_channels_with_saturated_weights_still_count_a_little() -> None:
    maps = maps_of(10, 4, 5)
    surrogate = surrogate_of(maps)
    asked = list(range(10))
    answers = torch.tensor([[40.0, 0.0]] * 5 + [[0.0, 0.0]] * 5)  # five are certain
    reading = reading_of(surrogate.given(asked), answers, "official")
    assert not reading.effects(surrogate)[:5].any()
    assert reading.effects(surrogate)[5:].any(dim=1).all()
    counted = reading.effects(surrogate, FLOOR)
    assert counted.any(dim=1).all()
    assert counted[:5].abs().max() < 0.5 * counted[5:].abs().max()


@pytest.mark.parametrize("factor", [0.0, -1.0])
@variants
def test_effects_on_an_empty_map_are_finite(variant: str, factor: float) -> None:
    maps = maps_of(9, 4, 5)
    maps = factor * maps
    if factor == 0:  # all equal except for one cell, to which no map contributes
        maps[:, 0, 0] = torch.linspace(-2, -1, 9)
    surrogate = surrogate_of(maps)
    reading = reading_of(surrogate.given([0]), torch.zeros(1, 2), variant)
    effects = reading.effects(surrogate, FLOOR)
    assert effects.isfinite().all()
    chosen = surrogate.given([0]).choose(effects, len(surrogate) - 1, [0])
    assert sorted(chosen) == list(range(1, len(surrogate)))


def test_slopes_are_chords_over_the_uncertain_range() -> None:
    scores = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    ends = torch.zeros(2, 3)
    doubt = torch.linspace(0, 3, 40)
    step = doubt.clamp(min=estimates.STEP)

    def slopes(variant: str, head: Head) -> Tensor:
        return MapEstimate(scores, ends, head, 1, VARIANTS[variant], doubt).slopes

    def probability(moved: Tensor) -> Tensor:
        return torch.cat([scores[:, :1], moved[:, None], scores[:, 2:]], dim=1).softmax(1)[:, 1]

    z = scores[:, 1]
    for head in ("logits", "sigmoid", "probabilities", "value"):
        torch.testing.assert_close(slopes("increase", head), torch.ones(40))
    chord = (probability(z + step) - probability(z - step)) / (2 * step)
    torch.testing.assert_close(slopes("official", "logits"), chord)
    chord = ((z + step).sigmoid() - (z - step).sigmoid()) / (2 * step)
    torch.testing.assert_close(slopes("official", "sigmoid"), chord)
    # A softmax over the channels: the derivative of each weight by its own score is the weight.
    doubt = torch.zeros(40)
    weights = z.softmax(0)
    torch.testing.assert_close(
        slopes("algorithm1", "logits"), weights, rtol=0.02, atol=0.02 * float(weights.max())
    )


# ── estimated errors ─────────────────────────────────────────────────────────────────────────


def test_samples_have_the_covariance_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    draws, waves = 4000, 2**14
    monkeypatch.setattr(gp, "DRAWS", draws)
    monkeypatch.setattr(gp, "WAVES", waves)
    monkeypatch.setattr(gp, "NOISE", 0.3)  # large enough to have an effect
    maps = maps_of(12, 4, 4)
    asked = [1, 4, 9]
    posterior = surrogate_of(maps).given(asked)
    process = Process(maps)

    def within(drawn: Tensor, truth: Array, waved: Array) -> None:
        """Five standard errors of a sample covariance and of the random waves."""
        result = (drawn @ drawn.T / draws).double().numpy()
        variances = truth.diagonal()
        sampling = np.sqrt((np.outer(variances, variances) + truth**2) / draws)
        assert (np.abs(result - truth) <= 5 * (sampling + waved) + 1e-6).all()
        # Samples that are a tenth too wide would fail.
        assert (np.abs(1.21 * result - truth).diagonal() > 5 * (sampling + waved).diagonal()).any()

    # Twice the product of two cosines has a variance of at most 3/2.
    missed = np.full((12, 12), gp.SMOOTH * math.sqrt(1.5 / waves))
    drawn, noise = posterior.surrogate.draws
    assert drawn.shape == noise.shape == (12, draws)
    within(drawn, process.prior, missed)
    within(noise, process.noise * np.eye(12), np.zeros((12, 12)))

    truth = process.covariance(asked)
    truth[asked] = truth[:, asked] = 0
    passed_on = np.eye(12)
    passed_on[:, asked] -= process.prior[:, asked] @ np.linalg.inv(process.observed(asked))
    passed_on[asked] = 0
    within(posterior.sampled_errors(), truth, np.abs(passed_on) @ missed @ np.abs(passed_on).T / 12)


def world(seed: int, count: int = 50) -> tuple[Tensor, Tensor]:
    """Maps, and one column of scores sampled from the process."""
    maps = maps_of(count, 5, 5, seed=seed)
    root = np.linalg.cholesky(Process(maps).prior)
    drawn = root @ np.random.default_rng(seed).standard_normal((count, 1))
    return maps, torch.from_numpy(drawn).float()


def scaled_map(maps: Tensor, weights: Tensor) -> Tensor:
    return cam.scaled(torch.tensordot(weights, maps, dims=1).relu())


def stated_and_true(
    maps: Tensor, scores: Tensor, asked: list[int], variant: str, head: Head, *, seed: int = 0
) -> tuple[float, float]:
    posterior = surrogate_of(maps, seed).given(asked)
    ends = ends_of(scores)
    answers = scores[asked]
    reading = dataclasses.replace(reading_of(posterior, answers, variant, head), ends=ends)
    exact = VARIANTS[variant].weights(cam.Answers(scores, ends[0], head), 0)
    off = scaled_map(maps, reading.weights) - scaled_map(maps, exact)
    return uncertainty_of(posterior, answers, reading).error, float(off.abs().max())


@pytest.mark.parametrize(
    ("variant", "head", "unit"),
    [
        ("official", "sigmoid", 0.5),
        ("algorithm1", "value", 0.1),
        ("increase", "value", 1.0),
        ("literal", "sigmoid", 0.5),
    ],
)
def test_the_estimated_error_is_calibrated(variant: str, head: Head, unit: float) -> None:
    pairs = [
        stated_and_true(maps, unit * scores, list(range(0, 50, 3)), variant, head)
        for maps, scores in map(world, range(60))
    ]
    stated, true = np.array(pairs).T
    assert true.mean() > 1e-3
    # It should hold for nine of ten; of 60, at least 48 do in 99 of 100 cases.
    assert np.mean(true <= stated) >= 0.8
    assert stated.mean() < 3 * true.mean()


def test_the_estimated_error_falls_with_more_masks() -> None:
    means = []
    for count in (8, 16, 32, 49):
        worlds = [world(seed) for seed in range(20)]
        result = [
            stated_and_true(maps, scores, list(range(count)), "increase", "value")[0]
            for maps, scores in worlds
        ]
        means.append(np.mean(result))
    assert all(after < 0.9 * before for before, after in itertools.pairwise(means))


@variants
def test_the_estimated_error_of_one_score_is_one(variant: str) -> None:
    maps, scores = world(0)
    assert stated_and_true(maps, scores, [3], variant, "value")[0] == 1


@pytest.mark.parametrize("variant", ["official", "literal"])
def test_uncertainty_of_other_logits_affects_probabilities(variant: str) -> None:
    maps, scores = world(3)
    still = torch.cat([torch.zeros_like(scores), scores], dim=1)  # the target's own logit
    asked = list(range(0, 50, 3))
    stated, true = stated_and_true(maps, 0.5 * still, asked, variant, "logits")
    # With one logit fixed, the probability is the sigmoid of the other.
    truth = stated_and_true(maps, -0.5 * scores, asked, variant, "sigmoid")
    assert true == pytest.approx(truth[1], rel=1e-3)
    assert stated == pytest.approx(truth[0], rel=0.2)


def test_equal_scores_have_no_estimated_error() -> None:
    maps = maps_of(20, 4, 5)
    result, true = stated_and_true(maps, torch.full((20, 1), 2.0), [1, 5, 8], "increase", "value")
    assert true < 1e-6
    assert result < 1e-4


@pytest.mark.parametrize("power", [-110, -90, 0, 60])
def test_the_error_does_not_depend_on_the_size_of_the_weights(power: int) -> None:
    # A class with a probability of 1e-33 has a map like any other: maps are scaled before display.
    maps, scores = world(1)
    asked = list(range(0, 50, 3))
    posterior = surrogate_of(maps).given(asked)

    def sized(answers: cam.Answers, target: int) -> Tensor:
        return (0.2 * answers.scores[:, target]).exp() * 2.0**power

    def error_and_choice(how: Callable[[cam.Answers, int], Tensor]) -> tuple[float, list[int]]:
        reading = reading_of(posterior, scores[asked], Variant("own", "own", how), "value")
        effects = reading.effects(posterior.surrogate, FLOOR)
        return (
            uncertainty_of(posterior, scores[asked], reading).error,
            posterior.choose(effects, 6, asked),
        )

    def plain(answers: cam.Answers, target: int) -> Tensor:
        return (0.2 * answers.scores[:, target]).exp()

    truth, chosen = error_and_choice(plain)
    assert truth > 0.02
    assert error_and_choice(sized) == (pytest.approx(truth, rel=1e-3), chosen)


def test_samples_depend_only_on_the_seed() -> None:
    maps, scores = world(2)
    asked = list(range(0, 50, 4))

    def error(seed: int) -> float:
        return stated_and_true(maps, scores, asked, "increase", "value", seed=seed)[0]

    state = torch.random.get_rng_state()
    assert error(5) == error(5)
    assert torch.equal(torch.random.get_rng_state(), state)
    others = [error(seed) for seed in (6, -1, 2**80 + 3, -(2**80) - 9)]
    assert len({error(5), *others}) == 5
    for other in others:
        assert other == pytest.approx(error(5), rel=0.5)
    torch.manual_seed(99)
    assert error(6) == others[0]


# ── unusual input ────────────────────────────────────────────────────────────────────────────


def odd_maps(kinds: list[tuple[str, int]], seed: int) -> Tensor:
    """One map per entry, each an unusual transform of the first."""
    first = maps_of(1, 4, 5, seed=seed)[0]
    generator = torch.Generator().manual_seed(seed)
    maps = []
    for kind, power in kinds:
        noise = torch.rand(4, 5, generator=generator)
        single = torch.zeros(4, 5)
        single[power % 4, power % 5] = 1
        relative = {
            "the same": first,
            "almost the same": first * (1 + 1e-6 * noise),
            "nearly flat": 1 + 1e-6 * noise,
            "one cell": single,
            "signed": noise - 0.5,
            "opposite": -first,
        }
        maps.append(relative[kind] * 2.0**power)
    stacked = torch.stack(maps)
    return stacked[cam.live(stacked, (8, 10), Masking())]


odd = st.lists(
    st.tuples(
        st.sampled_from(
            ["the same", "almost the same", "nearly flat", "one cell", "signed", "opposite"]
        ),
        st.integers(-100, 100),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=60)
@given(
    kinds=odd,
    seed=seeds,
    count=st.integers(1, 14),
    size=st.sampled_from([0.0, 1e-20, 1e-3, 1.0, 1e4]),
    how=st.tuples(
        st.sampled_from(list(VARIANTS)),
        st.sampled_from(["logits", "sigmoid", "probabilities", "value"]),
    ),
)
@example(kinds=[("signed", 0)], seed=0, count=1, size=1.0, how=("official", "logits"))
@example(kinds=[("signed", 0)] * 2, seed=0, count=2, size=1.0, how=("official", "logits"))
@example(
    kinds=[("the same", 0), ("the same", -100), ("almost the same", 0)],
    seed=2915,
    count=2,
    size=1e4,
    how=("algorithm1", "logits"),
)
@example(kinds=[("almost the same", 0)] * 14, seed=0, count=7, size=1.0, how=("literal", "value"))
@example(
    kinds=[("signed", 100), ("signed", -100)] * 7,
    seed=0,
    count=6,
    size=1e4,
    how=("increase", "value"),
)
def test_no_maps_or_scores_lead_to_nan(
    kinds: list[tuple[str, int]], seed: int, count: int, size: float, how: tuple[str, Head]
) -> None:
    variant, head = how
    maps = odd_maps(kinds, seed)
    assume(len(maps) > 0)
    surrogate = surrogate_of(maps)
    asked = list(range(min(count, len(surrogate))))
    scores = size * torch.randn(len(surrogate), 3, generator=torch.Generator().manual_seed(seed))
    answers = (scores.softmax(1) if head == "probabilities" else scores)[asked]
    posterior = surrogate.given(asked)
    completed = posterior.complete(answers)
    reading = reading_of(posterior, answers, variant, head)
    effects = reading.effects(surrogate, FLOOR)
    for result in (
        completed,
        posterior.variance,
        reading.deviation,
        reading.weights,
        reading.slopes,
    ):
        assert result.isfinite().all()
    assert effects.isfinite().all()
    assert posterior.sampled_errors().isfinite().all()
    assert 0 <= uncertainty_of(posterior, answers, reading).error <= 1
    rest = posterior.choose(effects, len(surrogate) - len(asked), asked)
    assert sorted(asked + rest) == list(range(len(surrogate)))
    # The predictions of a smooth process stay close to the known scores.
    assert completed.abs().max() <= 20 * answers.abs().max() + 1e-3


# ── plans ────────────────────────────────────────────────────────────────────────────────────


def test_a_budget_is_all_fast_or_a_count() -> None:
    assert plan("exact", None) is None
    assert plan("fast", None) is FAST
    for count in (1, 40, np.int64(40)):
        result = plan(count, None)
        assert (result.least, result.most) == (count, count)
        assert result.until == math.inf
    tight = plan("exact", 0.02)
    assert (tight.least, tight.most, tight.until) == (MIN_FOR_TOLERANCE, math.inf, 0.02)


def test_the_fast_plan_scores_fewer_than_all_masks() -> None:
    assert ROUND - 1 <= FAST.least < FAST.most < 1000  # the fill is scored with the first masks
    assert 0 < FAST.until < 0.3


@pytest.mark.parametrize(
    "given_budget",
    [0, -1, True, False, 1.5, 8.0, math.nan, "quick", "Fast", "", "12", None, [8], (8,)],
)
def test_invalid_budgets_are_refused(given_budget: Any) -> None:
    with pytest.raises(SettingError) as refused:
        plan(given_budget, None)
    assert repr(given_budget) in refused.value.what
    assert "'exact'" in refused.value.what
    assert refused.value.do


@pytest.mark.parametrize(
    "tolerance", [0, 0.0, 1, 1.0, 2, -0.1, "a", "0.1", math.nan, math.inf, True, [0.1]]
)
def test_invalid_tolerances_are_refused(tolerance: Any) -> None:
    with pytest.raises(SettingError) as refused:
        plan("exact", tolerance)
    assert repr(tolerance) in refused.value.what
    assert "0.02" in refused.value.do


@pytest.mark.parametrize("given_budget", ["fast", 20, "quick"])
def test_a_budget_and_a_tolerance_exclude_each_other(given_budget: Any) -> None:
    with pytest.raises(SettingError, match="both say when to stop") as refused:
        plan(given_budget, 0.1)
    assert refused.value.do


def test_a_budget_is_recorded_as_the_user_wrote_it() -> None:
    assert described("exact", None) == "exact"
    assert described("fast", None) == "fast"
    assert described(40, None) == "40"
    assert described("exact", 0.02) == "tolerance 0.02"


# ── rounds ───────────────────────────────────────────────────────────────────────────────────


Answering = Callable[[Tensor], Tensor]


def inquired(
    maps: Tensor,
    scores: Tensor,
    wanted: Plan,
    *,
    column: int = 0,
    variant: str = "increase",
    head: Head = "logits",
    seed: int = 0,
) -> tuple[BudgetedSearch, list[int]]:
    """A finished search, and the number of masks that it scored in each round."""
    search = BudgetedSearch(surrogate_of(maps, seed), scores.mean(dim=0), column, wanted)
    fill = torch.zeros(scores.shape[1])
    rounds: list[int] = []
    while len(masks := search.select(spare=int(not rounds))):
        rounds.append(len(masks))
        search.update(scores[masks], fill, head, VARIANTS[variant])
    return search, rounds


@pytest.mark.parametrize("count", [1, 2, ROUND - 1, ROUND, 3 * ROUND + 1, 40, 1000])
def test_a_count_is_scored_in_rounds_each_mask_once(count: int) -> None:
    maps = maps_of(40, 5, 5)
    search, rounds = inquired(maps, scores_of(maps, 4), Plan(count, count, math.inf))
    asked = min(count, 40)
    assert len(search.selected) == len({*search.selected}) == sum(rounds) == asked
    assert search.done
    assert rounds[0] == min(ROUND - 1, asked)  # one place is the fill's
    assert all(size == ROUND for size in rounds[1:-1])
    assert len(search.select()) == 0


def test_rounds_grow_with_the_number_of_known_scores() -> None:
    maps = maps_of(300, 5, 5)
    _, rounds = inquired(maps, scores_of(maps, 1), Plan(300, 300, math.inf), head="value")
    assert sum(rounds) == 300
    assert rounds == sorted(rounds[:-1]) + rounds[-1:]
    assert max(rounds) > ROUND
    for number, size in enumerate(rounds[1:], start=1):
        assert size <= max(ROUND, sum(rounds[:number]) / 8)


def test_without_masks_nothing_is_scored() -> None:
    search, rounds = inquired(torch.zeros(0, 5, 5), torch.zeros(0, 3), FAST)
    assert (search.done, search.most, search.selected, rounds) == (True, 0, [], [])
    assert search.weights().shape == (0,)


@pytest.mark.parametrize("until", [0.4, 0.1, 0.03])
def test_search_stops_once_the_estimated_error_is_small_enough(until: float) -> None:
    maps = maps_of(120, 5, 5)
    scores = scores_of(maps, 1)
    scores -= scores.min()  # the map of negative scores is zero
    search, rounds = inquired(maps, scores, Plan(12, math.inf, until), head="value")
    assert len(search.selected) < 120
    assert search.uncertainty.error <= until
    before = search.selected[: -rounds[-1]]
    earlier, _ = inquired(maps, scores, Plan(len(before), len(before), 0.0), head="value")
    assert earlier.selected == before
    assert len(before) < 12 or earlier.uncertainty.error > until


def test_search_also_stops_once_the_estimated_correlation_is_high_enough() -> None:
    maps = maps_of(120, 5, 5)
    scores = scores_of(maps, 1)
    scores -= scores.min()
    strict, _ = inquired(maps, scores, Plan(12, math.inf, 0.01), head="value")
    alike = Plan(12, math.inf, 0.01, alike=0.98)
    search, rounds = inquired(maps, scores, alike, head="value")
    assert len(search.selected) < len(strict.selected)
    assert search.uncertainty.correlation >= 0.98
    assert 0.01 < search.uncertainty.error <= NEAR
    before = len(search.selected) - rounds[-1]
    earlier, _ = inquired(maps, scores, Plan(before, before, 0.0), head="value")
    assert before < 12 or not alike.reached(earlier.uncertainty)


@pytest.mark.parametrize(
    ("error", "correlation", "reached"),
    [(0.1, 0.5, True), (0.15, 0.99, True), (0.15, 0.98, False), (NEAR + 0.01, 1.0, False)],
)
def test_a_high_correlation_excuses_errors_up_to_near(
    error: float, correlation: float, reached: bool
) -> None:
    wanted = Plan(7, 192, 0.12, alike=0.985)
    assert wanted.reached(Uncertainty(error, correlation)) is reached


def test_the_estimated_correlation_is_that_of_sampled_maps() -> None:
    """Against numpy's correlation of the maps of the same samples."""
    maps = maps_of(40, 5, 5)
    surrogate = Surrogate(maps, *cam.distinct(maps, Masking()), seed=3)
    scores = scores_of(maps, 1)
    scores -= scores.min()
    asked = list(range(0, 40, 3))
    posterior = surrogate.given(asked)
    ends = torch.zeros(2, 1)
    aim = 0, VARIANTS["official"]
    reading = estimate(posterior, scores[asked], ends, head="value", aim=aim)
    importance = reading.slopes[asked].abs()
    surprise = posterior.surprise(scores[asked, 0], importance)
    cells = maps.flatten(1)
    exact = np.asarray((reading.weights @ cells).relu())
    drawn = reading.weights[:, None] + surprise * posterior.sampled_errors()
    lacks = [1 - np.corrcoef(np.asarray((draw @ cells).relu()), exact)[0, 1] for draw in drawn.T]
    expected = 1 - np.quantile(lacks, 0.9) * (1 + 2 / len(asked)) ** 2
    found = uncertainty_of(posterior, scores[asked], reading).correlation
    assert found == pytest.approx(expected, abs=1e-4)


def test_search_respects_its_minimum_and_maximum() -> None:
    maps = maps_of(60, 5, 5)
    same = torch.ones(60, 2)
    search, _ = inquired(maps, same, Plan(20, math.inf, 0.5))
    assert 20 <= len(search.selected) < 20 + ROUND
    rough = torch.randn(60, 2)
    search, _ = inquired(maps, rough, Plan(10, 33, 0.001))
    assert len(search.selected) == 33
    assert search.uncertainty.error > 0.001


def test_a_count_selects_the_same_masks_for_every_seed() -> None:
    maps = maps_of(50, 5, 5)
    scores = scores_of(maps, 3)
    wanted = Plan(25, 25, math.inf)
    first, _ = inquired(maps, scores, wanted)
    for seed in (0, 1, 77):
        again, _ = inquired(maps, scores, wanted, seed=seed)
        assert again.selected == first.selected
        assert torch.equal(again.weights(), first.weights())


def test_the_selected_masks_depend_on_scores_and_target() -> None:
    maps = maps_of(60, 5, 5)
    scores = 4 * scores_of(maps, 4)
    wanted = Plan(20, 20, math.inf)
    first, _ = inquired(maps, scores, wanted, variant="official")
    other, _ = inquired(maps, scores, wanted, variant="official", column=2)
    assert first.selected[: ROUND - 1] == other.selected[: ROUND - 1]  # no score was known yet
    assert {*first.selected} != {*other.selected}


@pytest.mark.parametrize("column", [0, 5, 399])
def test_reducing_columns_keeps_the_target_and_its_probability(column: int) -> None:
    maps = maps_of(40, 5, 5)
    scores = scores_of(maps, 400)
    search, _ = inquired(maps, scores, Plan(20, 20, math.inf), column=column, variant="official")
    truth = scores[search.selected].softmax(1)[:, column]
    torch.testing.assert_close(search.weights()[search.selected], truth, rtol=1e-4, atol=0)


def test_nonfinite_scores_are_skipped_and_search_continues() -> None:
    maps = maps_of(40, 5, 5)
    scores = scores_of(maps, 3)
    lost = torch.zeros(40, dtype=torch.bool)
    lost[::3] = True
    spoilt = scores.clone()
    spoilt[lost, 1] = math.nan
    spoilt[3, 1] = math.inf
    wanted = Plan(25, 25, math.inf)
    search, _ = inquired(maps, spoilt, wanted)
    assert len({*search.selected}) == 25
    known = [mask for mask in search.selected if not lost[mask]]
    assert 0 < len(known) < 25
    # As if those had never been scored.
    truth = surrogate_of(maps).given(known).complete(scores[known])
    torch.testing.assert_close(search.weights(), truth[:, 0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("wanted", [Plan(10, 20, 0.1), Plan(20, 20, math.inf)])
def test_without_finite_scores_search_ends_without_weights(
    wanted: Plan,
) -> None:
    maps = maps_of(40, 5, 5)
    search, _ = inquired(maps, torch.full((40, 3), math.nan), wanted)
    assert len({*search.selected}) == 20
    assert search.uncertainty == NOTHING_KNOWN
    assert not search.weights().any()


def test_one_finite_score_among_many_is_not_certainty() -> None:
    maps = maps_of(40, 5, 5)
    scores = torch.full((40, 2), math.nan)
    scores[7] = 1.0
    search, _ = inquired(maps, scores, Plan(10, math.inf, 0.1))
    assert len(search.selected) == 40
