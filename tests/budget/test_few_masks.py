"""Few masks instead of all, as users request it: budgets, tolerances, and their guarantees.

The guarantees are checked on `Wide`: small convolutional networks with more than a hundred
channels. Their scores vary smoothly with the mask, like those of trained networks. Only torch runs
them (`runtime="eager"`), because converting one would take longer than a test.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

import scorecam
from command_line import listing, options, refused
from command_line import scorecam as command
from networks import NETWORKS, Network, build, flatten_channels, images_for
from scorecam import ScoreBank, ScoreCAM
from scorecam.bank.health import RULES
from scorecam.budget import plan
from scorecam.budget.plan import FAST
from scorecam.budget.search import ROUND
from scorecam.cam import VARIANTS
from scorecam.cli.records import explanation_item
from scorecam.errors import SettingError
from scorecam.scoring.progress import Progress
from scorecam.testing import Spy

CHANNELS = 112
FLAT = 2
MASKS = CHANNELS - FLAT
EAGER: dict[str, Any] = {"runtime": "eager"}

variants = pytest.mark.parametrize("variant", VARIANTS)
weighted = pytest.mark.parametrize(
    "variant", [name for name, variant in VARIANTS.items() if not variant.field]
)
"""Variants that are a weighted sum; the root in `consensus` amplifies small errors."""


class Wide(nn.Module):
    """Many channels on a grid an eighth or a quarter as fine as the image, two of them flat.

    Args:
        columns: number of outputs.
        axes: image axes.
        gain: spread of the logits.
        signed: whether the explained layer has no ReLU.
        end: module after the logits.
    """

    def __init__(
        self,
        columns: int = 10,
        *,
        axes: int = 2,
        channels: int = CHANNELS,
        gain: float = 10.0,
        signed: bool = False,
        end: nn.Module | None = None,
    ) -> None:
        super().__init__()
        convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        self.stem = convolution(3, 16, 3, stride=2, padding=1)
        inner = convolution(16, channels, 3, stride=2, padding=1)
        self.maps = nn.Sequential(inner, nn.Identity() if signed else nn.ReLU())
        self.after = convolution(channels, 32, 3, stride=2, padding=1)
        self.classes = nn.Linear(32, columns)
        self.end = end or nn.Identity()
        with torch.no_grad():
            for layer in (self.stem, inner, self.after):
                layer.weight *= 3
            self.classes.weight *= gain
        flatten_channels(inner)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maps(self.stem(images).relu())
        logits = self.classes(self.after(maps).relu().flatten(2).mean(2))
        return self.end(logits)


def wide(seed: int = 0, columns: int = 10, **settings: Any) -> Wide:
    """The same network at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Wide(columns, **settings).eval()


def photo(seed: int = 0, *size: int) -> Tensor:
    """A seeded image `c *i`, smooth enough to have distinct regions."""
    generator = torch.Generator().manual_seed(seed)
    size = size or (32, 32)
    coarse = torch.rand(1, 3, *[4] * len(size), generator=generator) * 2 - 1
    mode = {1: "linear", 2: "bicubic", 3: "trilinear"}[len(size)]
    smooth = interpolate(coarse, size=size, mode=mode)[0]
    return smooth + 0.3 * (torch.rand(smooth.shape, generator=generator) * 2 - 1)


def spied(network: nn.Module, head: str = "auto") -> tuple[Spy, scorecam.Model]:
    spy = Spy(network)
    return spy, scorecam.open_model(spy, head=head)


def explained(
    network: nn.Module, image: Tensor, target: Any = None, *, head: str = "auto", **settings: Any
) -> scorecam.Explanation:
    model = scorecam.open_model(network, head=head)
    settings = {"layer": "maps", **EAGER, **settings}
    return scorecam.explain(model, image, target, **settings)


@functools.cache
def exact(seed: int = 0, gain: float = 10.0) -> scorecam.Explanation:
    """Every mask of a photo, scored once for all tests."""
    return explained(wide(seed, gain=gain), photo(seed))


def distance(one: Tensor, other: Tensor) -> float:
    """The largest difference between two scaled maps."""
    return float((scorecam.scaled(one) - scorecam.scaled(other)).abs().max())


def has_an_error(actual: scorecam.Explanation) -> bool:
    """An error of zero is allowed only if all possible maps are empty."""
    return 0 < actual.error <= 1 or (actual.error == 0 and not actual.heatmap.any())


def off(actual: scorecam.Explanation, truth: scorecam.Explanation) -> float:
    """The true error of a map."""
    return float((actual.scaled - truth.scaled).abs().max())


def classes(explanation: scorecam.Explanation, count: int = 3) -> list[int]:
    """The class with the largest score, and some others."""
    order = explanation.bank.image_scores.argsort(descending=True).tolist()
    return order[::2][:count]


