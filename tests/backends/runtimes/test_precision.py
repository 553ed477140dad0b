"""Half-precision networks, dead channels, overflow and NaN."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

import scorecam
from networks import CLASSES, NETWORKS, InPlace, Network, build, images_for
from scorecam.cam import masks
from scorecam.testing import Spy, regions

HALVES = {torch.float16: 0.02, torch.bfloat16: 0.12}
"""How far a scaled map may be from the float32 network's: some twenty roundings of a score."""


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("kind", NETWORKS)
def test_half_precision_with_dead_channels_stays_near_float32(
    kind: type[Network], dtype: torch.dtype
) -> None:
    network = build(kind)
    image = images_for(network)[0]
    halved = copy.deepcopy(network).to(dtype)
    full = scorecam.ScoreCAM(scorecam.open_model(network, head="logits"), network.layer).bank(image)
    half = scorecam.ScoreCAM(scorecam.open_model(halved, head="logits"), network.layer).bank(image)
    for result in (half.activations, half.scores, half.image_scores, half.fill_scores):
        assert result.dtype == torch.float32
        assert result.isfinite().all()
    assert half.provenance.precision == str(dtype).removeprefix("torch.")
    assert not {1, 4} & set(half.asked.tolist())
    for target in range(CLASSES):
        weights = half.weights(target, "official")
        assert weights.dtype == torch.float32
        heatmap = half.heatmap(target, "official")
        assert heatmap.dtype == torch.float32
        assert heatmap.isfinite().all()
        result, truth = scorecam.scaled(heatmap), scorecam.scaled(full.heatmap(target, "official"))
        torch.testing.assert_close(result, truth, rtol=0, atol=HALVES[dtype])


@pytest.mark.parametrize("dtype", HALVES)
def test_the_masks_of_a_half_precision_network_are_made_in_float32(dtype: torch.dtype) -> None:
    class Exact(nn.Module):
        """A layer with maps that are exact in any precision: cells 0, 1/4, 1/2, 3/4, 1."""

        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Identity()
            self.weight = nn.Parameter(torch.ones(1, dtype=dtype))
            self.asked: list[Tensor] = []

        def forward(self, images: Tensor) -> Tensor:
            self.asked.append(images.clone())
            steps = torch.arange(5, dtype=dtype) / 4
            maps = self.maps(steps.expand(len(images), 1, 1, 5))
            return maps.flatten(1)[:, :3] * self.weight

    network = Exact()
    model = scorecam.open_model(network, head="logits", layout="channels first")
    scorecam.ScoreCAM(model, "maps").bank(torch.ones(1, 2, 640))
    masked = network.asked[-1][2, 0]  # after the fill and the repeated image
    # 128 pixels a cell: every value is a multiple of 1/1024, exact in float32.
    truth = interpolate(torch.arange(5.0)[None, None] / 4, size=640, mode="linear")[0]
    assert masked.dtype == dtype
    assert torch.equal(masked, truth.expand(2, 640).to(dtype))  # rounded once, on input


# ── overflow ─────────────────────────────────────────────────────────────────────────────────


class Overflows(nn.Module):
    """In float16, channels 2 and 5 of `maps` overflow to infinity; what follows is capped."""

    def __init__(self) -> None:
        super().__init__()
        inner = build(InPlace)
        self.conv, self.classes = inner.conv, inner.classes
        self.maps = Strong()

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.maps(self.conv(images).abs()).clamp(max=1).mean((2, 3)))


