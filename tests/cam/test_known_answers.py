"""Heatmaps that can be computed by hand.

`Regions` with one weight row per class, shown an image whose colour k is 1 on R_k and 0 elsewhere:
the mask of colour k is that colour itself, X·H_k keeps region k alone, and z_t(X·H_k) = W_tk·|R_k|.
Three regions of 4, 2 and 1 pixels and the first row W_0 = (0, ln 2 / 2, ln 4 / 1) give

    z_0(X·H) = (0, ln 2, ln 4)      z_1 = (0, 0, 0)      p_0 = e^z_0 / (e^z_0 + 1) = 1/2, 2/3, 4/5
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam.base.interpolation import upsample
from scorecam.testing import Regions, regions

SIZES = (4, 2, 1)
LN2 = math.log(2)
WEIGHTS = torch.tensor([[0.0, LN2 / 2, 2 * LN2], [0.0, 0.0, 0.0]])
IMAGES = {1: (9,), 2: (3, 5), 3: (2, 3, 4)}


def on_regions(values: tuple[float, ...], image: tuple[int, ...]) -> Tensor:
    """The heatmap that has these values on the three regions, and 0 elsewhere."""
    return (regions(SIZES, *image) * torch.tensor(values).reshape(-1, *[1] * len(image))).sum(0)


def bank_of(network: nn.Module, layer: str, axes: int, head: str = "auto") -> scorecam.ScoreBank:
    model = scorecam.open_model(network, head=head)
    return scorecam.ScoreCAM(model, layer).bank(regions(SIZES, *IMAGES[axes]))


def close(actual: Tensor, values: tuple[float, ...]) -> None:
    truth = on_regions(values, tuple(actual.shape))
    torch.testing.assert_close(actual, truth, rtol=0, atol=1e-6)


def channel_softmax(*values: float) -> tuple[float, ...]:
    total = sum(map(math.exp, values))
    return tuple(math.exp(value) / total for value in values)


# ── the four variants ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("axes", [1, 2, 3])
class TestLogits:
    def test_official_weights_are_probabilities(self, axes: int) -> None:
        bank = bank_of(Regions(WEIGHTS, axes), "maps", axes)
        close(bank.heatmap(0, "official"), (1 / 2, 2 / 3, 4 / 5))
        close(bank.heatmap(1, "official"), (1 / 2, 1 / 3, 1 / 5))

    def test_algorithm1_weights_are_a_softmax_over_channels(self, axes: int) -> None:
        bank = bank_of(Regions(WEIGHTS, axes), "maps", axes)
        close(bank.heatmap(0, "algorithm1"), (1 / 7, 2 / 7, 4 / 7))
        close(bank.heatmap(1, "algorithm1"), (1 / 3, 1 / 3, 1 / 3))

    def test_increase_weights_are_the_increase_of_the_score(self, axes: int) -> None:
        bank = bank_of(Regions(WEIGHTS, axes), "maps", axes)
        close(bank.heatmap(0, "increase"), (0, LN2, 2 * LN2))
        close(bank.heatmap(1, "increase"), (0, 0, 0))

    def test_centred_weights_are_probabilities_minus_their_mean(self, axes: int) -> None:
        bank = bank_of(Regions(WEIGHTS, axes), "maps", axes)
        mean = (1 / 2 + 2 / 3 + 4 / 5) / 3
        weights = [p - mean for p in (1 / 2, 2 / 3, 4 / 5)]
        torch.testing.assert_close(bank.weights(0, "centred"), torch.tensor(weights))
        close(bank.heatmap(0, "centred"), (0, weights[1], weights[2]))
        close(bank.heatmap(1, "centred"), (-weights[0], 0, 0))

    def test_literal_weights_are_a_softmax_of_the_probabilities(self, axes: int) -> None:
        bank = bank_of(Regions(WEIGHTS, axes), "maps", axes)
        close(bank.heatmap(0, "literal"), channel_softmax(1 / 2, 2 / 3, 4 / 5))
        close(bank.heatmap(1, "literal"), channel_softmax(1 / 2, 1 / 3, 1 / 5))

    def test_negative_evidence_is_removed(self, axes: int) -> None:
        weights = torch.tensor([[0.5, -3.0, 4.0], [0.0, 0.0, 0.0]])
        bank = bank_of(Regions(weights, axes), "maps", axes)
        close(bank.heatmap(0, "increase"), (2, 0, 4))

    def test_a_contrast_is_the_map_of_the_weight_difference(self, axes: int) -> None:
        bank = bank_of(Regions(WEIGHTS, axes), "maps", axes)
        # p_0 − p_1 = 0, 1/3, 3/5; the reverse contrast is empty.
        close(bank.contrast(0, 1), (0, 1 / 3, 3 / 5))
        close(bank.contrast(1, 0), (0, 0, 0))

    def test_a_scaled_map_ranges_from_zero_to_one(self, axes: int) -> None:
        bank = bank_of(Regions(WEIGHTS, axes), "maps", axes)
        close(scorecam.scaled(bank.heatmap(0, "official")), (5 / 8, 5 / 6, 1))
        close(scorecam.scaled(bank.heatmap(0, "algorithm1")), (1 / 4, 1 / 2, 1))
        close(scorecam.scaled(bank.heatmap(0, "increase")), (0, 1 / 2, 1))
        close(scorecam.scaled(bank.heatmap(1, "increase")), (0, 0, 0))

    def test_the_bank_holds_the_exact_scores(self, axes: int) -> None:
        bank = bank_of(Regions(WEIGHTS, axes), "maps", axes)
        truth = torch.tensor([[0.0, 0.0], [LN2, 0.0], [2 * LN2, 0.0]])
        torch.testing.assert_close(bank.scores, truth, rtol=0, atol=1e-6)
        torch.testing.assert_close(bank.image_scores, torch.tensor([3 * LN2, 0.0]))
        torch.testing.assert_close(bank.fill_scores, torch.zeros(2))

    def test_masked_pixels_take_the_fill_value(self, axes: int) -> None:
        # X·H_k + f·(1 − H_k): region k is as it was (colour k is 1, the others 0); the other
        # N − |R_k| pixels are f in every colour. So z_0 = W_0k·|R_k| + f·(N − |R_k|)·ΣW_0,
        # z_0(fill) = f·N·ΣW_0, and the increase is |R_k|·(W_0k − f·ΣW_0).
        weights = torch.tensor([[1.0, 2.0, 7.0], [0.0, 0.0, 0.0]])
        fill = 0.25
        pixels = math.prod(IMAGES[axes])
        masking = scorecam.Masking(fill=fill)
        cam = scorecam.ScoreCAM(Regions(weights, axes), "maps", masking=masking)
        bank = cam.bank(regions(SIZES, *IMAGES[axes]))
        shown = [
            w * size + fill * (pixels - size) * 10 for w, size in zip((1, 2, 7), SIZES, strict=True)
        ]
        torch.testing.assert_close(bank.scores[:, 0], torch.tensor(shown))
        assert bank.fill_scores[0].item() == pytest.approx(fill * pixels * 10)
        close(bank.heatmap(0, "increase"), (0, 0, 1 * (7 - 2.5)))


# ── other heads ──────────────────────────────────────────────────────────────────────────────


def test_one_column_is_read_as_a_sigmoid_head() -> None:
    bank = bank_of(Regions(WEIGHTS[:1], axes=2), "maps", axes=2)
    assert bank.head == "sigmoid"
    close(bank.heatmap(1, "official"), (1 / 2, 2 / 3, 4 / 5))  # σ(0), σ(ln 2), σ(ln 4)
    close(bank.heatmap(1, "algorithm1"), (1 / 7, 2 / 7, 4 / 7))
    close(bank.heatmap(1, "increase"), (0, LN2, 2 * LN2))
    assert bank.target().probability == pytest.approx(8 / 9)  # σ(ln 8)


def test_sigmoids_are_independent_of_each_other() -> None:
    weights = torch.tensor([[0.0, LN2 / 2, 2 * LN2], [3.0, 3.0, 3.0]])
    bank = bank_of(Regions(weights, axes=2), "maps", axes=2, head="sigmoid")
    close(bank.heatmap(0, "official"), (1 / 2, 2 / 3, 4 / 5))


def test_a_softmax_in_the_network_is_not_applied_twice() -> None:
    network = nn.Sequential(Regions(WEIGHTS, axes=2), nn.Softmax(dim=1))
    bank = bank_of(network, "0.maps", axes=2)
    assert bank.head == "probabilities"
    close(bank.heatmap(0, "official"), (1 / 2, 2 / 3, 4 / 5))
    close(bank.heatmap(0, "increase"), (0, 1 / 6, 3 / 10))  # p minus the 1/2 of an empty image
    close(bank.heatmap(0, "algorithm1"), channel_softmax(1 / 2, 2 / 3, 4 / 5))
    assert bank.target().probability == pytest.approx(8 / 9)


def test_a_value_is_not_transformed() -> None:
    cam = scorecam.ScoreCAM(Regions(WEIGHTS, axes=2), "maps")
    image = regions(SIZES, 3, 5)
    bank = cam.bank(image, target=lambda output: output[:, 0] - 3 * output[:, 1] + 1)
    assert bank.head == "value"
    close(bank.heatmap(0, "official"), (1, 1 + LN2, 1 + 2 * LN2))
    close(bank.heatmap(0, "increase"), (0, LN2, 2 * LN2))
    assert bank.target().probability is None
    assert bank.target().score == pytest.approx(3 * LN2 + 1)


def test_a_declared_head_is_used() -> None:
    network = nn.Sequential(Regions(WEIGHTS, axes=2), nn.Softmax(dim=1))
    bank = bank_of(network, "0.maps", axes=2, head="logits")
    p = [math.exp(q) / (math.exp(q) + math.exp(1 - q)) for q in (1 / 2, 2 / 3, 4 / 5)]
    close(bank.heatmap(0, "official"), tuple(p))


# ── the formula ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("head", "meaning"),
    [
        ("logits", "softmax of z over the columns"),
        ("sigmoid", "sigmoid of z"),
        ("probabilities", "p = z"),
        ("value", "p = z"),
    ],
)
def test_the_formula_defines_p(head: scorecam.model.model.Head, meaning: str) -> None:
    assert meaning in scorecam.VARIANTS["official"].formula_for(head)
    assert meaning not in scorecam.VARIANTS["increase"].formula_for(head)


def test_every_formula_states_how_weights_make_a_map() -> None:
    formulas = [variant.formula_for("logits") for variant in scorecam.VARIANTS.values()]
    assert all("ReLU(Σ_k α_k A_k), α_k = " in formula for formula in formulas)
    assert len(set(formulas)) == len(scorecam.VARIANTS)


# ── upsampling ───────────────────────────────────────────────────────────────────────────────


def test_upsampling_uses_half_pixel_centres() -> None:
    # Pixel centres are at 0.25, 0.75, 1.25, 1.75 cells, cell centres at 0.5 and 1.5.
    result = upsample(torch.tensor([[0.0, 1.0]]), (4,))
    torch.testing.assert_close(result, torch.tensor([[0.0, 0.25, 0.75, 1.0]]))


def test_upsampling_can_align_corners() -> None:
    result = upsample(torch.tensor([[0.0, 1.0]]), (4,), align_corners=True)
    torch.testing.assert_close(result, torch.tensor([[0.0, 1 / 3, 2 / 3, 1.0]]))


def test_rows_and_columns_are_not_swapped() -> None:
    rows = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]])
    result = upsample(rows, (4, 6))[0]
    assert result.shape == (4, 6)
    torch.testing.assert_close(result, result[:, :1].expand(4, 6))
    torch.testing.assert_close(result[:, 0], torch.tensor([0.0, 0.25, 0.75, 1.0]))


def test_masks_are_scaled_after_upsampling_by_default() -> None:
    # Three cells on two pixels: the peak at the middle cell is only seen from 0.75 cells away.
    from scorecam.cam import masks

    peak = torch.tensor([[0.0, 4.0, 1.0]])
    after = masks(peak, (2,), scorecam.Masking())
    before = masks(peak, (2,), scorecam.Masking(scale="before"))
    # Pixel centres at 0.75 and 2.25 cells: 0.75·0 + 0.25·4 = 1 and 0.25·4 + 0.75·1 = 1.75.
    torch.testing.assert_close(after, torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(before, torch.tensor([[1 / 4, 1.75 / 4]]))


def test_epsilon_is_added_to_the_range() -> None:
    from scorecam.cam import masks

    result = masks(torch.tensor([[2.0, 6.0]]), (2,), scorecam.Masking(epsilon=4.0))
    torch.testing.assert_close(result, torch.tensor([[0.0, 0.5]]))