# ── how many masks ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [1, 2, ROUND - 1, ROUND, 3 * ROUND + 1, MASKS - 1])
def test_a_count_scores_that_many_masks_the_image_and_the_fill(count: int) -> None:
    spy, model = spied(wide())
    bank = ScoreCAM(model, "network.maps", budget=count, **EAGER).bank(photo())
    assert len(spy.images) == 3 + count == bank.provenance.forward_passes
    assert torch.equal(spy.images[0], photo())
    assert not spy.images[1].any()
    assert len({image.numpy().tobytes() for image in spy.images}) == 2 + count
    assert len(bank.asked) == len(bank.scores) == count
    assert bank.asked.tolist() == sorted({*bank.asked.tolist()})
    assert not bank.exact
    assert bank.provenance.budget == str(count)


@pytest.mark.parametrize("extra", [0, 1, 1000])
@pytest.mark.parametrize("kind", [*NETWORKS, Wide])
def test_a_count_of_all_masks_or_more_gives_the_exact_bank(kind: Any, extra: int) -> None:
    network, image = (wide(), photo()) if kind is Wide else _small(kind)
    layer = "maps" if kind is Wide else kind.layer
    model = scorecam.open_model(network, head="logits")
    truth = ScoreCAM(model, layer, **EAGER).bank(image)
    spy, model = spied(network, "logits")
    wanted = len(truth.live) + extra
    bank = ScoreCAM(model, f"network.{layer}", budget=wanted, **EAGER).bank(image)
    assert len(spy.images) == 3 + len(truth.live)
    assert bank.exact
    assert torch.equal(bank.asked, truth.asked)
    assert torch.equal(bank.scores, truth.scores)
    for variant in VARIANTS:
        assert torch.equal(bank.heatmap(0, variant), truth.heatmap(0, variant))
        assert bank.error(0, variant) == 0


def _small(kind: type[Network]) -> tuple[Network, Tensor]:
    network = build(kind)
    return network, images_for(network)[0]


def test_fast_and_a_tolerance_score_fewer_than_all_masks() -> None:
    for settings in ({"budget": "fast"}, {"tolerance": 0.1}):
        explanation = explained(wide(), photo(), **settings)
        assert FAST.least <= len(explanation.bank.asked) < MASKS
        assert not explanation.bank.exact


def test_fast_never_exceeds_its_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    channels = int(FAST.most) + 50
    network = wide(channels=channels)
    monkeypatch.setattr(plan, "FAST", dataclasses.replace(FAST, until=0.0, alike=math.inf))
    spy, model = spied(network)
    bank = ScoreCAM(model, "network.maps", budget="fast", **EAGER).bank(photo())
    assert len(bank.asked) == FAST.most == len(spy.images) - 3
    assert not bank.exact


def test_smaller_tolerances_score_more_masks_than_the_minimum() -> None:
    asked = dict.fromkeys((0.3, 0.1, 0.03, 0.01), 0)
    for seed, tolerance in itertools.product(range(4), asked):
        network = wide(seed, gain=30.0)
        bank = explained(network, photo(seed), tolerance=tolerance).bank
        assert bank.provenance.budget == f"tolerance {tolerance:g}"
        assert len(bank.asked) >= FAST.least
        assert bank.error() <= tolerance
        asked[tolerance] += len(bank.asked)
    counts = list(asked.values())
    assert counts == sorted(counts)
    assert counts[-1] > 1.5 * counts[0]


def test_the_estimated_error_meets_the_tolerance_for_any_seed() -> None:
    for number in range(4):
        errors = set()
        for seed in range(6):
            explanation = explained(
                wide(number, gain=30.0), photo(number), tolerance=0.05, seed=seed
            )
            errors.add(explanation.error)
        assert max(errors) <= 0.05
        assert len(errors) == 6  # the estimates differ


@pytest.mark.parametrize(
    ("end", "target", "more"),
    [
        (None, None, 0),
        (nn.Softmax(dim=1), None, 1),  # one to detect the probabilities
        (nn.Sigmoid(), 3, 1),
        (None, lambda output: output[:, 3], 0),
    ],
    ids=["logits", "probabilities", "sigmoids", "function"],
)
@pytest.mark.parametrize(
    "settings", [{"budget": 9}, {"budget": "fast"}, {"tolerance": 0.02}], ids=str
)
def test_the_reported_number_of_passes_is_exact(
    settings: dict[str, Any], end: nn.Module | None, target: Any, more: int
) -> None:
    spy, model = spied(wide(end=end))
    explanation = scorecam.explain(model, photo(), target, **EAGER, **settings)
    look = 1  # for the default layer
    assert explanation.provenance.forward_passes == len(spy.images) - look
    assert explanation.provenance.forward_passes == 3 + len(explanation.bank.asked) + more


