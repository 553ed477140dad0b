"""A small detector in the form of YOLOv8: three levels, one output `b 4+classes boxes`."""

from __future__ import annotations

import warnings
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from benchmarks.common.paths import CACHE
from benchmarks.tasks.scenes import NAMES, SIZE

STRIDES = (8, 16, 32)
WEIGHTS = Path(__file__).with_name("yolo.safetensors")


class Conv(nn.Sequential):
    """A convolution, a batch norm and SiLU."""

    def __init__(self, before: int, after: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(after),
            nn.SiLU(),
        )


class Residual(nn.Module):
    """A bottleneck, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv(channels, channels // 2, 1)
        self.second = Conv(channels // 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class Backbone(nn.Module):
    """The grids of strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(Conv(3, 16, stride=2), Conv(16, 32, stride=2), Residual(32))
        self.small = nn.Sequential(Conv(32, 64, stride=2), Residual(64), Residual(64))
        self.middle = nn.Sequential(Conv(64, 96, stride=2), Residual(96), Residual(96))
        self.large = nn.Sequential(Conv(96, 112, stride=2), Residual(112))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        small = self.small(self.stem(x))
        middle = self.middle(small)
        return small, middle, self.large(middle)


class Neck(nn.Module):
    """A path down to the finest level and one up again, as in PAN."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.from_large = Conv(112, width, 1)
        self.from_middle = Conv(96 + width, width)
        self.small = Conv(64 + width, width)
        self.down_small = Conv(width, width, stride=2)
        self.middle = Conv(2 * width, width)
        self.down_middle = Conv(width, width, stride=2)
        self.large = Conv(2 * width, width)
        self.enlarge = nn.Upsample(scale_factor=2.0, mode="nearest")

    def forward(self, small: Tensor, middle: Tensor, large: Tensor) -> list[Tensor]:
        large = self.from_large(large)
        middle = self.from_middle(torch.cat([middle, self.enlarge(large)], 1))
        small = self.small(torch.cat([small, self.enlarge(middle)], 1))
        middle = self.middle(torch.cat([self.down_small(small), middle], 1))
        large = self.large(torch.cat([self.down_middle(middle), large], 1))
        return [small, middle, large]


class Head(nn.Module):
    """Distances to the sides of the box and class scores, per cell of one level."""

    def __init__(self, classes: int, width: int = 48) -> None:
        super().__init__()
        self.boxes = nn.Sequential(Conv(width, width), nn.Conv2d(width, 4, 1))
        self.classes = nn.Sequential(Conv(width, width), nn.Conv2d(width, classes, 1))
        nn.init.constant_(self.classes[1].bias, -4.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.boxes(x), self.classes(x)], 1).flatten(2)


class Yolo(nn.Module):
    """Images `b 3 h w` in [0, 1], h and w multiples of 32 → `b 4+classes boxes`.

    The first four rows are the centre and the size of each box in pixels; the others are
    probabilities, one per class. Boxes of the finest level come first.
    """

    def __init__(self, classes: int = len(NAMES)) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.neck = Neck()
        self.heads = nn.ModuleList(Head(classes) for _ in STRIDES)

    def raw(self, images: Tensor) -> Tensor:
        """Logarithms of the distances in strides, and logits: `b 4+classes boxes`."""
        levels = self.neck(*self.backbone(images))
        return torch.cat([head(x) for head, x in zip(self.heads, levels, strict=True)], 2)

    def forward(self, images: Tensor) -> Tensor:
        raw = self.raw(images)
        points, strides = anchors(images.shape[-2], images.shape[-1])
        sides = raw[:, :4].exp() * strides.to(raw)
        first, last = points.to(raw) - sides[:, :2], points.to(raw) + sides[:, 2:]
        return torch.cat([(first + last) / 2, last - first, raw[:, 4:].sigmoid()], 1)


def anchors(height: int, width: int) -> tuple[Tensor, Tensor]:
    """The centre of every cell, `2 boxes`, x first, and its stride, `boxes`."""
    points, strides = [], []
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        points.append((torch.stack([x, y]).flatten(1) + 0.5) * stride)
        strides.append(torch.full((rows * columns,), float(stride)))
    return torch.cat(points, 1), torch.cat(strides)


def trained() -> Yolo:
    """The network with the weights of `train.py`."""
    network = Yolo()
    state = safetensors.torch.load_file(WEIGHTS)
    network.load_state_dict({name: value.float() for name, value in state.items()}, strict=False)
    return network.eval()


def exported() -> Path:
    """The trained network as an ONNX file, with any batch size."""
    file = CACHE / "yolo.onnx"
    if not file.exists() or file.stat().st_mtime < WEIGHTS.stat().st_mtime:
        CACHE.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                trained(),
                (torch.zeros(1, 3, *SIZE),),
                str(file),
                dynamo=False,
                input_names=["images"],
                output_names=["output0"],
                dynamic_axes={"images": {0: "batch"}, "output0": {0: "batch"}},
            )
    return file
