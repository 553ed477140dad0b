"""Layers that can be explained, the default layer, and errors about other layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
from networks import (
    NETWORKS,
    ChannelsLastLayout,
    Network,
    Residual,
    Signal,
    Volume,
    build,
    images_for,
)


def default_of(network: nn.Module, image: Tensor) -> scorecam.Layer | None:
    result = [layer for layer in scorecam.layers(network, image) if layer.default]
    assert len(result) <= 1
    return result[0] if result else None


# ── the table ────────────────────────────────────────────────────────────────────────────────


def torchvision_network(name: str) -> nn.Module:
    """The architecture on the meta device, where a pass costs nothing."""
    from torchvision import models

    options: dict[str, Any] = {"init_weights": False} if name == "inception_v3" else {}
    with torch.device("meta"):
        return models.get_model(name, weights=None, **options)


TABLE = {
    "vgg16": ("features.29", (14, 14), 512),
    "resnet18": ("layer4", (7, 7), 512),
    "resnet50": ("layer4", (7, 7), 2048),
    "densenet121": ("features", (7, 7), 1024),
    "mobilenet_v2": ("features.18", (7, 7), 1280),
    "convnext_tiny": ("features.7", (7, 7), 768),
    "inception_v3": ("Mixed_7c", (8, 8), 2048),
}


@pytest.mark.needs("torchvision")
@pytest.mark.parametrize("name", TABLE)
def test_the_default_layers_of_torchvisions_networks(name: str) -> None:
    side = 299 if name == "inception_v3" else 224
    default = default_of(torchvision_network(name), torch.zeros(3, side, side))
    assert default is not None
    assert (default.name, default.grid, default.channels) == TABLE[name]
    assert default.layout == "channels first"


@pytest.mark.needs("torchvision")
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "mobilenet_v2", "convnext_tiny"])
def test_the_default_layer_is_the_same_for_nonsquare_images(name: str) -> None:
    default = default_of(torchvision_network(name), torch.zeros(3, 160, 256))
    assert default is not None
    assert default.name == TABLE[name][0]
    assert default.grid == ((10, 16) if name == "vgg16" else (5, 8))


@pytest.mark.needs("torchvision")
@pytest.mark.parametrize("name", ["swin_t", "swin_v2_t"])
def test_swin_is_recognised_as_channels_last(name: str) -> None:
    network = torchvision_network(name)
    layers = {layer.name: layer for layer in scorecam.layers(network, torch.zeros(3, 224, 256))}
    last = layers["features"] if "features" in layers else layers["norm"]
    assert last.grid == (7, 8)
    assert last.channels == 768
    default = default_of(network, torch.zeros(3, 224, 256))
    assert default is not None
    assert (default.grid, default.channels) == ((7, 8), 768)


@pytest.mark.needs("torchvision")
def test_the_default_of_a_vision_transformer_is_the_input_of_its_last_block() -> None:
    # The last block's own tokens are not used afterwards, only its class token.
    from torchvision.models import VisionTransformer

    network = VisionTransformer(64, 16, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32)
    default = default_of(network, torch.zeros(3, 64, 64))
    assert default is not None
    assert (default.name, default.grid) == ("encoder.layers.encoder_layer_1", (4, 4))
    assert default.layout == "tokens and 1 others"
    after = scorecam.layers(network, torch.zeros(3, 64, 64))[-1]
    assert "only its other tokens" in after.why


@pytest.mark.needs("torchvision")
def test_torchvision_networks_are_explained_at_the_default_layer() -> None:
    from torchvision import models

    network = models.squeezenet1_1(weights=None, num_classes=24)
    explanation = scorecam.explain(network, torch.rand(3, 64, 96), 7)
    layer = dict(network.named_modules())[explanation.layer]
    assert isinstance(layer, nn.ReLU)
    assert explanation.bank.activations.shape == (24, 3, 5)
    assert explanation.heatmap.shape == (64, 96)


@pytest.mark.needs("demo")
@pytest.mark.parametrize(("spec", "cells"), [("lite0", 7), ("lite1", 8), ("lite2", 9)])
def test_the_lite_networks_show_1280_maps_at_head(spec: str, cells: int) -> None:
    model = scorecam.open_model(spec)
    [default] = [layer for layer in scorecam.layers(model) if layer.default]
    assert (default.name, default.grid, default.channels) == ("head", (cells, cells), 1280)


@pytest.mark.needs("demo")
def test_the_layer_head_has_the_last_activations_of_lite() -> None:
    model = scorecam.open_model("lite0")
    image = torch.rand(1, 3, 224, 224)
    maps, scores = model.activations(image, "head")
    assert maps.shape == (1, 1280, 7, 7)
    assert maps.min() == 0
    assert maps.max() <= 6
    classifier = dict(model.module.named_modules())["classifier"]
    with torch.no_grad():
        torch.testing.assert_close(classifier(maps.mean((2, 3))), scores)


# ── other networks ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [Residual, ChannelsLastLayout, Signal, Volume])
def test_the_default_of_a_small_network_is_its_last_block(kind: type[Network]) -> None:
    network = build(kind)
    default = default_of(network, torch.zeros(network.image))
    assert default is not None
    assert default.name == network.layer


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_layer_that_is_listed_can_be_explained(kind: type[Network]) -> None:
    network = build(kind)
    image = images_for(network)[0]
    listed = scorecam.layers(network, image)
    assert network.layer in [layer.name for layer in listed] or kind.__name__ == "InPlace"
    for layer in listed:
        bank = scorecam.ScoreCAM(network, layer.name).bank(image)
        assert bank.activations.shape == (layer.channels, *layer.grid)


def test_layers_are_listed_in_execution_order_with_reasons() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.z_first = nn.Conv2d(3, 4, 3)
            self.m_pool = nn.MaxPool2d(2)
            self.a_last = nn.Conv2d(4, 5, 3)
            self.global_pool = nn.AdaptiveAvgPool2d(1)
            self.classes = nn.Linear(5, 2)

        def forward(self, images: Tensor) -> Tensor:
            maps = self.a_last(self.m_pool(self.z_first(images)))
            return self.classes(self.global_pool(maps).flatten(1))

    listed = scorecam.layers(Backwards(), torch.zeros(3, 16, 20))
    assert [layer.name for layer in listed] == ["z_first", "m_pool", "a_last", "global_pool"]
    assert [layer.grid for layer in listed] == [(14, 18), (7, 9), (5, 7), (1, 1)]
    assert [layer.default for layer in listed] == [False, False, True, False]
    assert "pool" in listed[1].why
    assert "last block" in listed[2].why
    assert all(layer.on_path for layer in listed)
    assert "pool" in listed[3].why or "one cell" in listed[3].why


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d((2, 3))])
def test_a_pool_is_never_the_default(pool: nn.Module) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), pool, nn.Flatten(), nn.LazyLinear(3)
    )
    network(torch.zeros(1, 3, 16, 20))
    default = default_of(network, torch.zeros(3, 16, 20))
    assert default is not None
    assert default.name == "1"


def test_a_layer_with_a_single_cell_is_never_the_default() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, (14, 18)), nn.Flatten())
    default = default_of(network, torch.zeros(3, 16, 20))
    assert default is not None
    assert default.name == "0"


SUMS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "x + y": lambda x, y, _: x + y,
    "y + x": lambda x, y, _: y + x,
    "x += y": lambda x, y, _: x.__iadd__(y),
    "y += x": lambda x, y, _: y.__iadd__(x),
    "torch.add": lambda x, y, _: torch.add(x, y),
    "torch.add with alpha": lambda x, y, _: torch.add(x, y, alpha=0.5),
    "x.add": lambda x, y, _: x.add(y),
    "x + 0.5 y": lambda x, y, _: x + 0.5 * y,
    "x + gain y": lambda x, y, gain: x + gain * y,
    "x + relu(y)": lambda x, y, _: x + y.relu(),
}


class AtRoot(nn.Module):
    """A residual sum in the root's own forward: no module returns it."""

    def __init__(self, add: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.add = add
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.inner = nn.Conv2d(6, 6, 3, padding=1)
        self.branch = nn.Conv2d(6, 6, 3, padding=1)
        self.gain = nn.Parameter(torch.ones(6, 1, 1))
        self.classes = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x = self.add(x, self.branch(self.inner(x)), self.gain)
        return self.classes(x.relu().mean((2, 3)))


@pytest.mark.parametrize("add", SUMS.values(), ids=SUMS)
def test_a_convolution_before_a_residual_add_is_never_the_default(
    add: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> None:
    # `inner` and `branch` are bypassed: the next layers also receive the output of `stem`.
    default = default_of(AtRoot(add), torch.zeros(3, 16, 24))
    assert default is None or default.name == "stem"


def test_a_sum_of_tensors_without_a_grid_is_not_a_residual_add() -> None:
    class TwoPools(AtRoot):
        def forward(self, images: Tensor) -> Tensor:
            maps = self.inner(self.stem(images))
            return self.classes(maps.mean((2, 3)) + maps.amax((2, 3)))

    default = default_of(TwoPools(SUMS["x + y"]), torch.zeros(3, 16, 24))
    assert default is not None
    assert default.name == "inner"


def test_a_block_after_the_residual_add_is_the_default() -> None:
    class WithRelu(AtRoot):
        def __init__(self) -> None:
            super().__init__(SUMS["x + y"])
            self.relu = nn.ReLU()

        def forward(self, images: Tensor) -> Tensor:
            x = self.stem(images)
            x = self.relu(x + self.branch(self.inner(x)))
            return self.classes(x.mean((2, 3)))

    default = default_of(WithRelu(), torch.zeros(3, 16, 24))
    assert default is not None
    assert default.name == "relu"


def test_the_tokens_of_a_volume_are_a_grid_of_three_axes() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv3d(1, 8, 4, stride=4)
            self.mix = nn.Linear(8, 8)
            self.classes = nn.Linear(8, 3)

        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patches(images).flatten(2).mT
            return self.classes(self.mix(tokens).mean(1))

    default = default_of(Tokens(), torch.zeros(1, 8, 12, 16))
    assert default is not None
    assert (default.name, default.grid, default.channels) == ("mix", (2, 3, 4), 8)


def test_the_output_of_a_convolution_always_has_channels_first() -> None:
    # 5 channels on a grid of 5 × 2: read the other way round, the grid would be 5 × 5 and suit
    # the image better.
    class Uneven(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Conv2d(3, 5, (1, 5), stride=(1, 5))
            self.classes = nn.Linear(5, 2)

        def forward(self, images: Tensor) -> Tensor:
            return self.classes(self.maps(images).mean((2, 3)))

    [layer] = [x for x in scorecam.layers(Uneven(), torch.zeros(3, 5, 10)) if x.name == "maps"]
    assert (layer.layout, layer.grid, layer.channels) == ("channels first", (5, 2), 5)


# ── naming a layer ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def network() -> Network:
    return build(Residual)


def bank(network: nn.Module, layer: object) -> scorecam.ScoreBank:
    return scorecam.ScoreCAM(network, layer).bank(torch.rand(3, 30, 18))


def test_a_layer_is_named_as_in_named_modules(network: Network) -> None:
    assert bank(network, "block.first").layer == "block.first"


def test_a_layer_may_be_the_module_itself(network: Network) -> None:
    assert bank(network, network.block).layer == "block"


def test_a_module_of_another_network_is_refused(network: Network) -> None:
    other = build(Residual)
    with pytest.raises(scorecam.LayerError, match="not part of the model") as raised:
        bank(network, other.block)
    assert "another instance" in raised.value.likely


@pytest.mark.parametrize("wrong", ["blok", "block.frist", "BLOCK"])
def test_a_misspelt_layer_suggests_the_nearest_name(network: Network, wrong: str) -> None:
    with pytest.raises(scorecam.LayerError, match="no layer called") as raised:
        bank(network, wrong)
    assert "Did you mean" in raised.value.likely
    assert "'block" in raised.value.likely
    assert "layers" in raised.value.do


@pytest.mark.parametrize("wrong", [3, 1.5, ["block"], object()])
def test_a_layer_that_is_neither_name_nor_module_is_refused(
    network: Network, wrong: object
) -> None:
    with pytest.raises(scorecam.LayerError, match="a name or a module"):
        bank(network, wrong)


def test_a_layer_without_a_grid_is_refused_with_its_shape(network: Network) -> None:
    with pytest.raises(scorecam.LayerError, match="has no grid") as raised:
        bank(network, "classes")
    assert "(1, 5)" in str(raised.value)
    assert "earlier layer" in raised.value.do


def test_the_whole_network_is_refused_as_a_layer(network: Network) -> None:
    with pytest.raises(scorecam.LayerError):
        bank(network, "")


def test_a_layer_that_does_not_run_is_refused() -> None:
    class Spare(Residual):
        def __init__(self) -> None:
            super().__init__()
            self.spare = nn.Conv2d(3, 3, 1)

    with pytest.raises(scorecam.LayerError, match="'spare' did not run"):
        bank(Spare(), "spare")


def test_of_a_layer_that_returns_a_tuple_the_tensor_on_the_path_is_explained() -> None:
    class Pair(nn.Module):
        def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
            return maps[:, :, :1].mean((2, 3)), maps + 1

    class WithPair(Residual):
        def __init__(self) -> None:
            super().__init__()
            self.pair = Pair()

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(self.pair(images)[1])

    image = torch.rand(3, 30, 18)
    found = scorecam.ScoreCAM(WithPair(), "pair").bank(image)
    torch.testing.assert_close(found.activations, image + 1)


def test_a_layer_without_a_tensor_is_refused() -> None:
    class Nothing(nn.Module):
        def forward(self, maps: Tensor) -> str:
            return f"{len(maps)} images"

    class WithNothing(Residual):
        def __init__(self) -> None:
            super().__init__()
            self.nothing = Nothing()

        def forward(self, images: Tensor) -> Tensor:
            self.nothing(images)
            return super().forward(images)

    with pytest.raises(scorecam.LayerError, match="did not run"):
        bank(WithNothing(), "nothing")


def test_a_network_without_any_grid_is_an_error_with_advice() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 5, 2))
    with pytest.raises(scorecam.LayerError, match="No layer could be chosen"):
        scorecam.ScoreCAM(network)(torch.rand(1, 3, 4, 5))


def test_a_layer_that_mixes_images_is_refused() -> None:
    class Mixes(Residual):
        """Folds the batch into the rows before its explained layer."""

        def __init__(self) -> None:
            super().__init__()
            self.mixed = nn.Identity()

        def forward(self, images: Tensor) -> Tensor:
            self.mixed(torch.cat([images, images]))
            return super().forward(images)

    with pytest.raises(scorecam.LayerError, match="has no grid"):
        bank(Mixes(), "mixed")


def test_the_size_of_the_image_must_be_known_to_list_layers(network: Network) -> None:
    with pytest.raises(scorecam.SettingError, match="size"):
        scorecam.layers(network)
