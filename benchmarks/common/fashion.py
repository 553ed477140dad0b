"""Fashion-MNIST on canvases, and a small network that learns it in a minute.

The data come from Debian's package `dataset-fashion-mnist` (MIT), installed with apt-get. A canvas
of 40 by 40 pixels shows one garment at a random place, among pieces of other garments. A map can
therefore be right or wrong about where the network looked.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from scorecam import Preprocess

DATA = Path("/usr/share/datasets/fashion-mnist")
CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag")
CLASSES += ("ankle boot",)

SIDE, GARMENT, PIECE, PIECES = 40, 28, 8, 5
"""Pixels along a canvas, a garment and a piece of another one; pieces on a canvas."""

PREPROCESS = Preprocess(size=(SIDE, SIDE), fit="squash", mean=(0.25,), std=(0.3,))


class Net(nn.Sequential):
    """Three convolutions, 64 channels of 10 by 10 after an `nn.ReLU`, pooling, ten classes."""

    def __init__(self, classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.add_module("stem", _block(1, 16))
        self.add_module("middle", nn.Sequential(nn.MaxPool2d(2), _block(16, 32)))
        self.add_module("last", nn.Sequential(nn.MaxPool2d(2), _block(32, 64)))
        self.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        self.add_module("head", nn.Linear(64, classes))


LAYER = "last.1.2"
"""The layer to explain: the output of the last ReLU."""


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()
    )


@dataclass(frozen=True)
class Canvases:
    """Images of garments, with their classes and positions.

    Args:
        pixels: `n SIDE SIDE` uint8.
        labels: `n` int64.
        corners: `n 2`, the row and column of each garment's top left pixel.
        garments: `n 28 28` uint8.
    """

    pixels: np.ndarray
    labels: np.ndarray
    corners: np.ndarray
    garments: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def box(self, number: int) -> tuple[int, int, int, int]:
        """The box around a garment's own pixels: x1 y1 x2 y2."""
        rows, columns = np.nonzero(self.garments[number] > 20)
        top, left = self.corners[number]
        return (
            int(left + columns.min()),
            int(top + rows.min()),
            int(left + columns.max() + 1),
            int(top + rows.max() + 1),
        )


def canvases(part: str, count: int, seed: int = 0) -> Canvases:
    """Canvases with garments of the "train" or "t10k" part."""
    random = np.random.default_rng([seed, part == "train"])
    everything = _read(f"{part}-images-idx3-ubyte.gz")
    labels = _read(f"{part}-labels-idx1-ubyte.gz")
    chosen = random.permutation(len(labels))[:count]
    corners = random.integers(0, SIDE - GARMENT + 1, (count, 2))
    pixels = np.zeros((count, SIDE, SIDE), np.uint8)
    for number, which in enumerate(chosen):
        for _ in range(PIECES):
            other = everything[random.integers(len(everything))]
            y, x = random.integers(4, GARMENT - PIECE - 4, 2)
            top, left = random.integers(0, SIDE - PIECE + 1, 2)
            pixels[number, top : top + PIECE, left : left + PIECE] = (
                other[y : y + PIECE, x : x + PIECE] // 2
            )
        top, left = corners[number]
        place = pixels[number, top : top + GARMENT, left : left + GARMENT]
        garment = everything[which]
        place[:] = np.where(garment > 20, garment, place)
    return Canvases(pixels, labels[chosen].astype(np.int64), corners, everything[chosen])


def _read(name: str) -> np.ndarray:
    if not (DATA / name).exists():
        raise SystemExit(f"There is no {DATA / name}. Run `apt-get install dataset-fashion-mnist`.")
    packed = gzip.decompress((DATA / name).read_bytes())
    axes = packed[3]
    shape = np.frombuffer(packed, ">u4", count=axes, offset=4)
    return np.frombuffer(packed, np.uint8, offset=4 + 4 * axes).reshape(shape)


def inputs(pixels: np.ndarray) -> Tensor:
    """Canvases as network input: `n 1 SIDE SIDE`."""
    scaled = torch.from_numpy(pixels).float()[:, None] / 255
    return (scaled - PREPROCESS.mean[0]) / PREPROCESS.std[0]


def train(
    pixels: np.ndarray,
    labels: np.ndarray,
    *,
    epochs: int = 5,
    seed: int = 0,
    after: Callable[[int, nn.Module], None] | None = None,
) -> nn.Module:
    """A network trained for this many epochs, in evaluation mode.

    Args:
        after: called with 0 before the first epoch, and with its number after each epoch.
    """
    torch.manual_seed(seed)
    network, images = Net(int(labels.max()) + 1), inputs(pixels)
    targets = torch.from_numpy(labels)
    steps = epochs * (len(labels) // 128)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=max(steps, 1))
    if after is not None:
        after(0, network.eval())
    for epoch in range(1, epochs + 1):
        network.train()
        for batch in torch.randperm(len(labels))[: len(labels) // 128 * 128].split(128):
            optimiser.zero_grad()
            functional.cross_entropy(network(images[batch]), targets[batch]).backward()
            optimiser.step()
            schedule.step()
        network.eval()
        if after is not None:
            after(epoch, network)
    return network.eval()


@torch.inference_mode()
def predictions(network: nn.Module, pixels: np.ndarray) -> np.ndarray:
    """The predicted class of each canvas."""
    classes = [network(batch).argmax(dim=1) for batch in inputs(pixels).split(500)]
    return torch.cat(classes).numpy()


def write(some: Canvases, folder: Path) -> Path:
    """Write the canvases as PNG files with a list of classes and boxes; returns the list's path."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "list.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "label", "x1", "y1", "x2", "y2"])
        for number, (pixels, label) in enumerate(zip(some.pixels, some.labels, strict=True)):
            Image.fromarray(pixels).save(folder / f"{number:05d}.png")
            table.writerow([f"{number:05d}.png", CLASSES[label], *some.box(number)])
    return folder / "list.csv"
