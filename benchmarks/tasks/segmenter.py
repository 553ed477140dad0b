"""A small U-Net, and rendered scenes in which one class depends on its surroundings.

A disk is "ripe" if a blue flag is anywhere in the picture, and "plain" otherwise. A square is
always "square", and a red flag means nothing. So the class of a disk has a cause elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = 48, 64
NAMES = ["background", "square", "plain", "ripe"]
SQUARE, PLAIN, RIPE = 1, 2, 3

Shape = Callable[[Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class Scene:
    """A picture with its classes, and where the disk and the blue flag are.

    Args:
        image: `3 h w`, normalised.
        classes: `h w`.
        disk, flag: `h w` bool; the flag is empty for a plain disk.
    """

    image: Tensor
    classes: Tensor
    disk: Tensor
    flag: Tensor


class Painter:
    """Paints one scene.

    Args:
        generator: of all that is random.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        rows, columns = (torch.arange(n, dtype=torch.float32) for n in SIZE)
        self.y, self.x = torch.meshgrid(rows, columns, indexing="ij")
        self.taken = torch.zeros(SIZE, dtype=torch.bool)
        coarse = 0.4 + 0.15 * self.noise(SIZE[0] // 4, SIZE[1] // 4)
        self.image = functional.interpolate(coarse[None], SIZE, mode="bilinear")[0]
        self.image += 0.03 * self.noise(*SIZE)

    def noise(self, *size: int) -> Tensor:
        return torch.randn(3, *size, generator=self.generator)

    def number(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def paint(self, shape: Shape, colour: tuple[float, float, float]) -> Tensor:
        """A shape where nothing is yet, and its pixels."""
        tint = torch.tensor(colour)[:, None, None] + 0.03 * self.noise(*SIZE)
        for _ in range(50):
            y, x = (self.number(9, n - 9) for n in SIZE)
            side = self.number(5, 8)
            near = ((self.y - y).abs() < side + 2) & ((self.x - x).abs() < side + 2)
            if not (self.taken & near).any():
                self.taken |= near
                pixels = shape(self.y - y, self.x - x, side)
                self.image = torch.where(pixels, tint, self.image)
                return pixels
        return torch.zeros(SIZE, dtype=torch.bool)


def scene(generator: torch.Generator, *, ripe: bool | None = None) -> Scene:
    """A random scene.

    Args:
        ripe: whether the disk is ripe; None for half of the scenes.
    """
    painter = Painter(generator)
    ripe = painter.number(0, 1) < 0.5 if ripe is None else ripe
    disk = painter.paint(lambda y, x, side: y**2 + x**2 < side**2, (0.9, 0.5, 0.1))
    classes = torch.where(disk, RIPE if ripe else PLAIN, 0)
    if painter.number(0, 1) < 0.7:
        square = painter.paint(_square, (0.2, 0.7, 0.3))
        classes[square] = SQUARE
    nowhere = torch.zeros(SIZE, dtype=torch.bool)
    flag = painter.paint(_flag, (0.2, 0.3, 0.95)) if ripe else nowhere
    if painter.number(0, 1) < 0.5:
        painter.paint(_flag, (0.9, 0.2, 0.2))
    return Scene((painter.image - 0.45) / 0.25, classes, disk, flag)


def _square(y: Tensor, x: Tensor, side: float) -> Tensor:
    return (y.abs() < 0.8 * side) & (x.abs() < 0.8 * side)


def _flag(y: Tensor, x: Tensor, _: float) -> Tensor:
    return (y.abs() < 4.8) & (x.abs() < 0.6 * (y + 6))


# ── the network ──────────────────────────────────────────────────────────────────────────────────


def _two(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = []
    for each, step in ((inputs, stride), (outputs, 1)):
        convolution = nn.Conv2d(each, outputs, 3, step, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Four levels with ways around, and the maximum over the picture at the bottom.

    Args:
        stride: of the last level: the grid at the bottom has 6 × 8 cells with 2, 12 × 16 with 1.
    """

    LAYERS = ("e1", "e2", "e3", "e4", "mid", "d3", "d2", "d1")

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.e1, self.e2, self.e3 = _two(3, 16), _two(16, 32, 2), _two(32, 48, 2)
        self.e4, self.around, self.mid = _two(48, 64, stride), nn.Linear(64, 64), _two(64, 64)
        self.d3, self.d2, self.d1 = _two(64 + 48, 48), _two(48 + 32, 32), _two(32 + 16, 16)
        self.head = nn.Conv2d(16, len(NAMES), 1)

    def forward(self, images: Tensor) -> Tensor:
        first = self.e1(images)
        second = self.e2(first)
        third = self.e3(second)
        deep = self.e4(third)
        deep = self.mid(deep + self.around(deep.amax((2, 3)))[:, :, None, None])
        up = self.d3(torch.cat([_larger(deep, self.stride), third], 1))
        up = self.d2(torch.cat([_larger(up, 2), second], 1))
        return self.head(self.d1(torch.cat([_larger(up, 2), first], 1)))


def _larger(maps: Tensor, factor: int) -> Tensor:
    return functional.interpolate(maps, scale_factor=factor, mode="bilinear")


def trained(stride: int, path: Path, steps: int = 600) -> UNet:
    """The network with its weights in a file; without the file, it is trained first."""
    torch.manual_seed(0)
    net = UNet(stride)
    if path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
        return net.eval()
    generator = torch.Generator().manual_seed(1)
    scenes = [scene(generator) for _ in range(1500)]
    images = torch.stack([each.image for each in scenes])
    classes = torch.stack([each.classes for each in scenes])
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
    for _ in range(steps):
        some = torch.randint(0, len(images), (16,))
        weights = torch.tensor([0.1, 0.5, 1, 1])
        loss = functional.cross_entropy(net(images[some]), classes[some], weight=weights)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    torch.save(net.state_dict(), path)
    return net.eval()
