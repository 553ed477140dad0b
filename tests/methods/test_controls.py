"""Maps that know nothing of the model: their values are known."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

import scorecam
from method_cases import case_of, heatmap
from networks import InPlace, build, images_for
from scorecam.base.interpolation import upsample
from scorecam.methods.method import Case


@pytest.fixture
def case() -> Case:
    network = build(InPlace)  # a grid of 6 × 10 on photos of 24 × 40
    return case_of(network, images_for(network)[0], 1, "norm", seed=4)


def with_image(case: Case, image: Tensor) -> Case:
    return dataclasses.replace(case, image=image)


def test_uniform_is_one_everywhere(case: Case) -> None:
    assert torch.equal(heatmap("uniform", case), torch.ones(24, 40))


def test_fakecam_is_zero_in_one_corner_alone(case: Case) -> None:
    found = heatmap("fakecam", case)
    assert float(found[0, 0]) == 0
    assert float(found.sum()) == 24 * 40 - 1
    assert float(found.max()) == 1


def test_centre_is_a_gaussian_along_each_side(case: Case) -> None:
    found = heatmap("centre", with_image(case, torch.zeros(3, 25, 41)))
    assert float(found[12, 20]) == 1
    assert float(found.max()) == 1
    # One sigma, a quarter of the side, from the middle.
    odd = heatmap("centre:sigma=0.2", with_image(case, torch.zeros(3, 25, 45)))
    assert float(odd[12 + 5, 22]) == pytest.approx(0.60653, abs=1e-5)
    assert float(odd[12, 22 + 9]) == pytest.approx(0.60653, abs=1e-5)
    assert float(odd[12 - 5, 22 - 9]) == pytest.approx(0.36788, abs=1e-5)
    torch.testing.assert_close(found, found.flip(0))
    torch.testing.assert_close(found, found.flip(1))


def test_random_has_a_number_for_each_cell_of_the_layer(case: Case) -> None:
    found = heatmap("random", case)
    assert found.shape == (24, 40)
    assert 0 <= float(found.min()) < 0.2
    assert 0.8 < float(found.max()) <= 1
    # On 6 × 10 cells and no finer: linear interpolation to the pixels gives it back.
    centres = found.reshape(6, 4, 10, 4)[:, 1:3, :, 1:3].mean((1, 3))
    torch.testing.assert_close(upsample(centres[None], (24, 40))[0], found, rtol=0, atol=0.15)


def test_random_differs_between_images_and_seeds_but_not_between_runs(case: Case) -> None:
    found = heatmap("random", case)
    state = torch.random.get_rng_state()
    torch.rand(3)
    assert torch.equal(heatmap("random", with_image(case, case.image.clone())), found)
    torch.random.set_rng_state(state)
    changed = case.image.clone()
    changed[0, 0, 0] += 1e-3
    assert not torch.equal(heatmap("random", with_image(case, changed)), found)
    assert not torch.equal(heatmap("random", dataclasses.replace(case, seed=5)), found)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_edges_are_where_brightness_changes(case: Case) -> None:
    photo = torch.zeros(3, 24, 40)
    photo[:, :, 20:] = 1.0
    found = heatmap("edges", with_image(case, photo))
    # Sobel's 1 2 1 times a step of 1, in the two columns beside the edge, photo's rims included.
    expected = torch.zeros(24, 40)
    expected[:, 19:21] = 4.0
    torch.testing.assert_close(found, expected)


def test_edges_weigh_colours_as_eyes_do_in_the_photos_own_values() -> None:
    """A step of one preprocessed unit is std wide in the photo."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    std = (0.5, 0.25, 0.125)
    prepared = scorecam.Preprocess(size=(8, 8), fit="squash", mean=(0.5,) * 3, std=std)
    model = scorecam.open_model(network, preprocess=prepared)
    for colour, luma in enumerate((0.299, 0.587, 0.114)):
        photo = torch.zeros(3, 8, 8)
        photo[colour, 4:] = 1.0
        found = heatmap("edges", case_of(model, photo, 0, "0"))
        assert float(found.max()) == pytest.approx(4 * luma * std[colour], rel=1e-5)


def test_edges_of_other_than_three_colours_take_their_mean() -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    photo = torch.zeros(2, 8, 8)
    photo[0, :, 4:] = 1.0
    assert float(heatmap("edges", case_of(network, photo, 0, "0")).max()) == pytest.approx(2.0)