class Strong(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        strength = torch.ones(9, 1, 1, dtype=maps.dtype)
        strength[[2, 5]] = 60_000
        return 20 * (maps * strength)


def test_channels_that_overflow_are_left_out_with_a_remark() -> None:
    image = images_for(build(InPlace))
    network = Overflows().half()
    infinite = [2, 5]
    explanation = scorecam.explain(network, image, 0)
    bank = explanation.bank
    assert bank.layer == "maps"
    finite = bank.activations.flatten(1).isfinite().all(dim=1)
    assert (~finite).nonzero()[:, 0].tolist() == infinite
    assert not set(infinite) & set(bank.asked.tolist())
    assert len(bank.asked) >= 4
    for variant in scorecam.VARIANTS:
        assert not bank.weights(0, variant)[infinite].any()
        assert bank.heatmap(0, variant).isfinite().all()
    assert explanation.scaled.max() == 1
    [note] = [note for note in explanation.health if note.code == "not-finite"]
    assert note.value == 2


class BlowsUp(nn.Module):
    """Returns NaN if it sees only the upper left pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.maps.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, images: Tensor) -> Tensor:
        sums = self.maps(images).flatten(2).sum(2)
        return torch.where((sums[:, :1] == 1) & (sums[:, 1:2] == 0), torch.nan, sums)


@pytest.mark.parametrize("variant", ["official", "algorithm1", "increase", "literal"])
def test_masked_images_with_nan_scores_are_skipped_with_a_remark(variant: str) -> None:
    # Three regions of 1, 3 and 2 pixels; the score of the first alone is NaN.
    image = regions((1, 3, 2), 4, 5)
    model = scorecam.open_model(BlowsUp(), head="logits")
    explanation = scorecam.explain(model, image, 2, layer="maps", variant=variant)
    bank = explanation.bank
    assert bank.asked.tolist() == [0, 1, 2]
    assert bank.answered.tolist() == [False, True, True]
    assert bank.weights(2, variant)[0] == 0
    assert explanation.heatmap.isfinite().all()
    if variant in ("algorithm1", "literal"):  # the others share all the weight
        assert bank.weights(2, variant).sum().item() == pytest.approx(1)
    assert [note.value for note in explanation.health if note.code == "not-finite"] == [1]


def test_without_finite_scores_the_map_is_zero() -> None:
    class NeverMasked(BlowsUp):
        def forward(self, images: Tensor) -> Tensor:
            sums = self.maps(images).flatten(2).sum(2)
            whole = (sums > 0).all(dim=1, keepdim=True) | (sums == 0).all(dim=1, keepdim=True)
            return torch.where(whole, sums, torch.inf)

    image = regions((1, 3, 2), 4, 5)
    explanation = scorecam.explain(
        scorecam.open_model(NeverMasked(), head="logits"), image, 2, layer="maps"
    )
    assert not explanation.bank.answered.any()
    assert not explanation.heatmap.any()
    assert {"flat", "not-finite"} <= {note.code for note in explanation.health}


def test_a_nan_score_of_the_empty_image_affects_few_variants() -> None:
    class BlankIsOdd(BlowsUp):
        def forward(self, images: Tensor) -> Tensor:
            sums = self.maps(images).flatten(2).sum(2)
            return torch.where((sums == 0).all(dim=1, keepdim=True), torch.nan, sums)

    image = regions((1, 3, 2), 4, 5)
    model = scorecam.open_model(BlankIsOdd(), head="logits")
    explanation = scorecam.explain(model, image, 2, layer="maps")
    truth = torch.diag(torch.tensor([1.0, 3.0, 2.0])).softmax(dim=1)[:, 2]
    torch.testing.assert_close(explanation.bank.weights(2), truth)
    assert "not-finite" in {note.code for note in explanation.health}
    spoilt = explanation.of(2, "increase")
    assert not spoilt.heatmap.any()
    assert {"flat", "not-finite"} <= {note.code for note in spoilt.health}


# ── NaN ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_a_model_error(value: float) -> None:
    network = build(InPlace)
    with torch.no_grad():
        network.classes.weight[0, 0] = value
    with pytest.raises(scorecam.ModelError, match="NaN or infinity"):
        scorecam.ScoreCAM(network, "norm")(images_for(network))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_images_that_are_not_finite_are_refused(value: float) -> None:
    network = build(InPlace)
    images = images_for(network, count=2)
    images[1, 0, 3, 5] = value
    with pytest.raises(scorecam.SettingError, match="NaN or infinity"):
        scorecam.ScoreCAM(network, "norm")(images)


def test_a_network_of_float64_is_explained_in_its_own_precision() -> None:
    network = build(InPlace)
    images = images_for(network)
    precise = copy.deepcopy(network).double()
    bank = scorecam.ScoreCAM(precise, "norm").bank(images)
    assert bank.provenance.precision == "float64"
    assert bank.scores.dtype == torch.float32
    expected = scorecam.scaled(scorecam.ScoreCAM(network, "norm")(images, 0)[0])
    torch.testing.assert_close(scorecam.scaled(bank.heatmap(0)), expected, rtol=0, atol=1e-5)


# ── whatever precision the caller prefers ────────────────────────────────────────────────────


def test_under_autocast_masks_scores_and_maps_stay_float32() -> None:
    network = build(InPlace)
    image = images_for(network)[0]
    truth = scorecam.scaled(scorecam.ScoreCAM(network, "norm")(image[None], 1)[0])
    spy = Spy(network)
    with torch.autocast("cpu", torch.bfloat16):
        bank = scorecam.ScoreCAM(spy, "network.norm").bank(image)
        heatmap = bank.heatmap(1)
    assert bank.activations.dtype == bank.scores.dtype == heatmap.dtype == torch.float32
    # The network computes in bfloat16, as requested. The masks are float32 masks of its
    # activations, not rounded to bfloat16 (a step of 2⁻⁸ below 1).
    made = masks(bank.activations[bank.asked], bank.size, bank.masking)
    torch.testing.assert_close(spy.images[3:], image * made[:, None], rtol=0, atol=1e-6)
    torch.testing.assert_close(scorecam.scaled(heatmap), truth, rtol=0, atol=0.12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_images_of_another_precision_give_float32_maps(dtype: torch.dtype) -> None:
    network = build(InPlace)
    x = images_for(network).to(dtype)
    result = scorecam.ScoreCAM(network, "norm")(x, 1)
    assert result.dtype == torch.float32
    assert torch.equal(result, scorecam.ScoreCAM(network, "norm")(x.float(), 1))


def test_a_default_dtype_of_float64_changes_nothing() -> None:
    network = build(InPlace)
    images = images_for(network)
    expected = scorecam.ScoreCAM(network, "norm")(images, 1)
    torch.set_default_dtype(torch.float64)
    try:
        result = scorecam.ScoreCAM(network, "norm")(images, 1)
    finally:
        torch.set_default_dtype(torch.float32)
    assert result.dtype == torch.float32
    assert torch.equal(result, expected)