def test_a_reduced_budget_scores_a_subset_of_the_exact_run() -> None:
    network = wide()
    everything, model = spied(network)
    ScoreCAM(model, "network.maps", **EAGER).bank(photo())
    for settings in ({"budget": 30}, {"budget": "fast"}, {"tolerance": 0.05}):
        few, model = spied(network)
        bank = ScoreCAM(model, "network.maps", **EAGER, **settings).bank(photo())
        assert torch.equal(few.images[:3], everything.images[:3])
        questions = [spy.images[3:].flatten(1).double() for spy in (few, everything)]
        far = torch.cdist(*questions, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = far.min(dim=1)
        assert nearest.values.max() < 1e-5
        assert len(nearest.indices.unique()) == len(bank.asked)
        # Each channel keeps its own score.
        places = {channel: place for place, channel in enumerate(bank.live.tolist())}
        numbers = sorted(nearest.indices.tolist())
        assert numbers == [places[channel] for channel in bank.asked.tolist()]
        truth = exact().bank.scores[numbers]
        torch.testing.assert_close(bank.scores, truth, rtol=0, atol=1e-4)


class Copied(nn.Module):
    """Every channel of the explained layer three times, at three scales."""

    def __init__(self, network: Wide) -> None:
        super().__init__()
        self.network = network
        self.copies = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        maps = self.network.maps(self.network.stem(images).relu())
        self.copies(torch.cat([maps, 4 * maps, 0.5 * maps], dim=1))
        return self.network(images)


@pytest.mark.parametrize(
    "settings", [{"budget": 25}, {"budget": "fast"}, {"tolerance": 0.02}], ids=str
)
def test_channels_with_the_same_mask_are_scored_once(
    settings: dict[str, Any],
) -> None:
    network = wide(gain=30.0)
    once = explained(network, photo(), **settings)
    spy, model = spied(Copied(network))
    bank = ScoreCAM(model, "network.copies", **EAGER, **settings).bank(photo())
    count = len(once.bank.asked)
    assert len(spy.images) == 3 + count == bank.provenance.forward_passes
    assert len(bank.asked) == 3 * count
    assert len(bank.live) == 3 * MASKS
    asked = once.bank.asked.tolist()
    copies = [channel + CHANNELS * copy for copy in range(3) for channel in asked]
    assert bank.asked.tolist() == copies
    torch.testing.assert_close(bank.scores, once.bank.scores.repeat(3, 1), rtol=0, atol=1e-4)
    weights = bank.weights().reshape(3, CHANNELS)
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])
    assert distance(bank.heatmap(), once.heatmap) < 1e-4
    assert bank.error() == pytest.approx(once.error, rel=0.05)


def test_nearly_equal_masks_can_be_scored() -> None:
    # With an epsilon, maps of two scales make two masks, which hardly differ.
    masking = scorecam.Masking(epsilon=1e-8)
    network = Copied(wide(channels=6))
    bank = explained(network, photo(), layer="copies", budget=7, masking=masking).bank
    assert len(bank.asked) == 7
    assert bank.heatmap().isfinite().all()
    assert 0 <= bank.error() <= 1


class Cells(nn.Module):
    """A grid of two cells: except for its scale, every mask is one of two."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 40, (4, 4), stride=4)
        self.classes = nn.Linear(40, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.maps(images).flatten(2).mean(2))


def test_a_grid_of_two_cells_works_with_any_masking() -> None:
    for masking in (scorecam.Masking(), scorecam.Masking(epsilon=1e-3)):
        explanation = explained(Cells(), photo(0, 4, 8), budget=12, masking=masking)
        assert explanation.heatmap.isfinite().all()
        assert 0 <= explanation.error <= 1


@pytest.mark.parametrize(
    "settings", [{"budget": 5}, {"budget": "fast"}, {"tolerance": 0.1}], ids=str
)
def test_without_masks_only_the_image_and_the_fill_are_scored(
    settings: dict[str, Any],
) -> None:
    network = wide(channels=5)
    for parameter in network.maps.parameters():
        nn.init.zeros_(parameter)
    spy, model = spied(network)
    explanation = scorecam.explain(model, photo(), layer="network.maps", **EAGER, **settings)
    assert len(spy.images) == 3
    assert not explanation.heatmap.any()
    assert explanation.error == 0


# ── accuracy ─────────────────────────────────────────────────────────────────────────────────

SEEDS = range(12)


@functools.cache
def outcomes(variant: str, **settings: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pair of photo and class: estimated error, true error, and number of masks."""
    result = []
    for seed in SEEDS:
        for target in classes(exact(seed)):
            few = explained(wide(seed), photo(seed), target, variant=variant, **settings)
            truth = exact(seed).of(target, variant)
            result.append((few.error, off(few, truth), len(few.bank.asked)))
    stated, true, asked = np.array(result).T
    return stated, true, asked


@weighted
def test_fast_maps_are_close_for_far_fewer_passes(variant: str) -> None:
    _, true, asked = outcomes(variant, budget="fast")
    assert true.mean() < 0.1
    assert np.mean(true <= 0.12) >= 0.9
    # Differences from the mean need more scores than the sum does.
    assert asked.mean() < MASKS * (0.6 if variant == "centred" else 0.5)


@weighted
def test_a_tolerance_is_met_in_nine_of_ten_maps(variant: str) -> None:
    stated, true, asked = outcomes(variant, tolerance=0.05)
    assert np.all(stated <= 0.05)
    assert np.mean(true <= 0.05) >= 0.9
    assert asked.mean() < MASKS * (0.8 if variant == "centred" else 0.75)


