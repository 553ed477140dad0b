"""The maps of `scorecam.compat` equal those of the packages it replaces, to 1e-5.

This holds for layers that nothing overwrites. If an in-place operation follows the layer, this
package reads the output of the layer itself, and they do not.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import networks
import scorecam
from scorecam.compat import official
from scorecam.compat import pytorch_grad_cam as ours_pgc
from scorecam.compat import torchcam as ours_tc
from scorecam.errors import LayerError

with contextlib.suppress(Exception):  # if they are absent, conftest skips these tests
    import pytorch_grad_cam as pgc
    import torchcam.methods as tc
    from pytorch_grad_cam.utils import model_targets as pgc_targets

CLASSES = 7
SIZE = (97, 131)
PARITY = 1e-5

# ── networks ─────────────────────────────────────────────────────────────────────────────────


class Head(nn.Sequential):
    """Means over the grid, then seven logits several units apart."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))
        nn.init.normal_(self[2].weight, std=3 / channels**0.5)


class Block(nn.Module):
    """relu(conv(relu(conv(x))) + conv(x)), without in-place operations."""

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, channels, 3, stride=2, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(before, channels, 1, stride=2)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.second(self.relu(self.first(x))) + self.shortcut(x))


def stem(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, channels, 5, stride=3, padding=2), nn.ReLU())


def rectified() -> nn.Module:
    """The output of a ReLU: no negative numbers, several channels zero everywhere."""
    conv = nn.Conv2d(8, 24, 3, stride=2, padding=1)
    networks.flatten_channels(conv)
    return nn.Sequential(stem(8), conv, nn.ReLU(), Head(24))


def signed() -> nn.Module:
    """The output of a convolution, half of it negative."""
    conv = nn.Conv2d(8, 16, 3, stride=2, padding=1)
    networks.flatten_channels(conv)
    return nn.Sequential(stem(8), conv, nn.Tanh(), Head(16))


def residual() -> nn.Module:
    """The output of a block with a shortcut, itself followed by another."""
    first = Block(8, 32)
    for conv in (first.second, first.shortcut):
        networks.flatten_channels(conv)  # −1 − 1 gives 0, and 0.5 + 0.5 gives 1
    return nn.Sequential(stem(8), first, Block(32, 20), Head(20))


def normalised() -> nn.Module:
    """The output of a batch norm; the ReLU after it is not in place."""
    norm = nn.BatchNorm2d(64, momentum=1.0)
    with torch.no_grad():
        norm.weight[[1, 4, 40]] = 0.0
        norm.bias[[1, 4, 40]] = torch.tensor([0.0, 0.5, -2.0])
    network = nn.Sequential(stem(8), nn.Conv2d(8, 64, 3, stride=3), norm, nn.ReLU(), Head(64))
    network(images())  # in training mode: the norm learns the statistics of these photos
    return network


def in_place() -> nn.Module:
    """The output of a ReLU that overwrites its input; its own output is not overwritten."""
    before = normalised()
    before[3] = nn.ReLU(inplace=True)
    return before


class Case(NamedTuple):
    """A network and the layer to explain."""

    build: Callable[[], nn.Module]
    layer: str


CASES = [
    Case(rectified, "2"),
    Case(signed, "1"),
    Case(residual, "1"),
    Case(normalised, "2"),
    Case(in_place, "3"),
]
each_network = pytest.mark.parametrize("case", CASES, ids=lambda case: case.build.__name__)


