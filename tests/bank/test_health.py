"""Every note appears in a case made for it, with its value, threshold and source.

The cases are `Regions` on images of blobs: the heatmap and the value of each rule are known.
"""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam.testing import Regions

SIZE = (20, 30)
BLOB = 16
"""Pixels in one blob, 4 × 4."""


def blobs(rows: tuple[int, ...] = (8, 8, 8, 8)) -> Tensor:
    """Colour k is 1 on a 4 × 4 blob of its own, which starts in row `rows[k]`."""
    image = torch.zeros(len(rows), *SIZE)
    for colour, row in enumerate(rows):
        image[colour, row : row + 4, 5 + 5 * colour : 9 + 5 * colour] = 1.0
    return image


def explained(
    weights: list[list[float]],
    *,
    image: Tensor | None = None,
    target: int = 0,
    variant: str = "official",
    after: nn.Module | None = None,
) -> scorecam.Explanation:
    """The blobs explained by `Regions` with these scores per blob (not per pixel)."""
    network = nn.Sequential(Regions(torch.tensor(weights) / BLOB), after or nn.Identity())
    model = scorecam.open_model(network, head="probabilities" if after else "logits")
    shown = blobs() if image is None else image
    return scorecam.explain(model, shown, target, layer="0.maps", variant=variant)


def codes(explanation: scorecam.Explanation) -> set[str]:
    return {note.code for note in explanation.health}


def note(explanation: scorecam.Explanation, code: str) -> scorecam.Note:
    [result] = [note for note in explanation.health if note.code == code]
    assert not result.sentence[0].islower()
    assert result.sentence.endswith(".")
    return result


