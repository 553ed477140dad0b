"""Fashion-MNIST on canvases, and a small network that learns it in a minute: for every script here
that needs a training of its own.

The data are Debian's package `dataset-fashion-mnist` (MIT), installed with apt-get.
A garment stands somewhere on a canvas of 40 by 40 pixels among shreds of others, so that there is
something to explain: where the network looked.
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

SIDE, GARMENT, SHRED, SHREDS = 40, 28, 8, 5
"""Pixels along a canvas, a garment and a shred; shreds on a canvas."""

PREPROCESS = Preprocess(size=(SIDE, SIDE), fit="squash", mean=(0.25,), std=(0.3,))


class Net(nn.Sequential):
    """Three convolutions, 64 maps of 10 by 10 behind an `nn.ReLU`, their means, ten classes."""

    def __init__(self, classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.add_module("stem", _block(1, 16))
        self.add_module("middle", nn.Sequential(nn.MaxPool2d(2), _block(16, 32)))
        self.add_module("last", nn.Sequential(nn.MaxPool2d(2), _block(32, 64)))
        self.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        self.add_module("head", nn.Linear(64, classes))


LAYER = "last.1.2"
"""What is explained: the output of the last ReLU."""


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()
    )


@dataclass(frozen=True)
class Canvases:
    """Pictures, and what is on them.

    Args:
        pixels: `n SIDE SIDE` uint8.
        labels: `n` int64.
        corners: `n 2`: the row and column where each garment's own 28 by 28 pixels begin.
        garments: `n 28 28` uint8.
    """

    pixels: np.ndarray
    labels: np.ndarray
    corners: np.ndarray
    garments: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def box(self, number: int) -> tuple[int, int, int, int]:
        """x1 y1 x2 y2 around a garment's own pixels."""
        rows, columns = np.nonzero(self.garments[number] > 20)
        top, left = self.corners[number]
        return (
            int(left + columns.min()),
            int(top + rows.min()),
            int(left + columns.max() + 1),
            int(top + rows.max() + 1),
        )


def canvases(part: str, count: int, seed: int = 0) -> Canvases:
    """Garments of the "train" or "t10k" part, each somewhere among shreds of others."""
    random = np.random.default_rng([seed, part == "train"])
    everything = _read(f"{part}-images-idx3-ubyte.gz")
    labels = _read(f"{part}-labels-idx1-ubyte.gz")
    chosen = random.permutation(len(labels))[:count]
    corners = random.integers(0, SIDE - GARMENT + 1, (count, 2))
    pixels = np.zeros((count, SIDE, SIDE), np.uint8)
    for number, which in enumerate(chosen):
        for _ in range(SHREDS):
            other = everything[random.integers(len(everything))]
            y, x = random.integers(4, GARMENT - SHRED - 4, 2)
            top, left = random.integers(0, SIDE - SHRED + 1, 2)
            pixels[number, top : top + SHRED, left : left + SHRED] = (
                other[y : y + SHRED, x : x + SHRED] // 2
            )
        top, left = corners[number]
        place = pixels[number, top : top + GARMENT, left : left + GARMENT]
        garment = everything[which]
        place[:] = np.where(garment > 20, garment, place)
    return Canvases(pixels, labels[chosen].astype(np.int64), corners, everything[chosen])


def _read(name: str) -> np.ndarray:
    if not (DATA / name).exists():
        raise SystemExit(f"{DATA / name} is missing: apt-get install dataset-fashion-mnist")
    packed = gzip.decompress((DATA / name).read_bytes())
    axes = packed[3]
    shape = np.frombuffer(packed, ">u4", count=axes, offset=4)
    return np.frombuffer(packed, np.uint8, offset=4 + 4 * axes).reshape(shape)


def inputs(pixels: np.ndarray) -> Tensor:
    """Canvases as the network takes them: `n 1 SIDE SIDE`."""
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
    """A network after so many epochs, in evaluation mode.

    Args:
        after: called before the first epoch, with 0, and after each.
    """
    torch.manual_seed(seed)
    network, images = Net(int(labels.max()) + 1), inputs(pixels)
    wanted = torch.from_numpy(labels)
    steps = epochs * (len(labels) // 128)
    descent = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(descent, 6e-3, total_steps=max(steps, 1))
    if after is not None:
        after(0, network.eval())
    for epoch in range(1, epochs + 1):
        network.train()
        for batch in torch.randperm(len(labels))[: len(labels) // 128 * 128].split(128):
            descent.zero_grad()
            functional.cross_entropy(network(images[batch]), wanted[batch]).backward()
            descent.step()
            rate.step()
        network.eval()
        if after is not None:
            after(epoch, network)
    return network.eval()


@torch.inference_mode()
def predictions(network: nn.Module, pixels: np.ndarray) -> np.ndarray:
    """The predicted class of each canvas."""
    found = [network(batch).argmax(dim=1) for batch in inputs(pixels).split(500)]
    return torch.cat(found).numpy()


def write(what: Canvases, folder: Path) -> Path:
    """The canvases as PNG files, and the list of them with classes and boxes, whose path it is."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "list.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", "label", "x1", "y1", "x2", "y2"])
        for number, (pixels, label) in enumerate(zip(what.pixels, what.labels, strict=True)):
            Image.fromarray(pixels).save(folder / f"{number:05d}.png")
            table.writerow([f"{number:05d}.png", CLASSES[label], *what.box(number)])
    return folder / "list.csv"