def built(build: Callable[[], nn.Module]) -> nn.Module:
    """The network, the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return build().eval()


def images(count: int = 3) -> Tensor:
    """Seeded photos, smooth enough to have distinct regions."""
    generator = torch.Generator().manual_seed(11)
    coarse = torch.randn(count, 3, 6, 8, generator=generator)
    noise = torch.randn(count, 3, *SIZE, generator=generator)
    return functional.interpolate(coarse, size=SIZE, mode="bicubic") + 0.3 * noise


def maps_of(network: nn.Module, layer: str, x: Tensor) -> Tensor:
    """The output of a layer before a later module overwrites it."""
    seen: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(
        lambda _module, _inputs, output: seen.append(output.clone())
    )
    with torch.no_grad():
        network(x)
    handle.remove()
    return seen[0]


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(torch.as_tensor(ours), torch.as_tensor(theirs), rtol=0, atol=PARITY)


@each_network
def test_these_networks_have_flat_channels_that_are_not_zero(case: Case) -> None:
    maps = maps_of(built(case.build), case.layer, images())
    low, high = maps.flatten(2).aminmax(dim=2)
    flat = (low == high).all(dim=0)
    assert 2 <= flat.sum() < maps.shape[1] <= 64
    assert (high[:, flat] != 0).any()
    assert (case.build in (signed, normalised)) == bool((maps < 0).any())


# ── pytorch-grad-cam ─────────────────────────────────────────────────────────────────────────


def with_pgc(
    network: nn.Module, layers: Sequence[str], x: Tensor, targets: Sequence[Any] | None, **how: Any
) -> np.ndarray:
    """Pytorch-grad-cam's own maps."""
    modules = [network.get_submodule(layer) for layer in layers]
    with pgc.ScoreCAM(model=network, target_layers=modules) as cam:
        return cam(input_tensor=x, targets=targets, **how)


def like_pgc(
    network: nn.Module, layers: Sequence[str], x: Tensor, targets: Sequence[Any] | None, **how: Any
) -> np.ndarray:
    """The same call with this package."""
    modules = [network.get_submodule(layer) for layer in layers]
    with ours_pgc.ScoreCAM(model=network, target_layers=modules) as cam:
        return cam(input_tensor=x, targets=targets, **how)


@pytest.mark.needs("peers")
@each_network
class TestPytorchGradCam:
    def test_a_class_per_image(self, case: Case) -> None:
        network, x = built(case.build), images()
        theirs = with_pgc(
            network, [case.layer], x, [pgc_targets.ClassifierOutputTarget(t) for t in (1, 2, 5)]
        )
        ours = like_pgc(
            network, [case.layer], x, [ours_pgc.ClassifierOutputTarget(t) for t in (1, 2, 5)]
        )
        close(ours, theirs)
        assert ours.shape == theirs.shape == (3, *SIZE)
        assert ours.dtype == theirs.dtype == np.float32
        assert theirs.max(axis=(1, 2)).min() > 0.99, "maps that show something"

    def test_the_prediction_for_each_image(self, case: Case) -> None:
        network, x = built(case.build), images()
        close(like_pgc(network, [case.layer], x, None), with_pgc(network, [case.layer], x, None))

    def test_a_different_kind_of_target_per_image(self, case: Case) -> None:
        network, x = built(case.build), images()
        targets = [
            pgc_targets.ClassifierOutputSoftmaxTarget(4),
            pgc_targets.ClassifierOutputReST(0),
            lambda output: output[2] - output[3],
        ]
        theirs = with_pgc(network, [case.layer], x, targets)
        close(like_pgc(network, [case.layer], x, targets), theirs)

    def test_their_targets_work_with_our_class(self, case: Case) -> None:
        network, x = built(case.build), images()
        targets = [
            pgc_targets.ClassifierOutputTarget(6),
            pgc_targets.FinerWeightedTarget(3, [1, 2], 0.6),
            ours_pgc.ClassifierOutputTarget(1),
        ]
        close(
            like_pgc(network, [case.layer], x, targets), with_pgc(network, [case.layer], x, targets)
        )


