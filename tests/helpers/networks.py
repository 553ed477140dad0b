"""Small seeded networks, each with a feature that Score-CAM implementations get wrong.

`maps` recomputes the activations of the explained layer, so in-place changes in `forward` do not
affect them. In every explained layer, channel 1 is zero and channel 4 is constant but not zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CLASSES = 5
CONVOLUTIONS = nn.Conv1d | nn.Conv2d | nn.Conv3d


def flatten_channels(convolution: CONVOLUTIONS) -> None:
    """Make channels 1 and 4 constant: −1 (0 after ReLU) and 0.5."""
    assert convolution.bias is not None
    with torch.no_grad():
        for channel, constant in ((1, -1.0), (4, 0.5)):
            convolution.weight[channel] = 0.0
            convolution.bias[channel] = constant


class InPlace(nn.Module):
    """A batch norm whose output is overwritten by the in-place ReLU after it."""

    layer = "norm"
    image = (3, 24, 40)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 9, 3, stride=4, padding=1)
        self.norm = nn.BatchNorm2d(9)
        self.relu = nn.ReLU(inplace=True)
        self.classes = nn.Linear(9, CLASSES)
        self.norm.running_mean = 0.1 * torch.randn(9)
        self.norm.running_var = 0.5 + torch.rand(9)
        with torch.no_grad():
            self.norm.weight[1], self.norm.bias[1] = 0.0, 0.0
            self.norm.weight[4], self.norm.bias[4] = 0.0, 0.5

    def maps(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.relu(self.norm(self.conv(images))).mean((2, 3)))


class Block(nn.Module):
    """relu(x + conv(relu(conv(x)))), with the sum and the ReLU in place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x).relu_())
        y += x
        return y.relu_()


class Residual(nn.Module):
    """A residual block; its output is explained, not that of a convolution inside it."""

    layer = "block"
    image = (3, 30, 18)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5, stride=3, padding=2)
        self.block = Block(8)
        self.classes = nn.Linear(8, CLASSES)
        flatten_channels(self.stem)
        flatten_channels(self.block.second)

    def maps(self, images: Tensor) -> Tensor:
        return self.block(self.stem(images).relu())

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.maps(images).mean((2, 3)))


class Signed(nn.Module):
    """A convolution without ReLU: half of its activations are negative."""

    layer = "conv"
    image = (3, 20, 33)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)
        self.classes = nn.Linear(8, CLASSES)
        flatten_channels(self.conv)

    def maps(self, images: Tensor) -> Tensor:
        return self.conv(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.maps(images).tanh().mean((2, 3)))


class ChannelsLastMemory(nn.Module):
    """The usual axes `b k u v`, but channels-last memory format."""

    layer = "relu"
    image = (3, 28, 20)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 10, 3, stride=4, padding=1)
        self.relu = nn.ReLU()
        self.classes = nn.Linear(10, CLASSES)
        flatten_channels(self.conv)
        self.to(memory_format=torch.channels_last)

    def maps(self, images: Tensor) -> Tensor:
        return self.relu(self.conv(images.contiguous(memory_format=torch.channels_last)))

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.maps(images).mean((2, 3)))


class ChannelsLastLayout(nn.Module):
    """The explained layer returns `b u v k`, as in Swin transformers."""

    layer = "norm"
    image = (3, 24, 40)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 9, 4, stride=4)
        self.norm = nn.LayerNorm(9)
        self.classes = nn.Linear(9, CLASSES)
        with torch.no_grad():
            self.norm.weight[1], self.norm.bias[1] = 0.0, 0.0
            self.norm.weight[4], self.norm.bias[4] = 0.0, 0.5

    def maps(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(images).movedim(1, -1)).movedim(-1, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.norm(self.conv(images).movedim(1, -1)).relu().mean((1, 2)))


class Signal(nn.Module):
    """One image axis."""

    layer = "relu"
    image = (2, 37)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 7, 5, stride=3)
        self.relu = nn.ReLU()
        self.classes = nn.Linear(7, CLASSES)
        flatten_channels(self.conv)

    def maps(self, images: Tensor) -> Tensor:
        return self.relu(self.conv(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.maps(images).mean(2))


class Volume(nn.Module):
    """Three image axes, all of different lengths."""

    layer = "relu"
    image = (1, 8, 10, 12)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 7, 3, stride=2)
        self.relu = nn.ReLU()
        self.classes = nn.Linear(7, CLASSES)
        flatten_channels(self.conv)

    def maps(self, images: Tensor) -> Tensor:
        return self.relu(self.conv(images))

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.maps(images).mean((2, 3, 4)))


Network = InPlace | Residual | Signed | ChannelsLastMemory | ChannelsLastLayout | Signal | Volume
NETWORKS: tuple[type[Network], ...] = (
    InPlace,
    Residual,
    Signed,
    ChannelsLastMemory,
    ChannelsLastLayout,
    Signal,
    Volume,
)


def build(kind: type[Network], seed: int = 0) -> Network:
    """The network in evaluation mode, with fixed weights and well separated logits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = kind()
        with torch.no_grad():
            network.classes.weight *= 12
    return network.eval()


def images_for(network: Network, count: int = 1, seed: int = 0) -> Tensor:
    """Seeded images `b c *i` for the network: smooth patterns between −1 and 1."""
    generator = torch.Generator().manual_seed(seed)
    colours, *size = network.image
    coarse = torch.rand(count, colours, *[3] * len(size), generator=generator) * 2 - 1
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    smooth = nn.functional.interpolate(coarse, size=size, mode=mode, align_corners=True)
    noise = torch.rand(smooth.shape, generator=generator) * 2 - 1
    return 0.8 * smooth + 0.2 * noise
