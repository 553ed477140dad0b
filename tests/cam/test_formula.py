"""Every variant equals a plain float64 loop written from the paper."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

import reference
import scorecam
from networks import CLASSES, NETWORKS, Network, build, images_for


def expected(network: Network, image: Tensor, target: int, variant: str) -> Tensor:
    precise = copy.deepcopy(network).double()
    return reference.score_cam(precise, image.double(), target, variant)


@pytest.mark.parametrize("variant", reference.VARIANTS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_every_class_and_variant_equals_the_papers_loop(kind: type[Network], variant: str) -> None:
    network = build(kind)
    image = images_for(network)[0]
    model = scorecam.open_model(network, head="logits")
    bank = scorecam.ScoreCAM(model, network.layer).bank(image)
    for target in range(CLASSES):
        result = scorecam.scaled(bank.heatmap(target, variant)).double()
        truth = expected(network, image, target, variant)
        limit = 1e-5
        if variant == "centred":
            # Rounding of the network's scores counts relative to the range of the probabilities.
            p = bank.scores.softmax(dim=1)[:, target]
            limit = max(limit, 4e-7 * float(p.mean() / (p.max() - p.min())))
        torch.testing.assert_close(result, truth, rtol=0, atol=limit)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_batch_with_a_class_per_image_equals_the_papers_loop(kind: type[Network]) -> None:
    network = build(kind)
    images = images_for(network, count=3)
    model = scorecam.open_model(network, head="logits")
    maps = scorecam.ScoreCAM(model, network.layer, "official", batch_size=4)(images, [4, 0, 2])
    for image, target, result in zip(images, (4, 0, 2), maps, strict=True):
        truth = expected(network, image, target, "official")
        torch.testing.assert_close(scorecam.scaled(result).double(), truth, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", NETWORKS)
def test_explain_equals_the_papers_loop_for_the_prediction(kind: type[Network]) -> None:
    network = build(kind)
    image = images_for(network)[0]
    model = scorecam.open_model(network, head="logits")
    explanation = scorecam.explain(model, image, layer=network.layer, variant="algorithm1")
    predicted = int(network(image[None])[0].argmax())
    assert explanation.target.index == predicted
    truth = expected(network, image, predicted, "algorithm1")
    torch.testing.assert_close(explanation.scaled.double(), truth, rtol=0, atol=1e-5)


# ── the networks make the comparison meaningful ──────────────────────────────────────────────


@pytest.mark.parametrize("kind", NETWORKS)
def test_variants_and_classes_differ_on_these_networks(kind: type[Network]) -> None:
    network = build(kind)
    image = images_for(network)[0]
    maps = [
        [expected(network, image, target, variant) for target in range(CLASSES)]
        for variant in reference.VARIANTS
    ]
    for one in range(len(maps)):
        for other in range(one):
            pairs = zip(maps[one], maps[other], strict=True)
            assert max((a - b).abs().max() for a, b in pairs) > 0.01
    for of_variant in maps:
        assert max((of_variant[0] - other).abs().max() for other in of_variant[1:]) > 0.001
        assert sum(float(heatmap.max()) == 1.0 for heatmap in of_variant) >= 2


@pytest.mark.parametrize("kind", NETWORKS)
def test_these_networks_have_both_flat_and_live_channels(kind: type[Network]) -> None:
    network = build(kind)
    image = images_for(network)[0]
    live = [channel for channel, _ in reference.live_maps(network, image)]
    assert not {1, 4} & set(live)
    assert len(live) >= 4


def test_the_in_place_network_overwrites_its_explained_layer() -> None:
    network = build(NETWORKS[0])
    kept: list[Tensor] = []
    network.norm.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    image = images_for(network)
    network(image)
    assert kept[0].min() >= 0 > network.maps(image).min()
