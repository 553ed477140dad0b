"""`centred`: α_k = s_k − mean of s, and what follows from it on paper."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam import ScoreBank, cam
from scorecam.bank.bank import Provenance
from scorecam.cam import Head
from scorecam.testing import Regions, regions

SIZES = (4, 2, 1)
WEIGHTS = torch.tensor([[0.3, -0.2, 1.1], [0.0, 0.4, 0.0]])


def photo() -> Tensor:
    return regions(SIZES, 3, 4)


def bank_of(network: nn.Module, head: str = "auto", image: Tensor | None = None) -> ScoreBank:
    model = scorecam.open_model(network, head=head)
    return scorecam.ScoreCAM(model, "maps").bank(photo() if image is None else image)


def random_bank(channels: int, columns: int = 4, head: Head = "logits") -> ScoreBank:
    generator = torch.Generator().manual_seed(channels)
    maps = torch.rand(channels, 4, 5, generator=generator)
    maps[::7] = 0.5  # flat: no mask
    every = torch.arange(channels)[maps.flatten(1).std(dim=1) > 0]
    return ScoreBank(
        activations=maps,
        live=every,
        asked=every,
        scores=torch.randn(len(every), columns, generator=generator),
        image_scores=torch.randn(columns, generator=generator),
        fill_scores=torch.zeros(columns),
        size=(16, 20),
        masking=scorecam.Masking(),
        head=head,
        names=None,
        layer="maps",
        provenance=Provenance("random", "cpu", "float32", 3, batch_size=1, seconds=0.0),
    )


class Shown(nn.Module):
    """A linear classifier; the maps of its layer `maps` are linear combinations of the colours.

    Args:
        maps: the weights of each map, `k c`.
        offset: added to every map.
        score: the score of every image; None for that of the classifier.
    """

    def __init__(self, maps: Tensor, offset: float = 0.0, score: float | None = None) -> None:
        super().__init__()
        self.maps = nn.Conv2d(maps.shape[1], len(maps), 1)
        self.score = score
        with torch.no_grad():
            self.maps.weight.copy_(maps[:, :, None, None])
            self.maps.bias.fill_(offset)  # type: ignore[union-attr]

    def forward(self, images: Tensor) -> Tensor:
        self.maps(images)
        z = images[:, 0].sum((1, 2)) - 0.5 * images[:, 1].sum((1, 2))
        z = z if self.score is None else torch.full_like(z, self.score)
        return torch.stack([z, torch.zeros_like(z)], dim=1)


EYE = torch.eye(3)


def scaled(bank: ScoreBank, target: int = 0) -> Tensor:
    return scorecam.scaled(bank.heatmap(target, "centred"))


# ── known answers ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("score", [0.0, 0.1, -7.3, 45.0, 1e-20])
@pytest.mark.parametrize("head", ["logits", "value"])
def test_channels_that_share_one_score_give_an_empty_map_and_a_note(
    score: float, head: str
) -> None:
    bank = bank_of(Shown(EYE, score=score), head)
    explanation = scorecam.Explanation(bank, bank.target(0), bank.variant("centred"))
    assert not explanation.heatmap.any()
    [note] = [note for note in explanation.health if note.code == "flat"]
    assert "every masked photo has the same score" in note.sentence


def test_scores_that_differ_only_by_rounding_give_an_empty_map() -> None:
    bank = random_bank(channels=200, columns=1, head="value")
    noise = 45 + 1e-5 * torch.randn(bank.scores.shape, generator=torch.Generator().manual_seed(0))
    assert not dataclasses.replace(bank, scores=noise).heatmap(0, "centred").any()


def test_a_dead_or_constant_channel_changes_nothing() -> None:
    for extra in (torch.zeros(2, 3), torch.zeros(1, 3)):
        more = torch.cat([EYE, extra])
        for offset in (0.0, 3.0):
            alone, together = bank_of(Shown(EYE, offset)), bank_of(Shown(more, offset))
            assert len(together.live) == len(alone.live)
            torch.testing.assert_close(
                together.heatmap(0, "centred"), alone.heatmap(0, "centred"), rtol=0, atol=1e-7
            )


@pytest.mark.parametrize("copies", [2, 5])
def test_duplicating_every_channel_leaves_the_scaled_map_alone(copies: int) -> None:
    alone, together = bank_of(Shown(EYE)), bank_of(Shown(EYE.repeat(copies, 1)))
    torch.testing.assert_close(scaled(together), scaled(alone), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        together.heatmap(0, "centred"), copies * alone.heatmap(0, "centred"), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("shift", [-30.0, 0.7, 45.0])
def test_adding_to_every_score_changes_nothing(shift: float) -> None:
    bank = random_bank(channels=20, columns=4, head="value")
    moved = dataclasses.replace(bank, scores=bank.scores + shift)
    torch.testing.assert_close(
        moved.heatmap(2, "centred"), bank.heatmap(2, "centred"), rtol=0, atol=1e-4
    )
    assert not torch.equal(moved.heatmap(2, "official"), bank.heatmap(2, "official"))


def test_adding_a_constant_to_every_activation_map_changes_nothing() -> None:
    bank = random_bank(channels=20, columns=4)
    moved = dataclasses.replace(bank, activations=bank.activations + 2)
    torch.testing.assert_close(
        moved.heatmap(1, "centred"), bank.heatmap(1, "centred"), rtol=0, atol=1e-5
    )


def test_official_is_its_mean_weight_times_the_plain_sum_plus_centred() -> None:
    bank = random_bank(channels=30, columns=5)
    maps = bank.activations[bank.live]
    p = bank.weights(3, "official")[bank.live]
    rest = cam.weighted_sum(maps, bank.weights(3, "centred")[bank.live])
    total = p.mean() * maps.sum(dim=0) + rest
    torch.testing.assert_close(cam.weighted_sum(maps, p), total, rtol=1e-5, atol=1e-5)


def test_the_map_is_the_covariance_of_score_and_activation_over_channels() -> None:
    bank = random_bank(channels=30, columns=5)
    maps = bank.activations[bank.live].flatten(1).double()
    p = bank.completed.double().softmax(dim=1)[:, 3]
    covariance = ((p - p.mean())[:, None] * (maps - maps.mean(dim=0))).sum(dim=0)
    weights = bank.weights(3, "centred")[bank.live]
    signed = cam.weighted_sum(bank.activations[bank.live], weights).flatten()
    torch.testing.assert_close(signed.double(), covariance, rtol=0, atol=1e-5)


def test_weights_add_up_to_zero_and_other_channels_have_none() -> None:
    bank = random_bank(channels=30, columns=5)
    weights = bank.weights(0, "centred")
    assert float(weights.sum().abs()) < 1e-6
    assert set(weights.nonzero()[:, 0].tolist()) <= set(bank.live.tolist())


# ── auto ─────────────────────────────────────────────────────────────────────────────────────


def test_auto_is_official_for_classes_on_unsigned_layers() -> None:
    bank = bank_of(Regions(WEIGHTS))
    assert bank.variant().name == "official"
    assert torch.equal(bank.heatmap(0), bank.heatmap(0, "official"))
    assert scorecam.explain(scorecam.open_model(Regions(WEIGHTS)), photo(), layer="maps").variant


def test_auto_is_centred_for_values() -> None:
    model = scorecam.open_model(Regions(WEIGHTS), head="value")
    explanation = scorecam.explain(model, photo(), layer="maps")
    assert explanation.variant.name == "centred"
    assert "the value itself" in explanation.formula
    readout = scorecam.explain(Regions(WEIGHTS), photo(), lambda output: output[:, 0], layer="maps")
    assert readout.variant.name == "centred"


def test_auto_is_centred_on_signed_layers_and_official_there_gets_a_note() -> None:
    model = scorecam.open_model(Shown(torch.tensor([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])))
    explanation = scorecam.explain(model, photo(), 0, layer="maps")
    assert explanation.variant.name == "centred"
    assert "signed-layer" not in {note.code for note in explanation.health}
    for variant in ("official", "algorithm1", "literal"):
        notes = {note.code: note for note in explanation.of(variant=variant).health}
        # Two maps of 12 cells; 2 of the first and 1 of the second are negative.
        assert notes["signed-layer"].value == pytest.approx(3 / 24)
        assert "centred" in notes["signed-layer"].sentence


def test_auto_is_official_for_a_single_channel() -> None:
    one = torch.tensor([[1.0, -1.0, 0.0]])
    for head in ("value", "logits"):
        bank = bank_of(Shown(one), head)
        assert bank.variant().name == "official"
        explanation = scorecam.Explanation(bank, bank.target(0), bank.variant())
        assert explanation.heatmap.any()
        assert "signed-layer" not in {note.code for note in explanation.health}


def test_a_flat_channel_does_not_make_a_layer_signed() -> None:
    maps = torch.cat([EYE, torch.zeros(1, 3)])
    network = Shown(maps)
    with torch.no_grad():
        network.maps.bias[3] = -1.0  # type: ignore[index]
    assert bank_of(network).variant().name == "official"


@pytest.mark.parametrize("budget", ["exact", "fast", 2])
def test_auto_with_few_masks_is_the_same_as_naming_the_variant(budget: str | int) -> None:
    for head, name in (("logits", "official"), ("value", "centred")):
        model = scorecam.open_model(Regions(WEIGHTS), head=head)
        auto = scorecam.explain(model, photo(), 0, layer="maps", budget=budget)
        named = scorecam.explain(model, photo(), 0, layer="maps", budget=budget, variant=name)
        assert torch.equal(auto.bank.asked, named.bank.asked)
        assert torch.equal(auto.heatmap, named.heatmap)


def test_called_on_a_batch_auto_chooses_for_each_image() -> None:
    network = scorecam.open_model(Regions(WEIGHTS), head="value")
    images = torch.stack([photo(), photo().flip(2)])
    maps = scorecam.ScoreCAM(network, "maps")(images, 0)
    assert torch.equal(maps, scorecam.ScoreCAM(network, "maps", "centred")(images, 0))
