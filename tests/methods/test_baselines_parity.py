"""Captum's and torchcam's maps reach callers unchanged; the tests call each library directly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from method_cases import case_of, heatmap
from networks import ChannelsLastLayout, InPlace, Volume, build, images_for
from toy_models import tiny

pytestmark = pytest.mark.needs("eval")

TARGET = 3


@pytest.fixture
def network() -> nn.Module:
    return tiny().eval()


@pytest.fixture
def image() -> Tensor:
    return torch.randn(3, 22, 30)


def same(actual: Tensor, expected: Tensor) -> None:
    assert float(expected.abs().max()) > 0
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


# ── Captum ───────────────────────────────────────────────────────────────────────────────────


def wanting(image: Tensor) -> Tensor:
    return image[None].clone().requires_grad_()


def test_gradient(network: nn.Module, image: Tensor) -> None:
    from captum.attr import Saliency

    by_hand = Saliency(network).attribute(wanting(image), target=TARGET)[0].amax(dim=0)
    same(heatmap("gradient", case_of(network, image, TARGET, "body")), by_hand)


def test_smoothgrad(network: nn.Module, image: Tensor) -> None:
    from captum.attr import NoiseTunnel, Saliency

    torch.manual_seed(5)
    signed = NoiseTunnel(Saliency(network)).attribute(
        wanting(image),
        nt_samples=25,
        nt_samples_batch_size=10,
        stdevs=0.2 * float(image.max() - image.min()),
        target=TARGET,
        abs=False,
    )
    case = case_of(network, image, TARGET, "body", seed=5)
    same(heatmap("smoothgrad:samples=25:sigma=0.2", case), signed[0].abs().amax(dim=0))


def test_integrated_gradients(network: nn.Module, image: Tensor) -> None:
    from captum.attr import IntegratedGradients

    signed = IntegratedGradients(network).attribute(image[None], n_steps=30, target=TARGET)
    case = case_of(network, image, TARGET, "body")
    same(heatmap("integrated:steps=30", case), signed[0].float().sum(dim=0).abs())


@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU:UserWarning")
def test_guided_backprop(network: nn.Module, image: Tensor) -> None:
    from captum.attr import GuidedBackprop

    by_hand = GuidedBackprop(network).attribute(wanting(image), target=TARGET)
    same(heatmap("guided", case_of(network, image, TARGET, "body")), by_hand[0].abs().amax(dim=0))


def test_occlusion(network: nn.Module, image: Tensor) -> None:
    from captum.attr import Occlusion

    network.classifier.weight.data *= 0.1  # probabilities below saturation
    by_hand = Occlusion(lambda images: network(images).softmax(dim=1)).attribute(
        image[None], sliding_window_shapes=(3, 6, 8), strides=(3, 3, 5), target=TARGET
    )
    case = case_of(network, image, TARGET, "body")
    # 0.27 · (22, 30) = (5.94, 8.1); 0.155 · (22, 30) = (3.41, 4.65)
    result = heatmap("occlusion:window=0.27:stride=0.155", case)
    expected = by_hand[0, 0].detach()
    assert float(expected.abs().max()) > 1e-3
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)  # differences of probabilities


# ── torchcam ─────────────────────────────────────────────────────────────────────────────────

KINDS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMpp",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
}


def by_hand(kind: str, network: nn.Module, image: Tensor, layer: str, **options: Any) -> Tensor:
    """torchcam's raw map of the target, then enlarged by torch's own interpolation."""
    import torchcam.methods

    mode = {2: "bilinear", 3: "trilinear"}[image.ndim - 1]
    with getattr(torchcam.methods, KINDS[kind])(network, layer, **options) as extractor:
        raw = extractor(TARGET, network(image[None]), normalized=False)[0]
    return functional.interpolate(raw[:, None], size=image.shape[1:], mode=mode)[0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_torchcam_map(kind: str, network: nn.Module, image: Tensor) -> None:
    result = heatmap(kind, case_of(network, image, TARGET, "body.3"))
    same(result, by_hand(kind, network, image, "body.3"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_torchcam_map_of_a_volume(kind: str) -> None:
    network = build(Volume)
    image = images_for(network)[0]
    result = heatmap(kind, case_of(network, image, TARGET, "relu"))
    same(result, by_hand(kind, network, image, "relu"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_torchcam_map_of_a_layer_with_its_channels_last(kind: str) -> None:
    network = build(ChannelsLastLayout)
    image = images_for(network)[0]
    result = heatmap(kind, case_of(network, image, TARGET, "norm"))
    turned = by_hand(
        kind, network, image, "norm", reshape_transform=lambda output: output.movedim(-1, 1)
    )
    same(result, turned)


@pytest.mark.parametrize("kind", KINDS)
def test_the_layer_is_read_before_in_place_operations(
    kind: str,
) -> None:
    """The network with an in-place ReLU after the layer, and with an ordinary ReLU."""
    network = build(InPlace)
    image = images_for(network)[0]
    result = heatmap(kind, case_of(network, image, TARGET, "norm"))
    network.relu = nn.ReLU(inplace=False)
    same(result, by_hand(kind, network, image, "norm"))
