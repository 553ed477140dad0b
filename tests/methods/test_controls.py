"""Control methods, which ignore the model, have known values."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
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


def test_fakecam_is_zero_in_only_one_corner(case: Case) -> None:
    result = heatmap("fakecam", case)
    assert float(result[0, 0]) == 0
    assert float(result.sum()) == 24 * 40 - 1
    assert float(result.max()) == 1


def test_centre_is_a_gaussian_along_each_side(case: Case) -> None:
    result = heatmap("centre", with_image(case, torch.zeros(3, 25, 41)))
    assert float(result[12, 20]) == 1
    assert float(result.max()) == 1
    # One sigma, a quarter of the side, from the middle.
    odd = heatmap("centre:sigma=0.2", with_image(case, torch.zeros(3, 25, 45)))
    assert float(odd[12 + 5, 22]) == pytest.approx(0.60653, abs=1e-5)
    assert float(odd[12, 22 + 9]) == pytest.approx(0.60653, abs=1e-5)
    assert float(odd[12 - 5, 22 - 9]) == pytest.approx(0.36788, abs=1e-5)
    torch.testing.assert_close(result, result.flip(0))
    torch.testing.assert_close(result, result.flip(1))


def test_random_has_one_number_per_cell_of_the_layer(case: Case) -> None:
    result = heatmap("random", case)
    assert result.shape == (24, 40)
    assert 0 <= float(result.min()) < 0.2
    assert 0.8 < float(result.max()) <= 1
    # It has exactly 6 × 10 cells: linear interpolation of those gives the same map.
    centres = result.reshape(6, 4, 10, 4)[:, 1:3, :, 1:3].mean((1, 3))
    torch.testing.assert_close(upsample(centres[None], (24, 40))[0], result, rtol=0, atol=0.15)


def test_random_depends_only_on_the_image_and_the_seed(case: Case) -> None:
    result = heatmap("random", case)
    state = torch.random.get_rng_state()
    torch.rand(3)
    assert torch.equal(heatmap("random", with_image(case, case.image.clone())), result)
    torch.random.set_rng_state(state)
    changed = case.image.clone()
    changed[0, 0, 0] += 1e-3
    assert not torch.equal(heatmap("random", with_image(case, changed)), result)
    assert not torch.equal(heatmap("random", dataclasses.replace(case, seed=5)), result)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_edges_are_where_brightness_changes(case: Case) -> None:
    photo = torch.zeros(3, 24, 40)
    photo[:, :, 20:] = 1.0
    result = heatmap("edges", with_image(case, photo))
    # Sobel's 1 2 1 times a step of 1, in the two columns next to the edge, borders included.
    expected = torch.zeros(24, 40)
    expected[:, 19:21] = 4.0
    torch.testing.assert_close(result, expected)


def test_edges_use_luma_weights_on_the_original_colours() -> None:
    """A step of 1 in preprocessed units is std in the photo."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    std = (0.5, 0.25, 0.125)
    prepared = scorecam.Preprocess(size=(8, 8), fit="squash", mean=(0.5,) * 3, std=std)
    model = scorecam.open_model(network, preprocess=prepared)
    for colour, luma in enumerate((0.299, 0.587, 0.114)):
        photo = torch.zeros(3, 8, 8)
        photo[colour, 4:] = 1.0
        result = heatmap("edges", case_of(model, photo, 0, "0"))
        assert float(result.max()) == pytest.approx(4 * luma * std[colour], rel=1e-5)


def test_edges_of_a_bgr_input_are_those_of_the_photo() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    rgb = scorecam.Preprocess(
        size=(8, 8), fit="squash", mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125)
    )
    bgr = dataclasses.replace(rgb, channels="bgr", mean=rgb.mean[::-1], std=rgb.std[::-1])
    maps = [
        heatmap("edges", case_of(scorecam.open_model(network, preprocess=one), one(photo), 0, "0"))
        for one in (rgb, bgr)
    ]
    torch.testing.assert_close(*maps)


def test_edges_average_the_channels_unless_there_are_three() -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    photo = torch.zeros(2, 8, 8)
    photo[0, :, 4:] = 1.0
    assert float(heatmap("edges", case_of(network, photo, 0, "0")).max()) == pytest.approx(2.0)
