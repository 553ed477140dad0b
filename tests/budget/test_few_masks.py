"""Few masks instead of all, as users ask for it: budgets, tolerances, and what they promise.

What is promised of a map is checked on `Wide`: small convolutional networks of more than a hundred
channels whose answers vary smoothly with what a mask shows, as trained networks' do. They are run
by torch alone (`runtime="eager"`): converting one is never worth a test's time.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

import scorecam
from command_line import furnish, listing, options, refused
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
weighted = pytest.mark.parametrize("variant", [n for n, each in VARIANTS.items() if not each.field])
"""Those that are a weighted sum: the root in `consensus` makes small doubts large."""


class Wide(nn.Module):
    """Many channels on a grid an eighth or a quarter as fine as the image, two of them flat.

    Args:
        columns: of the output.
        axes: image axes.
        gain: how far logits lie apart.
        signed: whether the explained layer has no ReLU.
        end: what follows the logits.
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
    """A seeded image `c *i`, smooth enough to have places."""
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
    """Every mask of a photo, put to a network once for all tests."""
    return explained(wide(seed, gain=gain), photo(seed))


def distance(one: Tensor, other: Tensor) -> float:
    """The largest difference of two maps as they are shown."""
    return float((scorecam.scaled(one) - scorecam.scaled(other)).abs().max())


def has_an_error(found: scorecam.Explanation) -> bool:
    """Only a map that shows nothing, as all that are possible do, may be certain."""
    return 0 < found.error <= 1 or (found.error == 0 and not found.heatmap.any())


def off(found: scorecam.Explanation, truth: scorecam.Explanation) -> float:
    """The true error of a map."""
    return float((found.scaled - truth.scaled).abs().max())


def classes(explanation: scorecam.Explanation, count: int = 3) -> list[int]:
    """The largest, and some that are not."""
    order = explanation.bank.image_scores.argsort(descending=True).tolist()
    return order[::2][:count]


# ── how many masks ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [1, 2, ROUND - 1, ROUND, 3 * ROUND + 1, MASKS - 1])
def test_a_count_asks_about_so_many_masks_the_image_and_the_fill(count: int) -> None:
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


def test_fast_and_a_tolerance_ask_about_fewer_than_all() -> None:
    for settings in ({"budget": "fast"}, {"tolerance": 0.1}):
        found = explained(wide(), photo(), **settings)
        assert FAST.least <= len(found.bank.asked) < MASKS
        assert not found.bank.exact


def test_fast_never_asks_about_more_than_its_plan_says(monkeypatch: pytest.MonkeyPatch) -> None:
    channels = int(FAST.most) + 50
    network = wide(channels=channels)
    monkeypatch.setattr(plan, "FAST", dataclasses.replace(FAST, until=0.0))
    spy, model = spied(network)
    bank = ScoreCAM(model, "network.maps", budget="fast", **EAGER).bank(photo())
    assert len(bank.asked) == FAST.most == len(spy.images) - 3
    assert not bank.exact


def test_a_smaller_tolerance_asks_about_more_masks_and_none_about_fewer_than_fast_must() -> None:
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


def test_what_is_stated_of_a_tolerance_is_what_asking_stopped_at_whatever_the_seed() -> None:
    for number in range(4):
        errors = set()
        for seed in range(6):
            found = explained(wide(number, gain=30.0), photo(number), tolerance=0.05, seed=seed)
            errors.add(found.error)
        assert max(errors) <= 0.05
        assert len(errors) == 6  # each is another estimate


@pytest.mark.parametrize(
    ("end", "target", "more"),
    [
        (None, None, 0),
        (nn.Softmax(dim=1), None, 1),  # one to see that these are probabilities
        (nn.Sigmoid(), 3, 1),
        (None, lambda output: output[:, 3], 0),
    ],
    ids=["logits", "probabilities", "sigmoids", "function"],
)
@pytest.mark.parametrize(
    "settings", [{"budget": 9}, {"budget": "fast"}, {"tolerance": 0.02}], ids=str
)
def test_the_passes_that_are_reported_are_those_that_ran(
    settings: dict[str, Any], end: nn.Module | None, target: Any, more: int
) -> None:
    spy, model = spied(wide(end=end))
    found = scorecam.explain(model, photo(), target, **EAGER, **settings)
    look = 1  # for the default layer
    assert found.provenance.forward_passes == len(spy.images) - look
    assert found.provenance.forward_passes == 3 + len(found.bank.asked) + more