@pytest.mark.needs("peers")
class TestPytorchGradCamOtherModels:
    def test_several_layers_are_averaged(self) -> None:
        network, x = built(residual), images()
        targets = [ours_pgc.ClassifierOutputTarget(t) for t in (1, 2, 5)]
        layers = ["0.1", "1", "2"]
        theirs = with_pgc(network, layers, x, targets)
        close(like_pgc(network, layers, x, targets), theirs)
        assert np.abs(theirs - with_pgc(network, ["2"], x, targets)).max() > 0.05

    def test_smoothing_by_flips_and_brightness(self) -> None:
        network, x = built(rectified), images(2)
        targets = [ours_pgc.ClassifierOutputTarget(t) for t in (1, 5)]
        theirs = with_pgc(network, ["2"], x, targets, aug_smooth=True)
        close(like_pgc(network, ["2"], x, targets, aug_smooth=True), theirs)
        assert np.abs(theirs - with_pgc(network, ["2"], x, targets)).max() > 0.01

    @pytest.mark.parametrize("category", [0, 1])
    def test_a_binary_model(self, category: int) -> None:
        network, x = built(signed), images()
        network[3][2] = nn.Linear(16, 1)
        targets = [pgc_targets.BinaryClassifierOutputTarget(category)] * 3
        close(like_pgc(network, ["1"], x, targets), with_pgc(network, ["1"], x, targets))

    def test_a_regression_model(self) -> None:
        network, x = built(signed), images()
        network[3][2] = nn.Linear(16, 1)
        targets = [pgc_targets.RawScoresOutputTarget()] * 3
        close(like_pgc(network, ["1"], x, targets), with_pgc(network, ["1"], x, targets))

    def test_a_model_with_one_output_and_no_target(self) -> None:
        network, x = built(signed), images()
        network[3][2] = nn.Linear(16, 1)
        close(like_pgc(network, ["1"], x, None), with_pgc(network, ["1"], x, None))

    def test_a_segmentation_and_a_mask(self) -> None:
        network, x = built(rectified), images()
        network[3] = nn.Sequential(nn.Conv2d(24, 4, 1), nn.Upsample(SIZE, mode="nearest"))
        mask = np.zeros(SIZE, np.float32)
        mask[10:50, 60:] = 1
        targets = [pgc_targets.SemanticSegmentationTarget(2, mask / 999)] * 3
        close(like_pgc(network, ["2"], x, targets), with_pgc(network, ["2"], x, targets))

    def test_a_detector(self) -> None:
        network, x = Detector(built(rectified)), images()
        boxes = np.array([[10.0, 12.0, 40.0, 52.0], [80.0, 10.0, 90.0, 30.0]])
        targets = [pgc_targets.FasterRCNNBoxScoreTarget([3, 1], boxes)] * 3
        theirs = with_pgc(network, ["network.2"], x, targets)
        close(like_pgc(network, ["network.2"], x, targets), theirs)
        assert theirs.max() > 0.99

    def test_outputs_are_kept(self) -> None:
        network, x = built(rectified), images()
        layers = [network[2]]
        with pgc.ScoreCAM(network, layers) as theirs, ours_pgc.ScoreCAM(network, layers) as ours:
            for target in (None, pgc_targets.ClassifierOutputSoftmaxTarget(3)):
                targets = None if target is None else [target] * 3
                theirs(x, targets)
                ours(x, targets)
                close(ours.outputs, theirs.outputs.detach())

    def test_the_batch_size_does_not_change_the_map(self) -> None:
        network, x = built(rectified), images(1)
        with (
            pgc.ScoreCAM(network, [network[2]]) as theirs,
            ours_pgc.ScoreCAM(network, [network[2]]) as ours,
        ):
            theirs.batch_size = ours.batch_size = 5
            targets = [ours_pgc.ClassifierOutputTarget(1)]
            close(ours(x, targets), theirs(x, targets))


class Detector(nn.Module):
    """Returns two boxes per image; classes and scores depend on the image."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        boxes = torch.tensor([[11.0, 11.0, 42.0, 50.0], [80.0, 12.0, 91.0, 31.0]])
        return [
            {
                "boxes": boxes + logits[:2, None].tanh(),
                "labels": torch.tensor([3, 1]) if logits[6] > 0 else torch.tensor([3, 2]),
                "scores": logits[2:4].sigmoid(),
            }
            for logits in self.network(x)
        ]


# ── torchcam ─────────────────────────────────────────────────────────────────────────────────


def with_torchcam(
    network: nn.Module, layer: Any, x: Tensor, *args: Any, **how: Any
) -> list[Tensor]:
    """Torchcam's own maps."""
    with tc.ScoreCAM(network, layer) as cam, torch.inference_mode():
        network(x)
        return cam(*args, **how)


def like_torchcam(
    network: nn.Module, layer: Any, x: Tensor, *args: Any, **how: Any
) -> list[Tensor]:
    """The same call with this package."""
    with ours_tc.ScoreCAM(network, layer) as cam, torch.inference_mode():
        network(x)
        return cam(*args, **how)


def all_close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype == torch.float32
        close(one, other)


