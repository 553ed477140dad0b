"""Networks of many families with random weights: each is explained without any argument.

They come from timm, transformers, torchvision, segmentation-models-pytorch and MONAI, in small
configurations where the library allows it. Torchvision must be importable: see torchvision_ops.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Family:
    """A family of networks, and one small network of it.

    Args:
        library: where it comes from.
        name: of the family.
        build: makes the network.
        cells: the grid that its architecture has at the end of its features.
        size: of the image's axes.
        colours: of the image.
        options: of `open_model`, for outputs that are not scores of classes.
    """

    library: str
    name: str
    build: Callable[[], nn.Module]
    cells: tuple[int, ...]
    size: tuple[int, ...] = (224, 224)
    colours: int = 3
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    def network(self) -> nn.Module:
        """The network in evaluation mode, with seeded weights."""
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            return self.build().eval()

    def image(self) -> torch.Tensor:
        """A seeded image, `1 c *i`."""
        generator = torch.Generator().manual_seed(0)
        return torch.randn(1, self.colours, *self.size, generator=generator)


def _timm(name: str, model: str, cells: int, size: int = 224, **options: Any) -> Family:
    def build() -> nn.Module:
        import timm

        return timm.create_model(model, pretrained=False, num_classes=7, **options)

    return Family("timm", name, build, (cells, cells), (size, size))


def _torchvision(name: str, model: str, cells: int, size: int = 224, **options: Any) -> Family:
    def build() -> nn.Module:
        from torchvision import models

        return models.get_model(model, weights=None, **options)

    kind = "segmentation" if "weights_backbone" in options else ""
    opening = {"output": _mean_of_out} if kind else {}
    return Family("torchvision", name, build, (cells, cells), (size, size), options=opening)


def _hf(
    name: str, classifier: str, cells: int, size: int = 64, opening: Any = None, **settings: Any
) -> Family:
    def build() -> nn.Module:
        import transformers

        kind = getattr(transformers, classifier)
        config = kind.config_class(**settings)
        if getattr(config, "num_labels", 0) == 2 and "For" in classifier:
            config.num_labels = 5
        return kind(config)

    return Family("transformers", name, build, (cells, cells), (size, size), options=opening or {})


def _smp(name: str, model: str, cells: int, size: int = 64) -> Family:
    def build() -> nn.Module:
        import segmentation_models_pytorch

        kind = getattr(segmentation_models_pytorch, model)
        return kind("resnet18", encoder_weights=None, classes=3)

    return Family(
        "smp", name, build, (cells, cells), (size, size), options={"output": _mean_of_positions}
    )


def _monai(
    name: str,
    model: str,
    cells: tuple[int, ...],
    size: tuple[int, ...],
    *,
    maps: bool = False,
    **settings: Any,
) -> Family:
    def build() -> nn.Module:
        from monai.networks import nets

        return getattr(nets, model)(**settings)

    options = {"output": _mean_of_positions} if maps else {}
    return Family("MONAI", name, build, cells, size, colours=1, options=options)


def _mean_of_positions(output: Any) -> torch.Tensor:
    """One score per class of a segmentation."""
    tensor = output[0] if isinstance(output, tuple | list) else output
    tensor = getattr(tensor, "logits", tensor)
    return tensor.flatten(2).mean(2)


def _mean_of_out(output: Any) -> torch.Tensor:
    return output["out"].mean((2, 3))


def _first_of_tuple(output: Any) -> torch.Tensor:
    return output[0]


def _best_box(output: Any) -> torch.Tensor:
    """The highest score of each class over the boxes of a detector."""
    return output.logits.amax(1)


_VIT: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 64,
    "patch_size": 16,
}
_STAGES: dict[str, Any] = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 24, 32]}
_HEADS: dict[str, Any] = {**_STAGES, "num_attention_heads": [1, 2, 2, 2]}
_TOWER: dict[str, Any] = {"vision_config": _VIT}

TIMM = (
    _timm("ViT", "vit_tiny_patch16_224", 14),
    _timm("ViT, non-square", "vit_tiny_patch16_224", 14, img_size=(224, 224)),
    _timm("ViT, average pooling", "vit_tiny_patch16_224", 14, global_pool="avg"),
    _timm("ViT with registers", "vit_wee_patch16_reg1_gap_256", 16, 256),
    _timm("ViT hybrid", "vit_tiny_r_s16_p8_224", 7),
    _timm("DeiT, distilled", "deit_tiny_distilled_patch16_224", 14),
    _timm("DINOv2 with registers", "vit_small_patch14_reg4_dinov2", 8, 112, img_size=112),
    _timm("DINOv3", "vit_small_patch16_dinov3", 8, 128),
    _timm(
        "SigLIP attention pooling",
        "vit_base_patch16_siglip_224",
        14,
        depth=2,
        embed_dim=192,
        num_heads=3,
    ),
    _timm("CLIP tower", "vit_base_patch16_clip_224", 14, depth=3, embed_dim=192, num_heads=3),
    _timm("CaiT", "cait_xxs24_224", 14, depth=4),
    _timm("BEiT", "beit_base_patch16_224", 14, depth=3, embed_dim=192, num_heads=3),
    _timm("EVA-02", "eva02_tiny_patch14_224", 16, depth=3),
    _timm("XCiT", "xcit_nano_12_p16_224", 14, depth=3),
    _timm("ConViT", "convit_tiny", 14),
    _timm("CrossViT", "crossvit_9_240", 20, 240),
    _timm("PiT", "pit_ti_224", 7),
    _timm("TNT", "tnt_s_patch16_224", 14, depth=3),
    _timm("VOLO", "volo_d1_224", 14),
    _timm("MLP-Mixer", "mixer_s16_224", 14),
    _timm("ResMLP", "resmlp_12_224", 14),
    _timm("gMLP", "gmlp_s16_224", 14),
    _timm("Swin", "swin_tiny_patch4_window7_224", 7, depths=(1, 1, 2, 2)),
    _timm("Swin v2", "swinv2_tiny_window8_256", 8, 256, depths=(1, 1, 2, 2)),
    _timm("Swin v2, CR", "swinv2_cr_tiny_224", 7, depths=(1, 1, 2, 2)),
    _timm("MaxViT", "maxvit_tiny_tf_224", 7),
    _timm("CoAtNet", "coatnet_0_224", 7),
    _timm("CoaT", "coat_lite_tiny", 7),
    _timm("LeViT", "levit_128s", 4),
    _timm("EfficientFormer", "efficientformer_l1", 7),
    _timm("EfficientFormer v2", "efficientformerv2_s0", 7),
    _timm("EfficientViT (MIT)", "efficientvit_b0", 7),
    _timm("EfficientViT (MSRA)", "efficientvit_m0", 4),
    _timm("MobileViT", "mobilevit_xxs", 8, 256),
    _timm("MobileViT v2", "mobilevitv2_050", 8, 256),
    _timm("PVT v2", "pvt_v2_b0", 7),
    _timm("Twins", "twins_svt_small", 7),
    _timm("PoolFormer", "poolformer_s12", 7),
    _timm("DaViT", "davit_tiny", 7),
    _timm("EdgeNeXt", "edgenext_xx_small", 8, 256),
    _timm("FastViT", "fastvit_t8", 8, 256),
    _timm("FocalNet", "focalnet_tiny_srf", 7),
    _timm("GC ViT", "gcvit_xxtiny", 7),
    _timm("Hiera", "hiera_tiny_224", 7),
    _timm("MViT v2", "mvitv2_tiny", 7),
    _timm("NesT", "nest_tiny", 14),
    _timm("Sequencer", "sequencer2d_s", 16),
    _timm("TinyViT", "tiny_vit_5m_224", 7),
    _timm("ViTamin", "vitamin_small_224", 14),
    _timm("Visformer", "visformer_tiny", 7),
    _timm("MambaOut", "mambaout_femto", 7),
    _timm("HaloNet", "halonet26t", 8, 256),
    _timm("LambdaNet", "lambda_resnet26t", 8, 256),
    _timm("BoTNet", "botnet26t_256", 8, 256),
    _timm("ConvMixer", "convmixer_768_32", 32),
    _timm("ConvNeXt v2", "convnextv2_atto", 7),
    _timm("HRNet", "hrnet_w18_small", 7),
    _timm("RegNetY", "regnety_002", 7),
    _timm("NFNet", "nf_resnet26", 8, 256),
    _timm("EfficientNet", "efficientnet_b0", 7),
    _timm("GhostNet", "ghostnet_100", 7),
    _timm("DLA", "dla34", 7),
)

TRANSFORMERS = (
    _hf("ViT", "ViTForImageClassification", 4, **_VIT),
    _hf("DeiT, distilled", "DeiTForImageClassificationWithTeacher", 4, **_VIT),
    _hf("BEiT", "BeitForImageClassification", 4, **_VIT),
    _hf("Data2Vec", "Data2VecVisionForImageClassification", 4, **_VIT),
    _hf("DINOv2", "Dinov2ForImageClassification", 4, **_VIT),
    _hf("DINOv2 with registers", "Dinov2WithRegistersForImageClassification", 4, **_VIT),
    _hf("ViT MSN", "ViTMSNForImageClassification", 4, **_VIT),
    _hf("I-JEPA", "IJepaForImageClassification", 4, **_VIT),
    _hf("CLIP", "CLIPForImageClassification", 4, **_TOWER),
    _hf("SigLIP", "SiglipForImageClassification", 4, **_TOWER),
    _hf(
        "Swin",
        "SwinForImageClassification",
        4,
        image_size=64,
        embed_dim=16,
        depths=[1, 1, 2],
        num_heads=[1, 2, 4],
        window_size=4,
    ),
    _hf(
        "Swin v2",
        "Swinv2ForImageClassification",
        4,
        image_size=64,
        embed_dim=16,
        depths=[1, 1, 2],
        num_heads=[1, 2, 4],
        window_size=4,
    ),
    _hf(
        "Hiera",
        "HieraForImageClassification",
        4,
        image_size=[64, 64],
        embed_dim=16,
        depths=[1, 1, 2],
        num_heads=[1, 2, 4],
        query_stride=[2, 2],
        num_query_pool=2,
    ),
    _hf(
        "FocalNet",
        "FocalNetForImageClassification",
        4,
        image_size=64,
        embed_dim=16,
        depths=[1, 1, 2],
    ),
    _hf("ConvNeXt", "ConvNextForImageClassification", 2, **_STAGES),
    _hf("ConvNeXt v2", "ConvNextV2ForImageClassification", 2, **_STAGES),
    _hf("ResNet", "ResNetForImageClassification", 2, embedding_size=8, **_STAGES),
    _hf("RegNet", "RegNetForImageClassification", 2, embedding_size=8, groups_width=8, **_STAGES),
    _hf("PoolFormer", "PoolFormerForImageClassification", 2, **_STAGES),
    _hf("PVT", "PvtForImageClassification", 2, image_size=64, **_HEADS),
    _hf("PVT v2", "PvtV2ForImageClassification", 2, image_size=64, **_HEADS),
    _hf("SegFormer, classifier", "SegformerForImageClassification", 2, **_HEADS),
    _hf(
        "SegFormer",
        "SegformerForSemanticSegmentation",
        16,
        64,
        {"output": _mean_of_positions},
        **_HEADS,
    ),
    _hf("MobileViT", "MobileViTForImageClassification", 2, image_size=64),
    _hf("MobileNet v1", "MobileNetV1ForImageClassification", 2, image_size=64),
    _hf(
        "SwiftFormer",
        "SwiftFormerForImageClassification",
        2,
        image_size=64,
        embed_dims=[16, 24, 32, 48],
        depths=[1, 1, 1, 1],
    ),
    _hf(
        "DETR",
        "DetrForObjectDetection",
        4,
        128,
        {"output": _best_box, "head": "logits"},
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_queries=8,
    ),
    _hf(
        "YOLOS",
        "YolosForObjectDetection",
        4,
        64,
        {"output": _best_box, "head": "logits"},
        **{**_VIT, "image_size": [64, 64]},
        num_detection_tokens=10,
    ),
)

TORCHVISION = (
    _torchvision("AlexNet", "alexnet", 13),
    _torchvision("VGG", "vgg11", 8, 128),
    _torchvision("ResNet", "resnet18", 7),
    _torchvision("DenseNet", "densenet121", 7),
    _torchvision("GoogLeNet", "googlenet", 7, init_weights=False),
    _torchvision("Inception v3", "inception_v3", 8, 299, init_weights=False),
    _torchvision("MobileNet v2", "mobilenet_v2", 7),
    _torchvision("ShuffleNet v2", "shufflenet_v2_x0_5", 7),
    _torchvision("SqueezeNet", "squeezenet1_1", 13),
    _torchvision("MNASNet", "mnasnet0_5", 7),
    _torchvision("ConvNeXt", "convnext_tiny", 7),
    _torchvision("Swin", "swin_t", 7),
    _torchvision("MaxViT", "maxvit_t", 7),
    _torchvision("FCN", "fcn_resnet50", 16, 128, weights_backbone=None, aux_loss=True),
    _torchvision("DeepLab v3", "deeplabv3_mobilenet_v3_large", 8, 128, weights_backbone=None),
    _torchvision("LR-ASPP", "lraspp_mobilenet_v3_large", 16, 128, weights_backbone=None),
)

SMP = (
    _smp("U-Net", "Unet", 64),
    _smp("U-Net++", "UnetPlusPlus", 64),
    _smp("FPN", "FPN", 16),
    _smp("LinkNet", "Linknet", 64),
    _smp("PAN", "PAN", 32, 128),
)

MONAI = (
    _monai(
        "DenseNet, 3-D",
        "DenseNet121",
        (2, 2, 3),
        (64, 64, 96),
        spatial_dims=3,
        in_channels=1,
        out_channels=3,
    ),
    _monai(
        "ResNet, 3-D",
        "resnet10",
        (2, 2, 4),
        (32, 32, 64),
        spatial_dims=3,
        n_input_channels=1,
        num_classes=3,
    ),
    _monai("SENet", "SEResNet50", (2, 3), (64, 96), spatial_dims=2, in_channels=1, num_classes=3),
    _monai(
        "ViT, 3-D",
        "ViT",
        (2, 4, 2),
        (32, 64, 32),
        in_channels=1,
        img_size=(32, 64, 32),
        patch_size=16,
        hidden_size=48,
        mlp_dim=64,
        num_layers=3,
        num_heads=4,
        classification=True,
        num_classes=3,
    ),
    _monai(
        "U-Net",
        "UNet",
        (32, 48),
        (64, 96),
        maps=True,
        spatial_dims=2,
        in_channels=1,
        out_channels=2,
        channels=(8, 16, 32),
        strides=(2, 2),
    ),
    _monai(
        "SegResNet",
        "SegResNet",
        (32, 48, 32),
        (32, 48, 32),
        maps=True,
        spatial_dims=3,
        init_filters=8,
        in_channels=1,
        out_channels=2,
    ),
)

FAMILIES = (*TIMM, *TRANSFORMERS, *TORCHVISION, *SMP, *MONAI)