def test_what_a_reduced_budget_asks_are_questions_of_the_exact_run() -> None:
    network = wide()
    everything, model = spied(network)
    ScoreCAM(model, "network.maps", **EAGER).bank(photo())
    for settings in ({"budget": 30}, {"budget": "fast"}, {"tolerance": 0.05}):
        few, model = spied(network)
        bank = ScoreCAM(model, "network.maps", **EAGER, **settings).bank(photo())
        assert torch.equal(few.images[:3], everything.images[:3])
        questions = [each.images[3:].flatten(1).double() for each in (few, everything)]
        far = torch.cdist(*questions, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = far.min(dim=1)
        assert nearest.values.max() < 1e-5
        assert len(nearest.indices.unique()) == len(bank.asked)
        # And each one's answer is kept as its own.
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
def test_channels_that_share_a_mask_are_asked_about_once_and_count_as_asked(
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


def test_masks_that_are_all_but_the_same_can_be_asked_about() -> None:
    # With an epsilon, maps of two scales make two masks, which hardly differ.
    masking = scorecam.Masking(epsilon=1e-8)
    network = Copied(wide(channels=6))
    bank = explained(network, photo(), layer="copies", budget=7, masking=masking).bank
    assert len(bank.asked) == 7
    assert bank.heatmap().isfinite().all()
    assert 0 <= bank.error() <= 1


class Cells(nn.Module):
    """A grid of two cells: every mask is one of two, but for its scale."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 40, (4, 4), stride=4)
        self.classes = nn.Linear(40, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.maps(images).flatten(2).mean(2))


def test_a_grid_of_two_cells_can_be_asked_about_with_any_masking() -> None:
    for masking in (scorecam.Masking(), scorecam.Masking(epsilon=1e-3)):
        found = explained(Cells(), photo(0, 4, 8), budget=12, masking=masking)
        assert found.heatmap.isfinite().all()
        assert 0 <= found.error <= 1


@pytest.mark.parametrize(
    "settings", [{"budget": 5}, {"budget": "fast"}, {"tolerance": 0.1}], ids=str
)
def test_where_no_channel_has_a_mask_only_the_image_and_the_fill_are_asked(
    settings: dict[str, Any],
) -> None:
    network = wide(channels=5)
    for parameter in network.maps.parameters():
        nn.init.zeros_(parameter)
    spy, model = spied(network)
    found = scorecam.explain(model, photo(), layer="network.maps", **EAGER, **settings)
    assert len(spy.images) == 3
    assert not found.heatmap.any()
    assert found.error == 0


# ── how near ─────────────────────────────────────────────────────────────────────────────────

SEEDS = range(12)


@functools.cache
def outcomes(variant: str, **settings: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every pair of a photo and a class: the stated error, the true one, and masks asked."""
    found = []
    for seed in SEEDS:
        for target in classes(exact(seed)):
            few = explained(wide(seed), photo(seed), target, variant=variant, **settings)
            truth = exact(seed).of(target, variant)
            found.append((few.error, off(few, truth), len(few.bank.asked)))
    stated, true, asked = np.array(found).T
    return stated, true, asked


@weighted
def test_fast_maps_are_near_the_exact_ones_for_less_than_half_of_the_passes(variant: str) -> None:
    _, true, asked = outcomes(variant, budget="fast")
    assert true.mean() < 0.1
    assert np.mean(true <= FAST.until) >= 0.9
    assert asked.mean() < MASKS / 2


@weighted
def test_a_tolerance_is_met_in_nine_of_ten_maps(variant: str) -> None:
    stated, true, asked = outcomes(variant, tolerance=0.05)
    assert np.all(stated <= 0.05)
    assert np.mean(true <= 0.05) >= 0.9
    assert asked.mean() < 0.75 * MASKS


def test_consensus_takes_more_masks_and_keeps_its_tolerance() -> None:
    stated, true, asked = outcomes("consensus", tolerance=0.05)
    assert np.all(stated <= 0.05)
    assert np.mean(true <= 0.05) >= 0.9
    assert asked.mean() > 0.75 * MASKS


@variants
def test_the_stated_error_is_seldom_exceeded_and_not_far_from_the_true_one(variant: str) -> None:
    stated, true, _ = outcomes(variant, budget=12)
    assert np.mean(true <= stated) >= 0.8
    assert stated.mean() < 4 * true.mean()


@pytest.mark.parametrize("variant", ["official", "algorithm1"])
def test_the_class_that_was_aimed_at_is_known_better_than_if_another_had_been(variant: str) -> None:
    aimed, missed = [], []
    for seed in range(6):
        network, image = wide(seed, gain=40.0), photo(seed)
        targets = classes(exact(seed, 40.0), 4)
        for target in targets:
            found = explained(network, image, target, variant=variant, budget=5 * ROUND)
            for other in targets:
                (aimed if other == target else missed).append(found.of(other).error)
    assert np.mean(aimed) < 0.95 * np.mean(missed)


def test_an_error_is_stated_for_every_class_and_variant_of_one_bank() -> None:
    found = explained(wide(), photo(), budget=12)
    errors = set()
    for target, variant in itertools.product(range(10), VARIANTS):
        other = found.of(target, variant)
        assert found.bank.error(target, variant) == other.error  # at every call
        assert has_an_error(other)
        errors.add(other.error)
    assert len(errors) > 30


def test_of_one_answer_nothing_can_be_stated() -> None:
    for seed in range(3):
        found = explained(wide(seed), photo(seed), budget=1)
        assert found.error == 1
        assert off(found, exact(seed)) < 1


def test_an_improbable_class_is_not_taken_for_a_certain_one() -> None:
    # A logit 75 below the largest: its map is made of weights of about 1e-33.
    network = wide(gain=30.0)
    with torch.no_grad():
        network.classes.bias[7] -= 75
    image = photo()
    truth = explained(network, image, 7)
    assert 0 < truth.heatmap.max() < 1e-30
    found = explained(network, image, 7, budget=12)
    assert off(found, truth) > 0.01
    assert found.error > 0.02
    near = explained(network, image, 7, tolerance=0.05)
    assert len(near.bank.asked) < MASKS
    assert off(near, truth) < 0.1


def test_more_masks_leave_less_error() -> None:
    for seed in range(3):
        network, image, truth = wide(seed), photo(seed), exact(seed)
        found = [explained(network, image, budget=count) for count in (4, 16, 64)]
        stated = [each.error for each in found]
        true = [off(each, truth) for each in found]
        assert stated[0] > stated[1] > stated[2] > 0
        assert true[0] > true[2]


# ── the same whatever it is run on ───────────────────────────────────────────────────────────

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
def test_for_every_head_layer_and_variant_few_masks_come_near_and_say_how_near(
    kind: str, variant: str
) -> None:
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
    told: list[Progress] = []
    found = explained(network, image, target, variant=variant, budget=20, progress=told.append)
    # Of more than 64 columns the smaller ones count as one while masks are chosen, and what is
    # predicted of that one is not quite the sum of what is predicted of them.
    # A square root makes 1e-10 of a part 1e-5 of the map.
    rounding = 1e-4 if VARIANTS[variant].field else 1e-5
    assert distance(told[-1].heatmap, found.heatmap) < (0.02 if kind == "many" else rounding)


@pytest.mark.parametrize(
    "settings", [{"budget": 20}, {"budget": "fast"}, {"tolerance": 0.05}], ids=str
)
@variants
def test_images_of_one_batch_are_each_asked_about_for_their_own_target(
    settings: dict[str, Any], variant: str
) -> None:
    network = wide(gain=30.0)
    images = torch.stack([photo(seed) for seed in range(4)])
    targets = [3, None, 0, 8]
    spy, model = spied(network)
    maps = ScoreCAM(model, "network.maps", variant, **EAGER, **settings)(images, targets)
    passes = len(spy.images)
    alone = 0
    for image, target, found in zip(images, targets, maps, strict=True):
        spy, model = spied(network)
        [truth] = ScoreCAM(model, "network.maps", variant, **EAGER, **settings)(image[None], target)
        alone += len(spy.images)
        assert distance(found, truth) < 1e-5
    assert passes == alone - 3  # they share the fill


def test_the_batch_size_does_not_matter() -> None:
    network = wide(gain=30.0)
    truth = explained(network, photo(), tolerance=0.05)
    for batch_size in (1, 5, 1000):
        found = explained(network, photo(), tolerance=0.05, batch_size=batch_size)
        assert torch.equal(found.bank.asked, truth.bank.asked)
        assert off(found, truth) < 1e-5


def test_the_order_of_the_channels_does_not_matter() -> None:
    network = wide()
    order = torch.randperm(CHANNELS)
    moved = wide()
    with torch.no_grad():
        for old, new in zip(network.maps[0].parameters(), moved.maps[0].parameters(), strict=True):
            new.copy_(old[order])
        moved.after.weight.copy_(network.after.weight[:, order])
    one, other = (explained(each, photo(), budget=20) for each in (network, moved))
    assert order[other.bank.asked].sort().values.tolist() == one.bank.asked.tolist()
    assert off(one, other) < 1e-4


def test_other_classes_variants_and_contrasts_of_few_masks_cost_no_pass() -> None:
    spy, model = spied(wide())
    found = scorecam.explain(model, photo(), layer="network.maps", budget=20, **EAGER)
    before = len(spy.seen)
    for variant in VARIANTS:
        for other in found.of(variant=variant).top(10):
            assert other.heatmap.isfinite().all()
            assert has_an_error(other)
            assert isinstance(other.health, tuple)
        found.bank.contrast(0, 1, variant)
    assert found.bank.completed.shape == (MASKS, 10)
    assert len(spy.seen) == before


def test_a_function_of_the_output_is_aimed_at_as_the_class_it_reads() -> None:
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
def test_the_same_seed_gives_the_same_and_another_only_another_estimate(
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
def test_any_whole_number_is_a_seed(seed: int) -> None:
    found = explained(wide(), photo(), budget=12, seed=seed)
    assert 0 < found.error < 1


# ── progress ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "settings", [{"budget": 40}, {"budget": "fast"}, {"tolerance": 0.02}, {"budget": 1000}], ids=str
)
def test_progress_counts_up_to_its_total_and_shows_a_map_that_sharpens(
    settings: dict[str, Any],
) -> None:
    first, last = [], []
    for seed in range(5):
        told: list[Progress] = []
        found = explained(wide(seed), photo(seed), progress=told.append, **settings)
        done = [each.done for each in told]
        assert done[0] == 0
        assert done == sorted(done)
        assert all(each.done <= each.total for each in told)
        assert told[-1].done == told[-1].total == 1 + len(found.bank.asked)
        if found.bank.exact:
            continue
        maps = [each.heatmap for each in told if each.heatmap is not None]
        assert len(maps) >= len(told) - 1
        for heatmap in maps:
            assert heatmap.shape == (32, 32)
            assert heatmap.isfinite().all()
            assert heatmap.min() >= 0
        assert distance(maps[-1], found.heatmap) < 1e-5
        first.append(distance(maps[0], exact(seed).heatmap))
        last.append(distance(maps[-1], exact(seed).heatmap))
    # "fast" may be content with its first round, whose map is then the last.
    gain = 1.0 if settings == {"budget": "fast"} else 0.8
    assert settings == {"budget": 1000} or np.mean(last) <= gain * np.mean(first)


def test_of_several_images_the_first_ones_map_is_shown() -> None:
    network = wide()
    images = torch.stack([photo(seed) for seed in range(3)])
    told: list[Progress] = []
    method = ScoreCAM(network, "maps", budget=20, progress=told.append, **EAGER)
    maps = method(images, [1, 2, 3])
    assert told[-1].done == told[-1].total == 1 + 3 * 20
    assert distance(told[-1].heatmap, maps[0]) < 1e-5


def test_with_every_mask_no_map_is_shown_before_the_end() -> None:
    told: list[Progress] = []
    explained(wide(), photo(), progress=told.append)
    assert all(each.heatmap is None for each in told)


# ── what goes wrong on the way ───────────────────────────────────────────────────────────────


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
def test_running_out_of_memory_on_the_way_changes_nothing(
    shortage: dict[str, int], settings: dict[str, Any]
) -> None:
    network = wide(gain=30.0)
    truth = explained(network, photo(), **settings)
    short = Short(network, **shortage)
    found = explained(short, photo(), layer="network.maps", **settings)
    assert max(short.batches) > found.provenance.batch_size
    assert torch.equal(found.bank.asked, truth.bank.asked)
    torch.testing.assert_close(found.bank.scores, truth.bank.scores, rtol=0, atol=1e-4)
    assert off(found, truth) < 1e-5
    assert found.provenance.forward_passes == truth.provenance.forward_passes


class Spoilt(nn.Module):
    """Answers NaN about images that are brighter than `above`, but for one."""

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
    """So many of the masks' answers are lost."""
    everything, model = spied(wide())
    ScoreCAM(model, "network.maps", **EAGER).bank(photo())
    brightness = everything.images[3:].abs().flatten(1).mean(1).sort().values
    between = round(len(brightness) * (1 - share))
    return Spoilt(wide(), photo(), float(brightness[between - 1 : between + 1].mean()))


@pytest.mark.parametrize(
    "settings", [{"budget": 30}, {"budget": "fast"}, {"tolerance": 0.05}], ids=str
)
def test_a_mask_that_is_answered_with_nan_is_left_out_and_the_rest_goes_on(
    settings: dict[str, Any],
) -> None:
    network = spoilt(0.25)
    truth = explained(network, photo(), layer="network.maps")
    lost = set(truth.bank.asked[~truth.bank.answered].tolist())
    assert len(lost) == round(0.25 * MASKS)
    found = explained(network, photo(), layer="network.maps", **settings)
    bank = found.bank
    asked_and_lost = set(bank.asked[~bank.answered].tolist())
    assert asked_and_lost == lost & set(bank.asked.tolist())
    assert asked_and_lost
    assert not bank.weights()[list(asked_and_lost)].any()
    assert int((bank.weights() != 0).sum()) == MASKS - len(asked_and_lost)
    assert found.heatmap.isfinite().all()
    assert 0 < found.error < 1
    assert [note.value for note in found.health if note.code == "not-finite"] == [
        len(asked_and_lost)
    ]
    if settings == {"budget": 30}:
        assert len(bank.asked) == 30


@variants
def test_where_every_answer_is_nan_the_map_is_zero_and_its_error_all(variant: str) -> None:
    network = Spoilt(wide(), photo(), above=-1.0)  # the fill too
    found = explained(network, photo(), layer="network.maps", variant=variant, budget=30)
    assert len(found.bank.asked) == 30
    assert not found.bank.answered.any()
    assert not found.heatmap.any()
    assert not found.bank.weights().any()
    assert found.error == 1
    assert {"not-finite", "flat", "rough"} <= {note.code for note in found.health}


def test_one_finite_answer_does_not_end_the_asking() -> None:
    network = spoilt(1 - 1 / MASKS)
    found = explained(network, photo(), layer="network.maps", tolerance=0.3)
    assert found.bank.exact
    assert int(found.bank.answered.sum()) == 1


def test_a_fill_that_is_answered_with_nan_does_not_matter_to_variants_that_do_not_read_it() -> None:
    class Empty(Spoilt):
        """Answers NaN about the empty image alone."""

        def forward(self, images: Tensor) -> Tensor:
            empty = ~images.flatten(1).any(1)
            return self.network(images).masked_fill(empty[:, None], math.nan)

    network = Empty(wide(), photo(), 0.0)
    truth = explained(wide(), photo(), budget=20)
    found = explained(network, photo(), layer="network.maps", budget=20, head="logits")
    assert torch.equal(found.bank.asked, truth.bank.asked)
    assert off(found, truth) < 1e-5


# ── records and files ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"budget": 20}, "20"),
        ({"budget": np.int64(20)}, "20"),
        ({"budget": "fast"}, "fast"),
        ({"tolerance": 0.05}, "tolerance 0.05"),
        ({}, "exact"),
    ],
)
def test_the_record_says_which_masks_were_asked_about_and_how_far_the_map_may_be_off(
    settings: dict[str, Any], said: str
) -> None:
    found = explained(wide(), photo(), **settings)
    record = explanation_item(found, "cat.png", Path("overlay.png"), Path("bank.safetensors"))
    record = json.loads(json.dumps(record, allow_nan=False))
    asked = len(found.bank.asked)
    assert record["budget"] == found.provenance.budget == said
    assert record["channels"] == {"total": CHANNELS, "flat": FLAT, "asked": asked}
    assert record["forward_passes"] == 3 + asked
    assert record["error"] == found.error
    assert (record["error"] == 0) == (said == "exact") == (asked == MASKS)