def test_consensus_needs_more_masks_and_meets_its_tolerance() -> None:
    stated, true, asked = outcomes("consensus", tolerance=0.05)
    assert np.all(stated <= 0.05)
    assert np.mean(true <= 0.05) >= 0.9
    assert asked.mean() > 0.75 * MASKS


@variants
def test_the_estimated_error_is_calibrated(variant: str) -> None:
    stated, true, _ = outcomes(variant, budget=12)
    assert np.mean(true <= stated) >= 0.8
    assert stated.mean() < 4 * true.mean()


@pytest.mark.parametrize("variant", ["official", "algorithm1"])
def test_the_targeted_class_has_the_smaller_error(variant: str) -> None:
    aimed, missed = [], []
    for seed in range(6):
        network, image = wide(seed, gain=40.0), photo(seed)
        targets = classes(exact(seed, 40.0), 4)
        for target in targets:
            explanation = explained(network, image, target, variant=variant, budget=5 * ROUND)
            for other in targets:
                (aimed if other == target else missed).append(explanation.of(other).error)
    assert np.mean(aimed) < 0.95 * np.mean(missed)


def test_every_class_and_variant_of_a_bank_has_an_error() -> None:
    explanation = explained(wide(), photo(), budget=12)
    errors = set()
    for target, variant in itertools.product(range(10), VARIANTS):
        other = explanation.of(target, variant)
        assert explanation.bank.error(target, variant) == other.error  # at every call
        assert has_an_error(other)
        errors.add(other.error)
    assert len(errors) > 30


def test_the_estimated_error_of_one_score_is_one() -> None:
    for seed in range(3):
        explanation = explained(wide(seed), photo(seed), budget=1)
        assert explanation.error == 1
        assert off(explanation, exact(seed)) < 1


def test_an_improbable_class_is_not_treated_as_certain() -> None:
    # A logit 75 below the largest: its map is made of weights of about 1e-33.
    network = wide(gain=30.0)
    with torch.no_grad():
        network.classes.bias[7] -= 75
    image = photo()
    truth = explained(network, image, 7)
    assert 0 < truth.heatmap.max() < 1e-30
    explanation = explained(network, image, 7, budget=12)
    assert off(explanation, truth) > 0.01
    assert explanation.error > 0.02
    near = explained(network, image, 7, tolerance=0.05)
    assert len(near.bank.asked) < MASKS
    assert off(near, truth) < 0.1


def test_more_masks_reduce_the_error() -> None:
    for seed in range(3):
        network, image, truth = wide(seed), photo(seed), exact(seed)
        result = [explained(network, image, budget=count) for count in (4, 16, 64)]
        stated = [explanation.error for explanation in result]
        true = [off(explanation, truth) for explanation in result]
        assert stated[0] > stated[1] > stated[2] > 0
        assert true[0] > true[2]


# ── independence of batches, order and seed ──────────────────────────────────────────────────

HEADS: dict[str, tuple[dict[str, Any], Any]] = {
    "logits": ({}, 2),
    "probabilities": ({"end": nn.Softmax(dim=1)}, 2),
    "independent": ({"end": nn.Sigmoid()}, 2),
    "yes": ({"columns": 1}, 0),
    "no": ({"columns": 1}, 1),
    "function": ({}, lambda output: output[:, 2]),
    "signed": ({"signed": True}, 2),
    "signal": ({"axes": 1}, 2),
    "volume": ({"axes": 3}, 2),
    "many": ({"columns": 300, "gain": 30.0}, 2),
}
IMAGES = {1: (64,), 2: (32, 32), 3: (12, 16, 12)}
every_kind = pytest.mark.parametrize("kind", HEADS)


def of_kind(kind: str) -> tuple[Wide, Tensor, Any]:
    settings, target = HEADS[kind]
    return wide(3, **settings), photo(3, *IMAGES[settings.get("axes", 2)]), target


@variants
@every_kind
def test_few_masks_are_calibrated_for_every_head_and_variant(kind: str, variant: str) -> None:
    network, image, target = of_kind(kind)
    truth = explained(network, image, target, variant=variant)
    few = explained(network, image, target, variant=variant, budget=24)
    near = explained(network, image, target, variant=variant, tolerance=0.05)
    assert few.bank.head == truth.bank.head
    assert few.target == truth.target
    places = torch.isin(truth.bank.asked, few.bank.asked)
    torch.testing.assert_close(few.bank.scores, truth.bank.scores[places], rtol=0, atol=1e-4)
    assert few.heatmap.shape == image.shape[1:]
    assert has_an_error(few)
    assert off(few, truth) <= 2 * few.error
    assert near.error <= 0.05
    assert off(near, truth) <= 0.1


