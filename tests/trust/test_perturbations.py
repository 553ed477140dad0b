"""Changed images with and without the object, and scale-free numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scorecam.trust.checked_map import correlation, standing
from scorecam.trust.perturbations import least_important, mild_changes, without_object

SIZES = [(32,), (33, 20), (224, 224), (5, 6, 7), (1, 1), (2, 3)]


def picture(*size: int) -> torch.Tensor:
    return torch.randn(3, *size, generator=torch.Generator().manual_seed(3))


# ── changes that keep the object ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", SIZES)
def test_there_are_three_changes_and_two_for_each_axis(size: tuple[int, ...]) -> None:
    changed = mild_changes(picture(*size), seed=0)
    assert len(changed) == 3 + 2 * len(size)
    for each in changed:
        assert each.image.shape == (3, *size)
        assert each.image.isfinite().all()
        assert each.undo(torch.rand(size)).shape == size


def test_shifts_go_by_a_sixteenth_both_ways_and_repeat_the_edge() -> None:
    image = torch.arange(32.0).reshape(1, 32)
    _, right, left, _, _ = mild_changes(image, seed=0)
    assert right.image[0].tolist() == [0, 0, *range(30)]
    assert left.image[0].tolist() == [*range(2, 32), 31, 31]
    # A map of the shifted picture moves back to the object, except for the lost edge.
    assert right.undo(right.image[0]).tolist() == [*range(30), 29, 29]


def test_a_mirrored_map_comes_back() -> None:
    image = picture(4, 6)
    mirrored = mild_changes(image, seed=0)[0]
    assert torch.equal(mirrored.image, image.flip(2))
    assert torch.equal(mirrored.undo(mirrored.image[0]), image[0])


def test_blurring_spreads_a_point_by_the_binomial_weights() -> None:
    image = torch.zeros(1, 9)
    image[0, 4] = 16
    blurred = mild_changes(image, seed=0)[-2].image
    assert blurred[0].tolist() == [0, 0, 1, 4, 6, 4, 1, 0, 0]


def test_the_noise_is_a_share_of_the_images_deviation() -> None:
    image = 40 * picture(64, 64) + 7
    noise = mild_changes(image, seed=0)[-1].image - image
    assert float(noise.std()) == pytest.approx(0.15 * float(image.std()), rel=0.05)
    assert not torch.equal(noise, mild_changes(image, seed=1)[-1].image - image)


# ── images without the object ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", SIZES)
def test_tiles_and_pixels_are_the_same_in_another_order(size: tuple[int, ...]) -> None:
    image = picture(*size)
    tiled, one, two, pixels = without_object(image, seed=0)
    own = image.flatten(1).T.sort(dim=0).values
    for mixed in (tiled, pixels):
        assert torch.equal(mixed.flatten(1).T.sort(dim=0).values, own)
        # Whole pixels move: the colours of each stay together.
        colours = {tuple(pixel) for pixel in image.flatten(1).T.tolist()}
        assert {tuple(pixel) for pixel in mixed.flatten(1).T.tolist()} == colours
    if math.prod(size) > 8:
        assert not torch.equal(tiled, image)
        assert not torch.equal(pixels, image)
        assert not torch.allclose(one, two, atol=0.1)


def test_tiles_stay_whole() -> None:
    image = torch.arange(64.0).reshape(1, 8, 8).repeat_interleave(3, 1).repeat_interleave(2, 2)
    tiled = without_object(image, seed=0)[0]
    blocks = tiled.reshape(8, 3, 8, 2).permute(0, 2, 1, 3).flatten(2)
    assert torch.equal(blocks, blocks[..., :1].expand_as(blocks))
    assert blocks[..., 0].flatten().sort().values.tolist() == list(range(64))


@pytest.mark.parametrize("size", SIZES)
def test_random_phases_keep_the_spectrum_and_the_relation_of_colours(size: tuple[int, ...]) -> None:
    image = picture(*size)
    image[1] = 2 * image[0]
    axes = tuple(range(1, image.ndim))
    for changed in without_object(image, seed=0)[1:3]:
        now, then = torch.fft.fftn(changed, dim=axes).abs(), torch.fft.fftn(image, dim=axes).abs()
        torch.testing.assert_close(now, then, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(changed[1], 2 * changed[0], rtol=1e-3, atol=1e-4)


# ── the least important part ─────────────────────────────────────────────────────────────────


def test_the_part_with_the_least_of_the_map_is_enlarged_to_the_whole() -> None:
    heatmap = torch.ones(20, 40)
    heatmap[12:19, 3:17] = 0  # 35 % of each side
    image = torch.zeros(2, 20, 40)
    image[0, 12:19, 3:17], image[1] = 1, torch.arange(20.0)[:, None]
    part = least_important(image, heatmap)
    assert part.shape == image.shape
    torch.testing.assert_close(part[0], torch.ones(20, 40))
    assert float(part[1].amin()) == pytest.approx(12)
    assert float(part[1].amax()) == pytest.approx(18)


@pytest.mark.parametrize("size", SIZES)
def test_any_image_has_a_least_important_part(size: tuple[int, ...]) -> None:
    image = picture(*size)
    part = least_important(image, torch.rand(size, generator=torch.Generator().manual_seed(0)))
    assert part.shape == image.shape
    assert image.amin() - 1e-5 <= part.amin() <= part.amax() <= image.amax() + 1e-5


# ── numbers ──────────────────────────────────────────────────────────────────────────────────


def test_standing_equals_a_hand_computation() -> None:
    # Four others with mean 0 and deviation 1; the largest of five normal draws: Φ⁻¹(5/6) = 0.967.
    columns = torch.tensor([1.0, -1, 3, 1, -1])
    assert standing(columns, 2) == pytest.approx(3 / 0.96742, rel=1e-4)
    assert standing(columns, 0) < 0.5
    assert math.isnan(standing(torch.tensor([0.0, 0, 1, 0]), 2))


@given(
    st.lists(st.integers(-50, 50), min_size=4, max_size=20).filter(lambda x: len({*x[1:]}) > 1),
    st.floats(0.01, 100),
    st.floats(-100, 100),
)
def test_standing_ignores_scale_and_offset(numbers: list[int], scale: float, origin: float) -> None:
    columns = torch.tensor(numbers, dtype=torch.float64)
    moved = scale * columns + origin
    assert standing(moved, 0) == pytest.approx(standing(columns, 0), rel=1e-6, abs=1e-6)


def test_a_constant_map_correlates_with_none() -> None:
    map_ = torch.rand(4, 4)
    assert correlation(map_, map_) == pytest.approx(1)
    assert correlation(map_, -map_) == pytest.approx(-1)
    assert correlation(map_, torch.ones(4, 4)) == 0