@pytest.mark.needs("peers")
@each_network
class TestTorchcam:
    def test_a_class_per_image(self, case: Case) -> None:
        network, x = built(case.build), images()
        theirs = with_torchcam(network, case.layer, x, [1, 2, 5])
        all_close(like_torchcam(network, case.layer, x, [1, 2, 5]), theirs)
        assert theirs[0].amax(dim=(1, 2)).min() > 0.99, "maps that show something"

    def test_one_class_for_all_images(self, case: Case) -> None:
        network, x = built(case.build), images()
        all_close(
            like_torchcam(network, case.layer, x, 4), with_torchcam(network, case.layer, x, 4)
        )

    def test_raw_maps(self, case: Case) -> None:
        network, x = built(case.build), images()
        theirs = with_torchcam(network, case.layer, x, [1, 2, 5], normalized=False)
        all_close(like_torchcam(network, case.layer, x, [1, 2, 5], normalized=False), theirs)
        assert theirs[0].max() != 1

    def test_one_function_for_all_images(self, case: Case) -> None:
        network, x = built(case.build), images()

        def margin(output: Tensor) -> Tensor:
            return output[2] - output[3]

        all_close(
            like_torchcam(network, case.layer, x, targets=margin),
            with_torchcam(network, case.layer, x, targets=margin),
        )

    def test_a_function_per_image(self, case: Case) -> None:
        network, x = built(case.build), images()
        targets = [lambda output: output[1], lambda output: output.log_softmax(0)[2], torch.amax]
        all_close(
            like_torchcam(network, case.layer, x, targets=targets),
            with_torchcam(network, case.layer, x, targets=targets),
        )


@pytest.mark.needs("peers")
class TestTorchcamOtherModels:
    def test_several_layers_give_one_map_each_that_can_be_fused(self) -> None:
        network, x = built(residual), images()
        layers = ["0.1", network[1], "2"]
        theirs = with_torchcam(network, layers, x, [1, 2, 5])
        ours = like_torchcam(network, layers, x, [1, 2, 5])
        all_close(ours, theirs)
        close(ours_tc.ScoreCAM.fuse_cams(ours), tc.ScoreCAM.fuse_cams(theirs))
        close(
            ours_tc.ScoreCAM.fuse_cams(ours, target_shape=(20, 30)),
            tc.ScoreCAM.fuse_cams(theirs, target_shape=(20, 30)),
        )

    def test_volumes(self) -> None:
        network = networks.build(networks.Volume)
        x = networks.images_for(network, count=2)
        all_close(
            like_torchcam(network, "relu", x, [0, 3]), with_torchcam(network, "relu", x, [0, 3])
        )

    def test_a_detector(self) -> None:
        network, x = Detector(built(rectified)), images()

        def first(actual: dict[str, Tensor]) -> Tensor:
            return 5 * actual["scores"][0]

        all_close(
            like_torchcam(network, "network.2", x, targets=first),
            with_torchcam(network, "network.2", x, targets=first),
        )


# ── in-place operations ──────────────────────────────────────────────────────────────────────


class TestConvolutionBeforeAnInPlaceReLU:
    """`0` is the stem, `1` the explained convolution, `2` the ReLU that writes into its output."""

    @staticmethod
    def networks() -> tuple[nn.Module, nn.Module]:
        """The network with an in-place ReLU, and without."""
        apart = built(rectified)
        overwriting = copy.deepcopy(apart)
        overwriting[2] = nn.ReLU(inplace=True)
        return overwriting, apart

    def test_we_read_the_convolutions_own_output(self) -> None:
        overwriting, apart = self.networks()
        x = images()
        own = maps_of(apart, "1", x)
        assert own.min() < -0.1
        for i in range(len(x)):
            bank = scorecam.ScoreCAM(overwriting, "1").bank(x[i])
            close(bank.activations, own[i])

    @pytest.mark.needs("peers")
    def test_maps_are_equal_if_nothing_is_overwritten(self) -> None:
        overwriting, apart = self.networks()
        x, targets = images(), [ours_pgc.ClassifierOutputTarget(t) for t in (1, 2, 5)]
        close(like_pgc(overwriting, ["1"], x, targets), with_pgc(apart, ["1"], x, targets))
        all_close(
            like_torchcam(overwriting, "1", x, [1, 2, 5]), with_torchcam(apart, "1", x, [1, 2, 5])
        )

    @pytest.mark.needs("peers")
    def test_torchcam_reads_the_relus_output_instead(self) -> None:
        overwriting, apart = self.networks()
        x, targets = images(), [ours_pgc.ClassifierOutputTarget(t) for t in (1, 2, 5)]
        rectified_maps = with_pgc(overwriting, ["1"], x, targets)
        close(rectified_maps, with_pgc(apart, ["2"], x, targets))
        assert np.abs(rectified_maps - with_pgc(apart, ["1"], x, targets)).max() > 0.05

        [of_torchcam] = with_torchcam(overwriting, "1", x, [1, 2, 5])
        close(of_torchcam, with_torchcam(apart, "2", x, [1, 2, 5])[0])
        assert (of_torchcam - with_torchcam(apart, "1", x, [1, 2, 5])[0]).abs().max() > 0.05