@variants
@every_kind
def test_the_last_map_of_the_progress_is_the_result(kind: str, variant: str) -> None:
    network, image, target = of_kind(kind)
    reports: list[Progress] = []
    explanation = explained(
        network, image, target, variant=variant, budget=20, progress=reports.append
    )
    # With more than 64 columns the smaller ones are merged while masks are chosen. The prediction
    # for their sum is not exactly the sum of their predictions.
    # A square root makes 1e-10 of a part 1e-5 of the map.
    rounding = 1e-4 if VARIANTS[variant].field else 1e-5
    assert distance(reports[-1].heatmap, explanation.heatmap) < (
        0.02 if kind == "many" else rounding
    )


@pytest.mark.parametrize(
    "settings", [{"budget": 20}, {"budget": "fast"}, {"tolerance": 0.05}], ids=str
)
@variants
def test_each_image_of_a_batch_is_searched_for_its_own_target(
    settings: dict[str, Any], variant: str
) -> None:
    network = wide(gain=30.0)
    images = torch.stack([photo(seed) for seed in range(4)])
    targets = [3, None, 0, 8]
    spy, model = spied(network)
    maps = ScoreCAM(model, "network.maps", variant, **EAGER, **settings)(images, targets)
    passes = len(spy.images)
    alone = 0
    for image, target, result in zip(images, targets, maps, strict=True):
        spy, model = spied(network)
        [truth] = ScoreCAM(model, "network.maps", variant, **EAGER, **settings)(image[None], target)
        alone += len(spy.images)
        assert distance(result, truth) < 1e-5
    assert passes == alone - 3  # they share the fill


def test_the_batch_size_does_not_matter() -> None:
    network = wide(gain=30.0)
    truth = explained(network, photo(), tolerance=0.05)
    for batch_size in (1, 5, 1000):
        explanation = explained(network, photo(), tolerance=0.05, batch_size=batch_size)
        assert torch.equal(explanation.bank.asked, truth.bank.asked)
        assert off(explanation, truth) < 1e-5


def test_the_order_of_the_channels_does_not_matter() -> None:
    network = wide()
    order = torch.randperm(CHANNELS)
    moved = wide()
    with torch.no_grad():
        for old, new in zip(network.maps[0].parameters(), moved.maps[0].parameters(), strict=True):
            new.copy_(old[order])
        moved.after.weight.copy_(network.after.weight[:, order])
    one, other = (explained(wide_network, photo(), budget=20) for wide_network in (network, moved))
    assert order[other.bank.asked].sort().values.tolist() == one.bank.asked.tolist()
    assert off(one, other) < 1e-4


def test_reading_a_few_mask_bank_costs_no_pass() -> None:
    spy, model = spied(wide())
    explanation = scorecam.explain(model, photo(), layer="network.maps", budget=20, **EAGER)
    before = len(spy.seen)
    for variant in VARIANTS:
        for other in explanation.of(variant=variant).top(10):
            assert other.heatmap.isfinite().all()
            assert has_an_error(other)
            assert isinstance(other.health, tuple)
        explanation.bank.contrast(0, 1, variant)
    assert explanation.bank.completed.shape == (MASKS, 10)
    assert len(spy.seen) == before


def test_a_readout_of_one_class_selects_the_masks_of_that_class() -> None:
    network = wide(gain=30.0)
    for settings in ({"budget": 20}, {"tolerance": 0.1}):
        one = explained(network, photo(), 3, variant="increase", **settings)
        other = explained(
            network, photo(), lambda output: output[:, 3], variant="increase", **settings
        )
        assert torch.equal(one.bank.asked, other.bank.asked)
        assert off(one, other) < 1e-5
        assert other.error == pytest.approx(one.error, rel=1e-3)


@pytest.mark.parametrize(
    "settings", [{"budget": 20}, {"budget": "fast"}, {"tolerance": 0.1}], ids=str
)
def test_the_seed_changes_only_the_estimated_error(
    settings: dict[str, Any],
) -> None:
    network = wide(gain=30.0)
    first = explained(network, photo(), seed=5, **settings)
    torch.manual_seed(1)
    again = explained(network, photo(), seed=5, **settings)
    assert torch.equal(again.bank.scores, first.bank.scores)
    assert again.error == first.error
    assert first.provenance.seed == 5
    other = explained(network, photo(), seed=6, **settings)
    assert other.error != first.error
    if "budget" in settings and settings["budget"] != "fast":
        assert torch.equal(other.bank.asked, first.bank.asked)
        assert torch.equal(other.heatmap, first.heatmap)


@pytest.mark.parametrize("seed", [-1, 2**63, 2**80])
def test_any_integer_is_a_seed(seed: int) -> None:
    explanation = explained(wide(), photo(), budget=12, seed=seed)
    assert 0 < explanation.error < 1