@pytest.mark.parametrize("count", [2, 5, 20, 60])
def test_rough_is_noted_where_the_stated_error_is_above_its_threshold(count: int) -> None:
    for seed in range(4):
        found = explained(wide(seed, gain=60.0), photo(seed), budget=count)
        noted = {note.code: note for note in found.health}
        assert ("rough" in noted) == (found.error > RULES["rough"].threshold)
        if "rough" in noted:
            assert noted["rough"].value == found.error
            assert f"{count} of {len(found.bank.live)} masks" in noted["rough"].sentence
        legend = found.overlay()
        assert legend.mode == "RGB"


def test_rough_is_noted_of_few_masks_and_not_of_all() -> None:
    codes = [
        {note.code for note in explained(wide(1, gain=60.0), photo(1), budget=count).health}
        for count in (1, MASKS)
    ]
    assert ["rough" in each for each in codes] == [True, False]


@variants
def test_a_bank_of_few_masks_keeps_its_maps_and_errors_in_its_file(
    variant: str, tmp_path: Path
) -> None:
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


def test_a_bank_that_keeps_some_classes_keeps_their_maps_and_errors() -> None:
    bank = explained(wide(), photo(), budget=20).bank
    kept = bank.keep([2, 5])
    for target, variant in itertools.product((2, 5), VARIANTS):
        # The rest is predicted as one column, which is not quite the sum of its predictions.
        assert distance(kept.heatmap(target, variant), bank.heatmap(target, variant)) < 0.02
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
def test_budgets_and_tolerances_that_make_no_sense_are_refused_before_anything_is_asked(
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
def test_a_seed_that_is_no_whole_number_is_refused(seed: Any) -> None:
    with pytest.raises(SettingError, match="seed"):
        ScoreCAM(wide(), budget=12, seed=seed)


# ── the command ──────────────────────────────────────────────────────────────────────────────


def for_photos() -> nn.Module:
    """What `--model test_few_masks:for_photos` names: five classes, as the names are."""
    return wide(columns=5)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with two photos, in which the test runs."""
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(*more: str) -> list[str]:
    given = options()
    given[given.index("--model") + 1] = f"{__name__}:for_photos"
    return ["explain", "cat.png", *given, "--layer", "maps", "--runtime", "eager", *more]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--budget", "fast"], "fast"),
        (["--budget", "30"], "30"),
        (["--tolerance", "0.05"], "tolerance 0.05"),
        ([], "exact"),
        (["--budget", "exact"], "exact"),
    ],
)
@pytest.mark.usefixtures("here")
def test_the_command_prints_a_strict_record_of_the_budget(more: list[str], said: str) -> None:
    answer = command(*words(*more, "--json"))
    assert answer.code == 0, answer
    [item] = answer.items
    channels = item["channels"]
    bank = ScoreBank.load(item["files"]["bank"])
    assert item["budget"] == said
    assert channels == {
        "total": CHANNELS,
        "flat": CHANNELS - len(bank.live),
        "asked": len(bank.asked),
    }
    assert item["forward_passes"] == 3 + channels["asked"]
    if said == "exact":
        assert bank.exact
        assert item["error"] == 0
    else:
        assert not bank.exact
        assert 0 < item["error"] < 1
    if said == "30":
        assert channels["asked"] == 30
    assert bank.error(item["target"]["index"]) == pytest.approx(item["error"], rel=0.03)


@pytest.mark.usefixtures("here")
def test_the_command_says_how_many_masks_and_how_far_off() -> None:
    answer = command(*words("--budget", "30"))
    assert answer.code == 0, answer
    [item] = json.loads(Path("out/cat.json").read_text("utf-8"))["items"]
    assert f"30 of {CHANNELS} masks" in answer.out
    assert f"{item['error']:.2f}" in answer.out
    shown = command("show", "out/cat.safetensors", "--out", "again.png")
    assert f"30 of {CHANNELS} masks" in shown.out
    assert "masks" not in command(*words("--force")).out


@pytest.mark.usefixtures("here")
def test_the_commands_seed_is_passed_on() -> None:
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
def test_the_command_refuses_a_budget_that_makes_no_sense_in_one_paragraph(
    more: list[str], phrases: list[str], here: Path
) -> None:
    refused(command(*words(*more)), *phrases)
    assert not [name for name in listing(here) if name.startswith("out")]
