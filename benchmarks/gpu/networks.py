"""ResNet50 and VGG16 in plain PyTorch, so that a card needs no other package for them.

The weights have the names and shapes of torchvision's, and the layers run in the same order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """Three convolutions and a shortcut; the stride is in the second one, as in torchvision."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


def resnet(blocks: Sequence[int] = (3, 4, 6, 3), width: int = 64, classes: int = 1000) -> nn.Module:
    """A ResNet of bottlenecks; ResNet50 by default."""
    parts: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(3, width, 7, 2, 3, bias=False)),
        ("bn1", nn.BatchNorm2d(width)),
        ("relu", nn.ReLU()),
        ("maxpool", nn.MaxPool2d(3, 2, 1)),
    ]
    inputs = width
    for number, count in enumerate(blocks):
        own = width * 2**number
        stage: list[nn.Module] = []
        for place in range(count):
            stage.append(Bottleneck(inputs, own, 2 if number and not place else 1))
            inputs = 4 * own
        parts.append((f"layer{number + 1}", nn.Sequential(*stage)))
    parts += [
        ("avgpool", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
        ("fc", nn.Linear(inputs, classes)),
    ]
    return initialised(nn.Sequential(OrderedDict(parts)))


VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
"""The channels of each convolution; 0 is a pool."""


def vgg(
    channels: Sequence[int] = VGG16, hidden: int = 4096, cells: int = 7, classes: int = 1000
) -> nn.Module:
    """A VGG without batch normalisation; VGG16 by default."""
    features: list[nn.Module] = []
    inputs = 3
    for own in channels:
        if own == 0:
            features.append(nn.MaxPool2d(2, 2))
            continue
        features += [nn.Conv2d(inputs, own, 3, padding=1), nn.ReLU()]
        inputs = own
    classifier = [
        *(nn.Linear(inputs * cells**2, hidden), nn.ReLU(), nn.Dropout()),
        *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout()),
        nn.Linear(hidden, classes),
    ]
    parts: list[tuple[str, nn.Module]] = [
        ("features", nn.Sequential(*features)),
        ("avgpool", nn.AdaptiveAvgPool2d(cells)),
        ("flatten", nn.Flatten()),
        ("classifier", nn.Sequential(*classifier)),
    ]
    return initialised(nn.Sequential(OrderedDict(parts)))


def initialised(network: nn.Module) -> nn.Module:
    """The network with random weights of a size that keeps activations in range."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, Bottleneck):
            # Each block adds its output to its input, so that without this the sum doubles in size
            # from block to block.
            nn.init.constant_(module.bn3.weight, 0.5)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                module.bias.zero_()
    return network.eval()