# ── progress ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "settings", [{"budget": 40}, {"budget": "fast"}, {"tolerance": 0.02}, {"budget": 1000}], ids=str
)
def test_progress_reaches_its_total_with_converging_maps(
    settings: dict[str, Any],
) -> None:
    first, last = [], []
    for seed in range(5):
        reports: list[Progress] = []
        explanation = explained(wide(seed), photo(seed), progress=reports.append, **settings)
        done = [report.done for report in reports]
        assert done[0] == 0
        assert done == sorted(done)
        assert all(report.done <= report.total for report in reports)
        assert reports[-1].done == reports[-1].total == 1 + len(explanation.bank.asked)
        if explanation.bank.exact:
            continue
        maps = [report.heatmap for report in reports if report.heatmap is not None]
        assert len(maps) >= len(reports) - 1
        for heatmap in maps:
            assert heatmap.shape == (32, 32)
            assert heatmap.isfinite().all()
            assert heatmap.min() >= 0
        assert distance(maps[-1], explanation.heatmap) < 1e-5
        first.append(distance(maps[0], exact(seed).heatmap))
        last.append(distance(maps[-1], exact(seed).heatmap))
    # "fast" may stop after its first round; the last map is then the first.
    gain = 1.0 if settings == {"budget": "fast"} else 0.8
    assert settings == {"budget": 1000} or np.mean(last) <= gain * np.mean(first)


def test_progress_shows_the_map_of_the_first_image() -> None:
    network = wide()
    images = torch.stack([photo(seed) for seed in range(3)])
    reports: list[Progress] = []
    method = ScoreCAM(network, "maps", budget=20, progress=reports.append, **EAGER)
    maps = method(images, [1, 2, 3])
    assert reports[-1].done == reports[-1].total == 1 + 3 * 20
    assert distance(reports[-1].heatmap, maps[0]) < 1e-5


def test_an_exact_run_shows_no_map_before_the_end() -> None:
    reports: list[Progress] = []
    explained(wide(), photo(), progress=reports.append)
    assert all(report.heatmap is None for report in reports)


# ── failures on the way ──────────────────────────────────────────────────────────────────────


class Short(nn.Module):
    """Runs out of memory on pass number `at`, and in any pass of more than `limit` images."""

    def __init__(self, network: Wide, *, at: int = 0, limit: int = 1000) -> None:
        super().__init__()
        self.network = network
        self.at = at
        self.limit = limit
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        output = self.network(images)
        if len(self.batches) == self.at or len(images) > self.limit:
            raise MemoryError
        return output


@pytest.mark.parametrize(
    "settings", [{"budget": 20}, {"budget": "fast"}, {"tolerance": 0.05}], ids=str
)
@pytest.mark.parametrize("shortage", [{"at": 2}, {"at": 3}, {"limit": 3}, {"limit": 1}], ids=str)
def test_running_out_of_memory_does_not_change_the_map(
    shortage: dict[str, int], settings: dict[str, Any]
) -> None:
    network = wide(gain=30.0)
    truth = explained(network, photo(), **settings)
    short = Short(network, **shortage)
    explanation = explained(short, photo(), layer="network.maps", **settings)
    assert max(short.batches) > explanation.provenance.batch_size
    assert torch.equal(explanation.bank.asked, truth.bank.asked)
    torch.testing.assert_close(explanation.bank.scores, truth.bank.scores, rtol=0, atol=1e-4)
    assert off(explanation, truth) < 1e-5
    assert explanation.provenance.forward_passes == truth.provenance.forward_passes


class Spoilt(nn.Module):
    """Returns NaN for all images brighter than `above` except one."""

    def __init__(self, network: Wide, image: Tensor, above: float) -> None:
        super().__init__()
        self.network = network
        self.image = image
        self.above = above

    def forward(self, images: Tensor) -> Tensor:
        lost = (images.abs().flatten(1).mean(1) > self.above) & (images != self.image).flatten(
            1
        ).any(1)
        return self.network(images).masked_fill(lost[:, None], math.nan)


def spoilt(share: float) -> Spoilt:
    """A network that returns NaN for this share of the masks."""
    everything, model = spied(wide())
    ScoreCAM(model, "network.maps", **EAGER).bank(photo())
    brightness = everything.images[3:].abs().flatten(1).mean(1).sort().values
    between = round(len(brightness) * (1 - share))
    return Spoilt(wide(), photo(), float(brightness[between - 1 : between + 1].mean()))


@pytest.mark.parametrize(
    "settings", [{"budget": 30}, {"budget": "fast"}, {"tolerance": 0.05}], ids=str
)
def test_masks_with_nan_scores_are_skipped(
    settings: dict[str, Any],
) -> None:
    network = spoilt(0.25)
    truth = explained(network, photo(), layer="network.maps")
    lost = set(truth.bank.asked[~truth.bank.answered].tolist())
    assert len(lost) == round(0.25 * MASKS)
    explanation = explained(network, photo(), layer="network.maps", **settings)
    bank = explanation.bank
    asked_and_lost = set(bank.asked[~bank.answered].tolist())
    assert asked_and_lost == lost & set(bank.asked.tolist())
    assert asked_and_lost
    assert not bank.weights()[list(asked_and_lost)].any()
    assert int((bank.weights() != 0).sum()) == MASKS - len(asked_and_lost)
    assert explanation.heatmap.isfinite().all()
    assert 0 < explanation.error < 1
    assert [note.value for note in explanation.health if note.code == "not-finite"] == [
        len(asked_and_lost)
    ]
    if settings == {"budget": 30}:
        assert len(bank.asked) == 30


