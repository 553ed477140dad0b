"""The share of a heatmap that is the same for every class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import scorecam
from scorecam.cam import Variant, official
from scorecam.testing import Regions

SIDE = 12


def halves(rows: int) -> Tensor:
    """Colour 0 is 1 in the first rows, colour 1 in the others."""
    image = torch.zeros(2, SIDE, SIDE)
    image[0, :rows] = 1.0
    image[1, rows:, : SIDE // 2] = 1.0
    return image


def explained(weights: list[list[float]], image: Tensor) -> scorecam.Explanation:
    network = nn.Sequential(Regions(torch.tensor(weights) / SIDE))
    model = scorecam.open_model(network, head="logits")
    return scorecam.explain(model, image, 0, layer="0.maps", variant="official")


def test_a_map_with_equal_weights_is_all_class_free() -> None:
    explanation = explained([[0.0, 0.0], [0.0, 0.0]], halves(3))
    assert explanation.class_free == pytest.approx(1)


def test_the_share_is_the_squared_correlation_with_the_plain_sum() -> None:
    explanation = explained([[1.0, 0.0], [0.0, 0.0]], halves(3))
    maps = explanation.bank.activations.numpy()
    shown = explanation.bank.heatmap(0, "official", size=maps.shape[1:]).numpy()
    r = np.corrcoef(shown.ravel(), maps.sum(axis=0).ravel())[0, 1]
    assert 0.1 < r < 0.99
    assert explanation.class_free == pytest.approx(r**2, abs=1e-6)


def test_tiny_weights_have_a_share_too() -> None:
    large = explained([[1.0, 0.0], [0.0, 0.0]], halves(3))
    tiny = Variant("tiny", "", lambda answers, target: 1e-14 * official(answers, target))
    assert large.of(variant=tiny).class_free == pytest.approx(large.class_free, abs=1e-5)


def test_a_map_opposite_to_the_plain_sum_has_no_class_free_part() -> None:
    image = halves(3)
    image[1] *= 9
    explanation = explained([[9.0, 0.0], [0.0, 9.0]], image).of(variant="centred")
    mean = explanation.bank.activations.sum(dim=0)
    assert np.corrcoef(explanation.heatmap.ravel(), mean.ravel())[0, 1] < 0
    assert explanation.class_free == 0


def test_another_target_has_its_own_share() -> None:
    explanation = explained([[1.0, 0.0], [0.0, 3.0]], halves(3))
    assert explanation.of(1).class_free != pytest.approx(explanation.class_free, abs=0.01)


def test_a_constant_map_has_no_share() -> None:
    explanation = explained([[0.0, 0.0], [0.0, 0.0]], halves(3)).of(variant="centred")
    assert explanation.heatmap.max() == 0
    assert explanation.class_free is None
