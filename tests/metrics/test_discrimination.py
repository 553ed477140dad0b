"""Maps of two classes must be on different objects."""

from __future__ import annotations

import math

import torch

from scorecam import ScoreCAM
from scorecam.metrics.discrimination import discriminates, energy
from scorecam.testing import Regions, regions


def test_energy_is_the_share_inside_the_object() -> None:
    heatmap = torch.tensor([[1.0, 3.0], [0.0, -5.0]])
    assert energy(heatmap, torch.tensor([[1.0, 0.0], [0.0, 1.0]])) == 0.25
    assert math.isnan(energy(torch.zeros(2, 2), torch.ones(2, 2)))


def test_the_map_with_more_energy_in_the_object_is_right() -> None:
    own, other = torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, 3.0]])
    left = torch.tensor([[True, False]])
    assert discriminates(own, other, left) is True
    assert discriminates(other, own, left) is False
    assert discriminates(own, own * 2, left) is None  # the same map on another scale
    assert discriminates(own, torch.zeros(1, 2), left) is None


def test_score_cam_discriminates_the_classes_of_a_known_network() -> None:
    network = Regions(torch.tensor([[0.5, 0.1], [0.1, 0.5]]))
    image = regions((20, 16), 8, 8)
    bank = ScoreCAM(network, "maps").bank(image)
    for variant in ("official", "algorithm1", "increase", "consensus"):
        maps = [bank.heatmap(target, variant) for target in (0, 1)]
        for target in (0, 1):
            assert discriminates(maps[target], maps[1 - target], image[target])
