"""Properties of every image and network: symmetries and independence of batching."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import interpolate

import reference
import scorecam
from networks import NETWORKS, InPlace, Network, Signed, build, images_for
from scorecam.base.interpolation import upsample
from scorecam.cam import live, masks, scaled

seeds = st.integers(0, 2**16)
kinds = st.sampled_from(NETWORKS)
targets = st.integers(0, 4)
variants = st.sampled_from(reference.VARIANTS)


def scaled_maps(
    network: nn.Module, images: Tensor, target: int, layer: str, variant: str = "official"
) -> Tensor:
    """Scaled maps of images with a map above float32 rounding.

    If a map is a small difference of large terms, the rounding of scores is visible in it, and no
    order of summation is more correct than another. Such examples are skipped.
    """
    cam = scorecam.ScoreCAM(scorecam.open_model(network, head="logits"), layer, variant)
    for image in images:
        bank = cam.bank(image)
        signs = torch.arange(len(bank.asked))[:, None] % 2 * 2 - 1
        rounded = dataclasses.replace(bank, scores=bank.scores * (1 + 1e-6 * signs))
        before, after = (scaled(one.heatmap(target, variant)) for one in (bank, rounded))
        assume((after - before).abs().max() < 4e-6)
    return torch.stack([scaled(heatmap) for heatmap in cam(images, target)])


def close(actual: Tensor, truth: Tensor) -> None:
    torch.testing.assert_close(actual, truth, rtol=0, atol=1e-5)


# ── results don't depend on batches or memory layout ─────────────────────────────────────────


@settings(max_examples=25)
@given(kind=kinds, seed=seeds, batch_size=st.integers(1, 12))
def test_the_batch_size_does_not_matter(kind: type[Network], seed: int, batch_size: int) -> None:
    network = build(kind, seed)
    images = images_for(network, count=3, seed=seed)
    model = scorecam.open_model(network, head="logits")
    whole = scorecam.ScoreCAM(model, network.layer, "official", batch_size=1000)(images, 1)
    cut = scorecam.ScoreCAM(model, network.layer, "official", batch_size=batch_size)(images, 1)
    for one, other in zip(whole, cut, strict=True):
        close(scaled(other), scaled(one))


@settings(max_examples=25)
@given(kind=kinds, seed=seeds, variant=variants)
def test_the_other_images_in_the_batch_do_not_matter(
    kind: type[Network], seed: int, variant: str
) -> None:
    network = build(kind, seed)
    images = images_for(network, count=4, seed=seed)
    together = scaled_maps(network, images, 2, network.layer, variant)
    for image, result in zip(images, together, strict=True):
        close(result, scaled_maps(network, image[None], 2, network.layer, variant)[0])


@settings(max_examples=20)
@given(
    seed=seeds, order=st.permutations(range(4)), wanted=st.lists(targets, min_size=4, max_size=4)
)
def test_permuting_images_and_targets_permutes_the_maps(
    seed: int, order: list[int], wanted: tuple[int, ...]
) -> None:
    network = build(InPlace, seed)
    images = images_for(network, count=4, seed=seed)
    cam = scorecam.ScoreCAM(network, "norm", batch_size=7)
    maps = cam(images, wanted)
    moved = cam(images[order], [wanted[place] for place in order])
    for place, result in zip(order, moved, strict=True):
        close(scaled(result), scaled(maps[place]))


def test_the_memory_layout_of_images_does_not_matter() -> None:
    network = build(InPlace)
    images = images_for(network, count=2)
    cam = scorecam.ScoreCAM(network, "norm")
    truth = cam(images, 1)
    for x in (
        images.contiguous(memory_format=torch.channels_last),
        images.mT.contiguous().mT,
        images.repeat(1, 2, 1, 1)[:, 3:],
    ):
        assert not x.is_contiguous()
        torch.testing.assert_close(cam(x, 1), truth, rtol=0, atol=1e-6)
    expanded = cam(images[:1].expand(2, -1, -1, -1), 1)
    torch.testing.assert_close(expanded, truth[[0, 0]], rtol=0, atol=1e-6)


# ── symmetries of the formula ────────────────────────────────────────────────────────────────


class Rearranged(nn.Module):
    """The same network; `again` repeats its maps, reordered or duplicated."""

    def __init__(self, network: Network, order: list[int]) -> None:
        super().__init__()
        self.network = network
        self.again = Indexed(order)

    def forward(self, images: Tensor) -> Tensor:
        self.again(self.network.maps(images))
        return self.network(images)


class Indexed(nn.Module):
    def __init__(self, order: list[int]) -> None:
        super().__init__()
        self.order = order

    def forward(self, maps: Tensor) -> Tensor:
        return maps[:, self.order]


def channels(network: Network) -> int:
    return network.maps(torch.zeros(1, *network.image)).shape[1]


@settings(max_examples=25)
@given(kind=kinds, seed=seeds, variant=variants, data=st.data())
def test_the_order_of_the_channels_does_not_matter(
    kind: type[Network], seed: int, variant: str, data: st.DataObject
) -> None:
    network = build(kind, seed)
    order = data.draw(st.permutations(range(channels(network))))
    images = images_for(network, seed=seed)
    same = Rearranged(network, list(range(len(order))))
    moved = Rearranged(network, order)
    one = scaled_maps(same, images, 0, "again", variant)
    close(scaled_maps(moved, images, 0, "again", variant), one)


@settings(max_examples=25)
@given(kind=kinds, seed=seeds, variant=variants, times=st.integers(2, 4))
def test_repeating_every_channel_gives_the_same_map(
    kind: type[Network], seed: int, variant: str, times: int
) -> None:
    network = build(kind, seed)
    k = channels(network)
    images = images_for(network, seed=seed)
    once = scaled_maps(Rearranged(network, list(range(k))), images, 0, "again", variant)
    repeated = Rearranged(network, list(range(k)) * times)
    close(scaled_maps(repeated, images, 0, "again", variant), once)


@settings(max_examples=25)
@given(
    kind=kinds,
    seed=seeds,
    constant=st.floats(-8, 8),
    target=targets,
    variant=st.sampled_from(["official", "literal"]),
)
def test_adding_to_all_logits_keeps_official_and_literal(
    kind: type[Network], seed: int, constant: float, target: int, variant: str
) -> None:
    network = build(kind, seed)
    images = images_for(network, seed=seed)
    before = scaled_maps(network, images, target, network.layer, variant)
    with torch.no_grad():
        network.classes.bias += constant
    close(scaled_maps(network, images, target, network.layer, variant), before)


@settings(max_examples=25)
@given(
    kind=kinds,
    seed=seeds,
    constant=st.floats(-8, 8),
    target=targets,
    variant=st.sampled_from(["algorithm1", "increase"]),
)
def test_adding_to_the_target_logit_keeps_algorithm1_and_increase(
    kind: type[Network], seed: int, constant: float, target: int, variant: str
) -> None:
    network = build(kind, seed)
    images = images_for(network, seed=seed)
    before = scaled_maps(network, images, target, network.layer, variant)
    with torch.no_grad():
        network.classes.bias[target] += constant
    close(scaled_maps(network, images, target, network.layer, variant), before)


class Flippable(nn.Module):
    """Convolutions and pools that are symmetric up to their weights."""

    layer = "relu"

    def __init__(self, axes: int) -> None:
        super().__init__()
        convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        pool = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[axes - 1]
        self.first = convolution(2, 4, 3, padding=1)
        self.pool = pool(2)
        self.second = convolution(4, 6, 3, padding=1)
        self.relu = nn.ReLU()
        self.classes = nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.second(self.pool(self.first(images).relu())))
        return 10 * self.classes(maps.flatten(2).mean(2))


@settings(max_examples=25)
@given(axes=st.integers(1, 3), seed=seeds, variant=variants, data=st.data())
def test_flipping_image_and_network_flips_the_map(
    axes: int, seed: int, variant: str, data: st.DataObject
) -> None:
    torch.manual_seed(seed)
    network = Flippable(axes)
    images = torch.randn(1, 2, *(6, 10, 8)[:axes])
    flipped_axes = data.draw(st.sets(st.integers(2, axes + 1), min_size=1), label="axes")
    flipped = copy.deepcopy(network)
    with torch.no_grad():
        for convolution in (flipped.first, flipped.second):
            convolution.weight.copy_(convolution.weight.flip(*flipped_axes))
    one = scaled_maps(network, images, 0, "relu", variant)
    other = scaled_maps(flipped, images.flip(*flipped_axes), 0, "relu", variant)
    close(other.flip(*(axis - 1 for axis in flipped_axes)), one)


@settings(max_examples=25)
@given(kind=kinds, seed=seeds, factor=st.floats(0.01, 100))
def test_scaling_the_activations_keeps_the_scaled_map(
    kind: type[Network], seed: int, factor: float
) -> None:
    class Scaled(Rearranged):
        def forward(self, images: Tensor) -> Tensor:
            self.again(self.network.maps(images) * factor)
            return self.network(images)

    network = build(kind, seed)
    order = list(range(channels(network)))
    images = images_for(network, seed=seed)
    one = scaled_maps(Rearranged(network, order), images, 0, "again")
    close(scaled_maps(Scaled(network, order), images, 0, "again"), one)


# ── shapes ───────────────────────────────────────────────────────────────────────────────────


class AnySize(nn.Module):
    """A network whose layer `maps` has a grid of any size, for any image size."""

    def __init__(self, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.grid = grid
        convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(grid) - 1]
        self.maps = nn.Sequential(convolution(1, 17, 1), nn.ReLU())
        self.classes = nn.Linear(17, 3)

    def forward(self, images: Tensor) -> Tensor:
        mode = reference.MODES[len(self.grid)]
        resized = interpolate(images, size=self.grid, mode=mode, align_corners=True)
        return 5 * self.classes(self.maps(resized).flatten(2).mean(2))


sizes = st.integers(1, 3).flatmap(
    lambda axes: st.tuples(*[st.tuples(st.integers(1, 7), st.integers(1, 9))] * axes)
)


@settings(max_examples=80)
@given(both=sizes, seed=seeds)
@example(both=((1, 1), (1, 1)), seed=0)
@example(both=((1, 9), (7, 1)), seed=0)
@example(both=((7, 1), (7, 1)), seed=0)
@example(both=((3, 5), (2, 9)), seed=0)
def test_any_grid_gives_a_finite_map_of_the_images_size(
    both: tuple[tuple[int, int], ...], seed: int
) -> None:
    grid, image = tuple(g for g, _ in both), tuple(i for _, i in both)
    torch.manual_seed(seed)
    network = AnySize(grid)
    images = torch.rand(2, 1, *image)
    maps = scorecam.ScoreCAM(network, "maps")(images, 1)
    assert maps.shape == (2, *image)
    assert maps.isfinite().all()
    assert (maps >= 0).all()
    bank = scorecam.ScoreCAM(network, "maps").bank(images[0])
    assert bank.scores.isfinite().all()
    assert scaled(maps[0]).max() in (0, 1)
    if math.prod(image) == 1:
        assert len(bank.asked) == 0
        assert not scaled(maps[0]).any()


@settings(max_examples=30)
@given(seed=seeds, grid=st.tuples(st.integers(2, 5), st.integers(2, 6)))
def test_any_smaller_grid_equals_the_papers_loop(seed: int, grid: tuple[int, int]) -> None:
    torch.manual_seed(seed)
    network = AnySize(grid)
    image = torch.rand(1, 7, 11)

    class Precise(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = copy.deepcopy(network).double()

        def maps(self, images: Tensor) -> Tensor:
            resized = interpolate(images, size=grid, mode="bilinear", align_corners=True)
            return self.inner.maps(resized)

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(images)

    truth = reference.score_cam(Precise(), image.double(), 1, "algorithm1")
    result = scaled_maps(network, image[None], 1, "maps", "algorithm1")[0]
    assume(truth.max() > 0)
    close(result.double(), truth)


# ── upsampling and masks ─────────────────────────────────────────────────────────────────────


@settings(max_examples=150)
@given(both=sizes, align=st.booleans(), seed=seeds)
def test_upsampling_equals_torchs_interpolation(
    both: tuple[tuple[int, int], ...], align: bool, seed: int
) -> None:
    grid, image = tuple(g for g, _ in both), tuple(i for _, i in both)
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(3, *grid, generator=generator)
    mode = reference.MODES[len(grid)]
    truth = interpolate(maps[None].double(), size=image, mode=mode, align_corners=align)[0]
    result = upsample(maps, image, align)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), truth, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("grid", "image"), [((7, 7), (224, 224)), ((12, 20), (300, 199))])
def test_upsampling_equals_torchs_interpolation_at_real_sizes(
    grid: tuple[int, int], image: tuple[int, int]
) -> None:
    maps = torch.randn(2, *grid)
    truth = interpolate(maps[None].double(), size=image, mode="bilinear", align_corners=False)
    torch.testing.assert_close(upsample(maps, image).double(), truth[0], rtol=0, atol=2e-6)


@settings(max_examples=100)
@given(both=sizes, seed=seeds, scale=st.floats(1e-6, 1e6), offset=st.floats(-1e3, 1e3))
def test_every_scored_mask_ranges_from_zero_to_one(
    both: tuple[tuple[int, int], ...], seed: int, scale: float, offset: float
) -> None:
    grid, image = tuple(g for g, _ in both), tuple(i for _, i in both)
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(4, *grid, generator=generator) * scale + offset
    maps[1] = offset
    masking = scorecam.Masking()
    asked = live(maps, image, masking)
    assert not asked[1]
    result = masks(maps[asked], image, masking)
    assert result.isfinite().all()
    assert all(mask.min() >= 0 and mask.max() <= 1 for mask in result)
    # Both ends are reached, to float32 rounding: cells are scaled, then interpolated.
    assert all(mask.min() < 1e-6 and mask.max() > 1 - 1e-6 for mask in result)


def test_a_nearly_flat_map_is_skipped_or_has_a_finite_mask() -> None:
    # Its middle cell is the next number above 1, which no pixel of a 4 × 4 image shows: there,
    # every pixel rounds to 1.
    maps = torch.ones(1, 3, 3)
    maps[0, 1, 1] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    masking = scorecam.Masking()
    asked = live(maps, (4, 4), masking)
    assert masks(maps[asked], (4, 4), masking).isfinite().all()


def test_a_map_with_no_visible_values_is_flat() -> None:
    # Of five cells, one pixel sees only the middle one; two pixels see the second and the fourth.
    hidden = torch.tensor([[1.0, 0.0, 0.0, 0.0, 1.0]])
    assert not live(hidden, (1,), scorecam.Masking()).any()
    seen = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0]])
    assert live(seen, (2,), scorecam.Masking()).all()


def test_a_signed_network_keeps_only_positive_evidence() -> None:
    network = build(Signed)
    bank = scorecam.ScoreCAM(network, "conv").bank(images_for(network)[0])
    combined = torch.einsum("k,kuv->uv", bank.weights(0), bank.activations)
    assert combined.min() < 0 < combined.max()
    assert torch.equal(bank.heatmap(0) > 0, upsample(combined.relu()[None], bank.size)[0] > 0)