@variants
def test_if_every_score_is_nan_the_map_is_zero_and_the_error_one(variant: str) -> None:
    network = Spoilt(wide(), photo(), above=-1.0)  # the fill too
    explanation = explained(network, photo(), layer="network.maps", variant=variant, budget=30)
    assert len(explanation.bank.asked) == 30
    assert not explanation.bank.answered.any()
    assert not explanation.heatmap.any()
    assert not explanation.bank.weights().any()
    assert explanation.error == 1
    assert {"not-finite", "flat", "rough"} <= {note.code for note in explanation.health}


def test_one_finite_score_does_not_end_the_search() -> None:
    network = spoilt(1 - 1 / MASKS)
    explanation = explained(network, photo(), layer="network.maps", tolerance=0.3)
    assert explanation.bank.exact
    assert int(explanation.bank.answered.sum()) == 1


def test_a_nan_fill_score_affects_only_variants_that_use_it() -> None:
    class Empty(Spoilt):
        """Returns NaN only for the empty image."""

        def forward(self, images: Tensor) -> Tensor:
            empty = ~images.flatten(1).any(1)
            return self.network(images).masked_fill(empty[:, None], math.nan)

    network = Empty(wide(), photo(), 0.0)
    truth = explained(wide(), photo(), budget=20)
    explanation = explained(network, photo(), layer="network.maps", budget=20, head="logits")
    assert torch.equal(explanation.bank.asked, truth.bank.asked)
    assert off(explanation, truth) < 1e-5


# ── records and files ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "recorded"),
    [
        ({"budget": 20}, "20"),
        ({"budget": np.int64(20)}, "20"),
        ({"budget": "fast"}, "fast"),
        ({"tolerance": 0.05}, "tolerance 0.05"),
        ({}, "exact"),
    ],
)
def test_the_record_contains_scored_masks_and_estimated_error(
    settings: dict[str, Any], recorded: str
) -> None:
    explanation = explained(wide(), photo(), **settings)
    record = explanation_item(explanation, "cat.png", Path("overlay.png"), Path("bank.safetensors"))
    record = json.loads(json.dumps(record, allow_nan=False))
    asked = len(explanation.bank.asked)
    assert record["budget"] == explanation.provenance.budget == recorded
    assert record["channels"] == {"total": CHANNELS, "flat": FLAT, "asked": asked}
    assert record["forward_passes"] == 3 + asked
    assert record["error"] == explanation.error
    assert (record["error"] == 0) == (recorded == "exact") == (asked == MASKS)


@pytest.mark.parametrize("count", [2, 5, 20, 60])
def test_rough_is_noted_if_the_error_exceeds_its_threshold(count: int) -> None:
    for seed in range(4):
        explanation = explained(wide(seed, gain=60.0), photo(seed), budget=count)
        noted = {note.code: note for note in explanation.health}
        assert ("rough" in noted) == (explanation.error > RULES["rough"].threshold)
        if "rough" in noted:
            assert noted["rough"].value == explanation.error
            assert f"{count} of {len(explanation.bank.live)} masks" in noted["rough"].sentence
        legend = explanation.overlay()
        assert legend.mode == "RGB"


def test_rough_is_noted_for_few_masks_but_not_for_all() -> None:
    codes = [
        {note.code for note in explained(wide(1, gain=60.0), photo(1), budget=count).health}
        for count in (1, MASKS)
    ]
    assert ["rough" in noted for noted in codes] == [True, False]


@variants
def test_a_saved_few_mask_bank_keeps_its_maps_and_errors(variant: str, tmp_path: Path) -> None:
    bank = explained(wide(), photo(), variant=variant, budget=20, seed=3).bank
    bank.save(tmp_path / "few.safetensors")
    loaded = ScoreBank.load(tmp_path / "few.safetensors")
    assert torch.equal(loaded.asked, bank.asked)
    assert torch.equal(loaded.live, bank.live)
    assert not loaded.exact
    assert loaded.provenance == bank.provenance
    for target in range(10):
        assert distance(loaded.heatmap(target, variant), bank.heatmap(target, variant)) < 0.01
        assert loaded.error(target, variant) == pytest.approx(bank.error(target, variant), rel=0.03)


def test_keeping_some_classes_keeps_their_maps_and_errors() -> None:
    bank = explained(wide(), photo(), budget=20).bank
    kept = bank.keep([2, 5])
    for target, variant in itertools.product((2, 5), VARIANTS):
        # The other columns are merged; their prediction is not exactly a sum of predictions.
        # Without its mean weight, the same difference is a larger share of the map.
        limit = 0.04 if variant == "centred" else 0.02
        assert distance(kept.heatmap(target, variant), bank.heatmap(target, variant)) < limit
        assert kept.error(target, variant) == pytest.approx(bank.error(target, variant), rel=0.2)


# ── bad input ────────────────────────────────────────────────────────────────────────────────