# ── the authors' code ────────────────────────────────────────────────────────────────────────


def by_the_authors_rules(network: nn.Module, layer: str, image: Tensor, target: int) -> Tensor:
    """Their map, in float64: one mask at a time, weighted by the class's probability.

    Each map is upsampled first. Flat maps are skipped; the others are scaled from their minimum to
    their maximum to give a mask. ReLU and scaling to [0, 1] come last, at the size of the image.
    """
    network = copy.deepcopy(network).double()
    image = image.double()
    total = torch.zeros(SIZE, dtype=torch.float64)
    for grid in maps_of(network, layer, image[None])[0]:
        large = functional.interpolate(
            grid[None, None], SIZE, mode="bilinear", align_corners=False
        )[0, 0]
        low, high = large.min(), large.max()
        if low == high:
            continue
        with torch.no_grad():
            logits = network((image * ((large - low) / (high - low)))[None])[0]
        total += logits.exp()[target] / logits.exp().sum() * large
    positive = total.clamp(min=0)
    return (positive - positive.min()) / (positive.max() - positive.min())


@each_network
def test_official_equals_a_loop_with_the_authors_rules(case: Case) -> None:
    network = built(case.build)
    cam = official.ScoreCAM({"type": "any", "arch": network, "layer_name": case.layer})
    for image, target in zip(images(2), (1, 5), strict=True):
        heatmap = cam(image[None], target)
        truth = by_the_authors_rules(network, case.layer, image, target)
        assert heatmap.shape == (1, 1, *SIZE)
        close(heatmap[0, 0].double(), truth)


def test_official_explains_the_prediction_by_default() -> None:
    network, image = built(rectified), images(1)
    cam = official.ScoreCAM({"arch": network, "layer_name": "2"})
    predicted = int(network(image).argmax())
    assert torch.equal(cam(image), cam(image, predicted))
    assert torch.equal(cam(image, class_idx=predicted, retain_graph=True), cam(image, predicted))


def test_official_writes_dots_as_underscores() -> None:
    network, image = built(rectified), images(1)
    dotted = official.ScoreCAM({"arch": network, "layer_name": "0.1"})
    with_underscore = official.ScoreCAM({"arch": network, "layer_name": "0_1"})
    assert torch.equal(dotted(image, 2), with_underscore(image, 2))
    with pytest.raises(LayerError, match="no layer '0_7'"):
        official.ScoreCAM({"arch": network, "layer_name": "0_7"})


@each_network
def test_official_differs_from_the_variant_only_on_signed_layers(case: Case) -> None:
    network, [image] = built(case.build), images(1)
    explained = scorecam.explain(network, image, 1, layer=case.layer, variant="official")
    ours = official.ScoreCAM({"arch": network, "layer_name": case.layer})(image[None], 1)[0, 0]
    difference = float((ours - explained.scaled).abs().max())
    if case.build in (signed, normalised):
        assert difference > 1e-3
    else:
        assert difference < PARITY


def test_official_gives_zeros_where_the_authors_return_none() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), Head(4)).eval()
    nn.init.zeros_(network[0].weight)
    result = official.ScoreCAM({"arch": network, "layer_name": "0"})(images(1), 0)
    assert result.shape == (1, 1, *SIZE)
    assert not result.any()
