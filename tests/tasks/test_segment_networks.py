"""Segmenters of libraries, and their files, are explained without any argument."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import scorecam
from onnx_networks import exported
from scorecam.tasks import Segment
from segmenters import Forms

GENERATOR = torch.Generator().manual_seed(0)
PHOTO = torch.randn(1, 3, 64, 96, generator=GENERATOR)


def seeded(build: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        return build().eval()


def unet() -> nn.Module:
    import segmentation_models_pytorch

    return segmentation_models_pytorch.Unet("resnet18", encoder_weights=None, classes=3)


def lraspp() -> nn.Module:
    from torchvision import models

    return models.get_model("lraspp_mobilenet_v3_large", weights=None, weights_backbone=None)


def segformer() -> nn.Module:
    import transformers

    config = transformers.SegformerConfig(
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        num_labels=4,
    )
    return transformers.SegformerForSemanticSegmentation(config)


def maskformer() -> nn.Module:
    import transformers

    backbone = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    decoder = transformers.DetrConfig(
        d_model=16,
        decoder_layers=1,
        encoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        num_queries=6,
        backbone_config=backbone,
    )
    config = transformers.MaskFormerConfig(
        fpn_feature_size=32,
        mask_feature_size=32,
        backbone_config=backbone,
        decoder_config=decoder,
        num_labels=4,
    )
    return transformers.MaskFormerForInstanceSegmentation(config)


def monai() -> nn.Module:
    from monai.networks.nets import UNet

    settings: dict[str, Any] = {"channels": (4, 8, 16), "strides": (2, 2)}
    return UNet(spatial_dims=3, in_channels=1, out_channels=3, **settings)


LARGE = torch.randn(1, 3, 320, 448, generator=GENERATOR)
VOLUME = torch.randn(1, 1, 16, 24, 32, generator=GENERATOR)
FAMILIES = pytest.mark.needs("families")
NETWORKS = [
    pytest.param(unet, LARGE, "encoder.layer4", (10, 14), marks=FAMILIES, id="smp U-Net"),
    pytest.param(
        lraspp,
        LARGE,
        "backbone.16",
        (20, 28),
        marks=pytest.mark.needs("torchvision"),
        id="LR-ASPP",
    ),
    pytest.param(
        segformer,
        LARGE,
        "decode_head.linear_projections.3",
        (10, 14),
        marks=FAMILIES,
        id="SegFormer",
    ),
    pytest.param(
        maskformer,
        LARGE,
        "model.pixel_level_module.encoder.encoder",
        (10, 14),
        marks=FAMILIES,
        id="MaskFormer",
    ),
    pytest.param(monai, VOLUME, "model.1.submodule.1", (4, 6, 8), marks=FAMILIES, id="MONAI, 3-D"),
]


@pytest.mark.parametrize(("build", "images", "name", "cells"), NETWORKS)
def test_the_default_layer_is_the_deepest_grid_of_the_encoder(
    build: Any, images: Tensor, name: str, cells: tuple[int, ...]
) -> None:
    model = scorecam.open_model(seeded(build), task=Segment()).for_image(images)
    [default] = [layer for layer in model.layers(images) if layer.default]
    assert (default.name, default.grid) == (name, cells)


@FAMILIES
def test_grids_of_few_cells_are_no_default() -> None:
    model = scorecam.open_model(seeded(unet), task=Segment()).for_image(PHOTO)
    [default] = [layer for layer in model.layers(PHOTO) if layer.default]
    assert (default.name, default.grid) == ("encoder.layer1", (16, 24))


SMALL = [
    pytest.param(build, VOLUME if build is monai else PHOTO, marks=mark, id=build.__name__)
    for build, mark in (
        (unet, FAMILIES),
        (lraspp, pytest.mark.needs("torchvision")),
        (segformer, FAMILIES),
        (maskformer, FAMILIES),
        (monai, FAMILIES),
    )
]


@pytest.mark.parametrize(("build", "images"), SMALL)
def test_classes_and_points_are_explained_without_any_argument(build: Any, images: Tensor) -> None:
    net = seeded(build)
    point = tuple(size // 2 for size in reversed(images.shape[2:]))
    for target in (None, point):
        explanation = scorecam.explain(net, images, target, task="segment", budget=8)
        assert explanation.heatmap.shape == images.shape[2:]
        assert float(explanation.heatmap.max()) > 0
    assert explanation.target.label.endswith(f"at {point}")


@pytest.mark.needs("families")
def test_maskformer_has_the_classes_of_its_own_post_processing() -> None:
    import transformers

    net = seeded(maskformer)
    columns = Segment().columns(scorecam.open_model(net), PHOTO, None)
    with torch.no_grad():
        output = net(PHOTO)
    processor = transformers.MaskFormerImageProcessorPil()
    [labels] = processor.post_process_semantic_segmentation(output, [(64, 96)])
    assert columns.masks is not None
    for name, mask in zip(columns.names, columns.masks, strict=True):
        assert torch.equal(mask, labels == int(name.split()[1]))


@pytest.mark.needs("families")
def test_segformer_has_the_classes_of_its_own_post_processing() -> None:
    import transformers

    net = seeded(segformer)
    columns = Segment().columns(scorecam.open_model(net), PHOTO, None)
    with torch.no_grad():
        output = net(PHOTO)
    processor = transformers.SegformerImageProcessorPil()
    [labels] = processor.post_process_semantic_segmentation(output, [(64, 96)])
    assert columns.masks is not None
    named = zip(columns.names, columns.masks, strict=True)
    same = sum(int((mask & (labels == int(name.split()[1]))).sum()) for name, mask in named)
    assert same > 0.98 * 64 * 96, "they enlarge logits, and we their probabilities"


@pytest.mark.needs("onnx")
@pytest.mark.parametrize("form", ["logits", "channels last", "probabilities"])
def test_an_onnx_file_gives_the_scores_of_its_network(form: str, tmp_path: Path) -> None:
    net = Forms(form, stride=2).eval()
    path = exported(net, PHOTO, tmp_path / "net.onnx")
    target = (50, 20)
    expected = scorecam.explain(net, PHOTO, target, task="segment", layer="stem")
    found = scorecam.explain(scorecam.open_model(str(path)), PHOTO, target, task="segment")
    assert found.target.name == expected.target.name
    assert found.target.score == pytest.approx(expected.target.score, abs=1e-5)
    assert found.bank.names == expected.bank.names
    torch.testing.assert_close(found.scaled, expected.scaled, atol=1e-3, rtol=0)


def test_windows_of_a_large_image_are_stitched_before_the_region_is_read() -> None:
    net = Forms("logits").eval()
    model = scorecam.sliding_window(scorecam.open_model(net), (32, 32), overlap=0.5)
    target = (70, 40)
    explanation = scorecam.explain(model, PHOTO, target, task="segment", layer="stem")
    with torch.no_grad():
        chance = net(PHOTO)[0].softmax(0)[:, 40, 70]
    assert explanation.heatmap.shape == (64, 96)
    assert explanation.target.name == f"class {int(chance.argmax())} at (70, 40)"
    assert explanation.target.score == pytest.approx(float(chance.max()), abs=0.02)