BAD: list[dict[str, Any]] = [
    {"budget": 0},
    {"budget": -1},
    {"budget": True},
    {"budget": 1.5},
    {"budget": "quick"},
    {"budget": None},
    {"tolerance": 0},
    {"tolerance": 1},
    {"tolerance": "a"},
    {"tolerance": math.nan},
    {"tolerance": True},
    {"budget": "fast", "tolerance": 0.1},
    {"budget": 20, "tolerance": 0.1},
]


@pytest.mark.parametrize("settings", BAD, ids=str)
def test_invalid_budgets_are_refused_before_any_pass(
    settings: dict[str, Any],
) -> None:
    spy, model = spied(wide())
    callers: list[Callable[[], object]] = [
        lambda: ScoreCAM(model, **settings),
        lambda: scorecam.explain(model, photo(), **settings),
    ]
    for call in callers:
        with pytest.raises(SettingError) as raised:
            call()
        for name, value in settings.items():
            assert f"{name}={value!r}" in raised.value.what
        assert raised.value.do
    assert spy.seen == []


@pytest.mark.parametrize("seed", [None, 1.5, "1", True])
def test_a_seed_must_be_an_integer(seed: Any) -> None:
    with pytest.raises(SettingError, match="seed"):
        ScoreCAM(wide(), budget=12, seed=seed)


# ── the command ──────────────────────────────────────────────────────────────────────────────


def for_photos() -> nn.Module:
    """The model of `--model test_few_masks:for_photos`, with five classes for five names."""
    return wide(columns=5)


def words(*more: str) -> list[str]:
    given = options()
    given[given.index("--model") + 1] = f"{__name__}:for_photos"
    return ["explain", "cat.png", *given, "--layer", "maps", "--runtime", "eager", *more]


@pytest.mark.parametrize(
    ("more", "recorded"),
    [
        (["--budget", "fast"], "fast"),
        (["--budget", "30"], "30"),
        (["--tolerance", "0.05"], "tolerance 0.05"),
        ([], "exact"),
        (["--budget", "exact"], "exact"),
    ],
)
@pytest.mark.usefixtures("photo_folder")
def test_the_command_prints_a_strict_record_of_the_budget(more: list[str], recorded: str) -> None:
    answer = command(*words(*more, "--json"))
    assert answer.code == 0, answer
    [item] = answer.items
    channels = item["channels"]
    bank = ScoreBank.load(item["files"]["bank"])
    assert item["budget"] == recorded
    assert channels == {
        "total": CHANNELS,
        "flat": CHANNELS - len(bank.live),
        "asked": len(bank.asked),
    }
    assert item["forward_passes"] == 3 + channels["asked"]
    if recorded == "exact":
        assert bank.exact
        assert item["error"] == 0
    else:
        assert not bank.exact
        assert 0 < item["error"] < 1
    if recorded == "30":
        assert channels["asked"] == 30
    assert bank.error(item["target"]["index"]) == pytest.approx(item["error"], rel=0.03)


@pytest.mark.usefixtures("photo_folder")
def test_the_command_prints_the_number_of_masks_and_the_error() -> None:
    answer = command(*words("--budget", "30"))
    assert answer.code == 0, answer
    [item] = json.loads(Path("out/cat.json").read_text("utf-8"))["items"]
    assert f"30 of {CHANNELS} masks" in answer.out
    assert f"{item['error']:.2f}" in answer.out
    shown = command("show", "out/cat.safetensors", "--out", "again.png")
    assert f"30 of {CHANNELS} masks" in shown.out
    assert "masks" not in command(*words("--force")).out


@pytest.mark.usefixtures("photo_folder")
def test_the_command_passes_its_seed_on() -> None:
    errors = []
    for seed in ("0", "7", "-3"):
        [item] = command(*words("--budget", "12", "--seed", seed, "--json", "--force")).items
        errors.append(item["error"])
        assert ScoreBank.load(item["files"]["bank"]).provenance.seed == int(seed)
    assert len(set(errors)) == 3


@pytest.mark.parametrize(
    ("more", "phrases"),
    [
        (["--budget", "0"], ["budget=0"]),
        (["--budget", "-1"], ["-1"]),
        (["--budget", "quick"], ["'quick'", "'fast'"]),
        (["--budget", "1.5"], ["1.5"]),
        (["--budget", ""], ["budget=''"]),
        (["--tolerance", "2"], ["tolerance=2"]),
        (["--tolerance", "0"], ["tolerance=0"]),
        (["--tolerance", "nan"], ["tolerance=nan"]),
        (["--budget", "fast", "--tolerance", "0.1"], ["both", "'fast'", "0.1"]),
        (["--budget", "8", "--tolerance", "0.1"], ["both", "8", "0.1"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_command_refuses_invalid_budgets_in_one_paragraph(
    more: list[str], phrases: list[str], photo_folder: Path
) -> None:
    refused(command(*words(*more)), *phrases)
    assert not [name for name in listing(photo_folder) if name.startswith("out")]