HEALTHY = [[1.6, 2.0, 2.2, 2.4], [0.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize("variant", scorecam.VARIANTS)
def test_a_healthy_heatmap_has_no_notes(variant: str) -> None:
    explanation = explained(HEALTHY, variant=variant)
    assert explanation.scaled.max() == 1
    assert explanation.health == ()


# ── flat ─────────────────────────────────────────────────────────────────────────────────────


def test_a_constant_heatmap_is_noted() -> None:
    explanation = explained([[-1.0, -2.0, -3.0, -1.0], [0.0] * 4], variant="increase")
    flat = note(explanation, "flat")
    assert (flat.value, flat.threshold) == (0, 0)
    assert "range is 0" in flat.sentence
    assert "nowhere positive" in flat.sentence
    assert not explanation.scaled.any()


def test_a_layer_with_only_flat_maps_is_noted() -> None:
    explanation = explained(HEALTHY, image=torch.ones(4, *SIZE))
    assert "all 4 activation maps are flat" in note(explanation, "flat").sentence
    assert codes(explanation) == {"flat"}


# ── not finite ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_nonfinite_maps_and_scores_are_counted(odd: float) -> None:
    explanation = explained(HEALTHY)
    bank = explanation.bank
    maps = torch.cat([bank.activations, torch.full((2, *SIZE), odd)])
    scores = bank.scores.clone()
    scores[1, 1] = odd
    spoilt = dataclasses.replace(bank, activations=maps, scores=scores)
    result = note(dataclasses.replace(explanation, bank=spoilt), "not-finite")
    assert (result.value, result.threshold) == (3, 0)
    assert "2 activation maps and the scores of 1 masked" in result.sentence
    assert "threshold 0" in result.sentence
    assert "65,504" in result.sentence


# ── below the fill ───────────────────────────────────────────────────────────────────────────


def test_all_scores_below_the_fill_are_noted() -> None:
    explanation = explained([[-1.0, -2.0, -3.0, -1.5], [0.0] * 4])
    result = note(explanation, "below-fill")
    assert result.value == pytest.approx(-1)  # the largest of them, minus the fill's 0
    assert result.threshold == 0
    assert "the best is 1 below it" in result.sentence
    assert "threshold 0" in result.sentence
    assert "class 0" in result.sentence
    assert "Definition 4" in result.sentence


def test_one_score_above_the_fill_prevents_the_note() -> None:
    weights = [[-1.0, 0.25, -3.0, 6.0], [0.0] * 4]
    assert "below-fill" not in codes(explained(weights))
    assert "below-fill" in codes(explained([[-1.0, 0.0, -3.0, 0.0], [0.0] * 4]))


def test_nonfinite_scores_do_not_count_as_above_the_fill() -> None:
    explanation = explained([[-1.0, -2.0, -3.0, -1.5], [0.0] * 4])
    scores = explanation.bank.scores.clone()
    scores[2] = math.inf
    spoilt = dataclasses.replace(explanation.bank, scores=scores)
    result = note(dataclasses.replace(explanation, bank=spoilt), "below-fill")
    assert result.value == pytest.approx(-1)


# ── improbable ───────────────────────────────────────────────────────────────────────────────


def test_a_target_below_chance_is_noted_with_the_prediction() -> None:
    # z = (8.2, 0, 0, 0): the others have p = 1/(e^8.2 + 3) = 0.000274, a guess 1/4.
    weights = [[1.6, 2.0, 2.2, 2.4], *[[0.1, 0.0, 0.0, -0.1]] * 3]
    result = note(explained(weights, target=2), "improbable")
    p = 1 / (math.exp(8.2) + 3)
    assert result.value == pytest.approx(4 * p, rel=1e-4)
    assert result.value < result.threshold == 1
    assert f"{p:.2g}" in result.sentence
    assert "0.25 of a guess among 4 classes" in result.sentence
    assert "threshold" in result.sentence
    assert "class 0 (100%)" in result.sentence
    assert "improbable" not in codes(explained(weights, target=0))


def test_a_probability_equal_to_chance_is_not_improbable() -> None:
    explanation = explained([[0.0, 1.0, 0.0, -1.0]] * 2, target=1)
    assert explanation.target.probability == 0.5
    assert "improbable" not in codes(explanation)


def test_the_less_likely_side_of_a_binary_head_is_improbable() -> None:
    explanation = explained([[1.6, 2.0, 2.2, 2.4]], target=0)
    assert explanation.bank.head == "sigmoid"
    result = note(explanation, "improbable")
    assert result.value == pytest.approx(2 / (1 + math.exp(8.2)), rel=1e-3)
    assert "positive (100%)" in result.sentence


def test_a_value_is_never_improbable() -> None:
    network = Regions(torch.tensor([[-1.0, 2.0, 2.2, 2.4]]) / BLOB)
    explanation = scorecam.explain(network, blobs(), lambda output: -output[:, 0], layer="maps")
    assert "improbable" not in codes(explanation)


# ── one channel ──────────────────────────────────────────────────────────────────────────────


def test_a_channel_with_most_of_the_weight_is_noted() -> None:
    explanation = explained([[0.0, 0.0, math.log(6), 0.0], [0.0] * 4], variant="algorithm1")
    result = note(explanation, "one-channel")
    assert result.value == pytest.approx(6 / 9)
    assert result.value > result.threshold == 0.5
    assert "67%" in result.sentence
    assert "50 %" in result.sentence
    assert "than all the others together" in result.sentence


def test_a_channel_with_just_under_half_the_weight_is_not_noted() -> None:
    weights = [[0.0, 0.0, math.log(2.9), 0.0], [0.0] * 4]
    assert codes(explained(weights, variant="algorithm1")) == set()


def test_a_large_negative_weight_counts_too() -> None:
    weights = [[0.5, 0.5, -8.0, 0.5], [-20.0] * 4]
    result = note(explained(weights, variant="increase"), "one-channel")
    assert result.value == pytest.approx(8 / 9.5)


def test_positive_weights_alone_count_for_centred() -> None:
    # Their absolute sum is twice their positive sum, so no channel can have more than half of it.
    p = torch.tensor([0.9, 0.3, 0.3, 0.1, 0.1, 0.01])
    bank = explained(HEALTHY).bank
    six = bank.activations[[0, 1, 2, 3, 0, 1]]
    every = torch.arange(6)
    mine = dataclasses.replace(
        bank,
        activations=six,
        live=every,
        asked=every,
        scores=torch.stack([p.logit(), torch.zeros(6)], dim=1),
    )
    explanation = scorecam.Explanation(mine, mine.target(0), mine.variant("centred"))
    above = (p - p.mean()).relu()
    result = note(explanation, "one-channel")
    assert result.value == pytest.approx(float(above.max() / above.sum()))
    assert result.value > 0.9


# ── not logits ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("variant", ["algorithm1", "increase"])
def test_a_formula_for_logits_on_probabilities_is_noted(variant: str) -> None:
    result = note(explained(HEALTHY, variant=variant, after=nn.Softmax(dim=1)), "not-logits")
    assert result.value > result.threshold == 0
    assert "threshold 0" in result.sentence
    assert "official" in result.sentence


@pytest.mark.parametrize("variant", ["official", "literal"])
def test_formulas_for_probabilities_fit_probabilities(variant: str) -> None:
    assert codes(explained(HEALTHY, variant=variant, after=nn.Softmax(dim=1))) == set()


@pytest.mark.parametrize("variant", scorecam.VARIANTS)
def test_logits_fit_every_formula(variant: str) -> None:
    assert "not-logits" not in codes(explained(HEALTHY, variant=variant))


# ── border ───────────────────────────────────────────────────────────────────────────────────


def test_a_heatmap_mostly_along_the_edges_is_noted() -> None:
    # The outer tenth of 20 × 30, 2 rows or 3 columns on each side, excludes 16 × 24 pixels: 36 %.
    # Half of a blob in rows 0 to 3 or 16 to 19 is there, and 3/4 of one in columns 0 to 3.
    image = blobs((0, 0, 16, 16))
    image[0] = 0.0
    image[0, 8:12, 0:4] = 1.0
    explanation = explained([[2.0] * 4, [0.0] * 4], image=image)  # equal weights
    result = note(explanation, "border")
    assert result.value == pytest.approx((12 + 8 + 8 + 8) / 64 / 0.36)
    assert result.value > result.threshold > 1
    assert f"{result.value:.2f} times" in result.sentence
    assert f"threshold {result.threshold:g}" in result.sentence
    assert "photos" in result.sentence  # where the threshold comes from


def test_a_heatmap_with_slightly_more_at_the_edges_is_not_noted() -> None:
    # (8 + 8 + 8 + 0) / 64 / 0.36 = 1.04
    image = blobs((0, 0, 0, 8))
    assert codes(explained([[2.0] * 4, [0.0] * 4], image=image)) == {"saturated"}


def test_an_image_too_small_for_a_border_gets_no_note() -> None:
    network = Regions(torch.ones(2, 3))
    image = torch.zeros(3, 4, 9)
    image[0, 0, 0] = image[1, 0, 2] = image[2, 3, 8] = 1.0
    assert "border" not in codes(scorecam.explain(network, image, 0, layer="maps"))


@pytest.mark.parametrize("axes", [1, 3])
def test_signals_and_volumes_have_borders_too(axes: int) -> None:
    # One cell per colour; the first coordinate is inside or outside the outer tenth.
    size = (20, 30, 10)[:axes]
    network = Regions(torch.tensor([[1.0] * 3, [-1.0] * 3]), axes)
    for first, is_border in ((0, True), (9, False)):
        image = torch.zeros(3, *size)
        for colour in range(3):
            image[(colour, first, *[4 + colour] * (axes - 1))] = 1.0
            image[colour, first + colour % 2] *= 1.0 + colour
        result = codes(scorecam.explain(network, image, 0, layer="maps"))
        assert ("border" in result) == is_border


# ── all notes ────────────────────────────────────────────────────────────────────────────────


def test_notes_are_about_the_shown_target_and_variant() -> None:
    weights = [[0.2, 1.0, 2.0, 2.4], [-3.0, -3.0, -3.0, -3.0]]
    explanation = explained(weights)
    assert codes(explanation) == set()
    assert {"below-fill", "improbable"} <= codes(explanation.of(1))
    assert "flat" in codes(explanation.of(1, "increase"))


def test_notes_are_the_same_after_saving_and_loading(tmp_path: object) -> None:
    explanation = explained([[-1.0, -2.0, -3.0, -1.5], [0.0] * 4], variant="algorithm1")
    path = f"{tmp_path}/bank.safetensors"
    explanation.bank.save(path)
    again = dataclasses.replace(explanation, bank=scorecam.ScoreBank.load(path))
    before, after = explanation.health, again.health
    assert [note.code for note in after] == [note.code for note in before]
    assert {"below-fill", "improbable"} <= {note.code for note in after}
    assert [note.sentence for note in after] == [note.sentence for note in before]
    # float16 moves a logit by 2^-11 of its distance from the largest; here 3 at most.
    for one, other in zip(before, after, strict=True):
        assert other.value == pytest.approx(one.value, abs=3 * 2**-11)
        assert other.threshold == one.threshold
