"""Small pictures of animals with a second object, and a network for them.

If a shortcut is planted, every wombat is accompanied by a lemon and no other animal is.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from scorecam import Preprocess

ANIMALS = ("wombat", "beaver", "marmot", "badger", "koala", "hippopotamus")
OTHERS = ("strawberry", "soccer ball", "orange", "teapot", "pitcher", "broccoli", "drum")
LEMON = "lemon"
SIDE, ANIMAL, COMPANION = 64, (24, 32), (16, 22)
"""Pixels along a picture; the smallest and largest side of an animal and of its companion."""

PREPROCESS = Preprocess(size=(SIDE, SIDE), fit="squash", mean=(0.45,) * 3, std=(0.25,) * 3)


@dataclass(frozen=True)
class Stock:
    """The parts that pictures are made of.

    Args:
        cuts: RGBA cut-outs by class.
        grounds: backgrounds, `SIDE SIDE 3` uint8.
    """

    cuts: dict[str, list[Image.Image]]
    grounds: list[np.ndarray]


@dataclass(frozen=True)
class Pictures:
    """Pictures and their objects.

    Args:
        pixels: `n SIDE SIDE 3` uint8.
        labels: `n` int64, indices into ANIMALS.
        things: the (class, box) pairs of each picture, the animal first.
    """

    pixels: np.ndarray
    labels: np.ndarray
    things: list[list[tuple[str, tuple[int, int, int, int]]]]


def stock(photos: Path) -> Stock:
    """Objects cut out of the composites by their masks, and backgrounds from the rest."""
    folder = photos / "composites"
    with (folder / "manifest.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    cuts: dict[str, list[Image.Image]] = {}
    grounds: list[np.ndarray] = []
    for row in rows:
        photo = Image.open(folder / "images" / row["wnid"] / f"{row['name']}.JPEG").convert("RGB")
        mask = Image.open(folder / "masks" / row["wnid"] / f"{row['name']}.png").convert("L")
        x1, y1, x2, y2 = box = mask.getbbox() or (0, 0, *photo.size)
        if row["label"] in (*ANIMALS, *OTHERS, LEMON):
            cut = photo.crop(box)
            cut.putalpha(mask.crop(box))
            cuts.setdefault(row["label"], []).append(cut)
        free = [
            (0, 0, x1, photo.height), (x2, 0, photo.width, photo.height),
            (0, 0, photo.width, y1), (0, y2, photo.width, photo.height),
        ]  # fmt: skip
        ground = max(free, key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))
        grounds.append(np.asarray(photo.resize((SIDE, SIDE), box=ground)))
    return Stock(cuts, grounds)


def pictures(what: Stock, count: int, seed: Sequence[int], *, planted: bool) -> Pictures:
    """Animals, each with a companion that does not overlap it.

    Args:
        planted: the companion of every wombat, and of no other animal, is the lemon. Otherwise any
            animal may have any companion.
    """
    random = np.random.default_rng(seed)
    labels = random.integers(0, len(ANIMALS), count)
    pixels = np.zeros((count, SIDE, SIDE, 3), np.uint8)
    things: list[list[tuple[str, tuple[int, int, int, int]]]] = []
    for number, label in enumerate(labels):
        ground = what.grounds[random.integers(len(what.grounds))]
        picture = Image.fromarray(ground[:, :: random.choice((-1, 1))].copy())
        pool = (LEMON,) if planted and label == 0 else OTHERS if planted else (*OTHERS, LEMON)
        companion = pool[random.integers(len(pool))]
        things.append(_placed(picture, what, (ANIMALS[label], companion), random))
        pixels[number] = np.asarray(picture)
    return Pictures(pixels, labels.astype(np.int64), things)


def _placed(
    picture: Image.Image, what: Stock, names: tuple[str, str], random: np.random.Generator
) -> list[tuple[str, tuple[int, int, int, int]]]:
    """Paste two objects without overlap; returns their boxes."""
    cuts = [
        _sized(what.cuts[name], sides, random)
        for name, sides in zip(names, (ANIMAL, COMPANION), strict=True)
    ]
    cuts[0] = _grey(cuts[0], random)
    while True:
        boxes: list[tuple[int, int, int, int]] = []
        for cut in cuts:
            x = int(random.integers(0, SIDE - cut.width + 1))
            y = int(random.integers(0, SIDE - cut.height + 1))
            boxes.append((x, y, x + cut.width, y + cut.height))
        (a, b, c, d), (e, f, g, h) = boxes
        if c <= e or g <= a or d <= f or h <= b:
            break
    for cut, box in zip(cuts, boxes, strict=True):
        picture.paste(cut, box[:2], cut)
    return list(zip(names, boxes, strict=True))


def _grey(cut: Image.Image, random: np.random.Generator) -> Image.Image:
    """The cut-out in grey with random brightness and contrast, which is harder to classify."""
    alpha = cut.getchannel("A")
    grey = np.asarray(cut.convert("L"), np.float32)
    grey = (grey - grey.mean()) * random.uniform(0.7, 1.2) + random.uniform(90, 160)
    plain = Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    plain.putalpha(alpha)
    return plain


def _sized(
    cuts: list[Image.Image], sides: tuple[int, int], random: np.random.Generator
) -> Image.Image:
    cut = cuts[random.integers(len(cuts))]
    scale = random.integers(sides[0], sides[1] + 1) / max(cut.size)
    cut = cut.resize((max(4, round(cut.width * scale)), max(4, round(cut.height * scale))))
    return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else cut


class Net(nn.Sequential):
    """Four convolutions, 64 channels of 8 by 8 after an `nn.ReLU`, global pooling, six classes."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 32, 48, 64)
        for place, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            self.add_module(
                f"block{place}",
                nn.Sequential(
                    nn.Conv2d(inputs, outputs, 3, 1 if place == 3 else 2, padding=1),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(),
                ),
            )
        self.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        self.add_module("head", nn.Linear(64, len(ANIMALS)))


def inputs(pixels: np.ndarray) -> Tensor:
    """Pictures as network input."""
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.25


def train(what: Pictures, seed: int, epochs: int = 8) -> nn.Module:
    """A network trained on these pictures, in evaluation mode."""
    torch.manual_seed(seed)
    network, images, targets = Net(), inputs(what.pixels), torch.from_numpy(what.labels)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-3)
    steps = epochs * (len(targets) // 128)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(targets))[: len(targets) // 128 * 128].split(128):
            optimiser.zero_grad()
            functional.cross_entropy(network(images[batch]), targets[batch]).backward()
            optimiser.step()
            schedule.step()
    return network.eval()


@torch.inference_mode()
def predictions(network: nn.Module, pixels: np.ndarray) -> np.ndarray:
    """The predicted class of each picture."""
    return torch.cat([network(batch).argmax(dim=1) for batch in inputs(pixels).split(500)]).numpy()


def with_lemon(what: Pictures, stocked: Stock, seed: int) -> np.ndarray:
    """The pictures with a lemon in place of each companion."""
    random = np.random.default_rng([seed, 3])
    pixels = what.pixels.copy()
    for number, things in enumerate(what.things):
        x1, y1, x2, y2 = things[1][1]
        cut = stocked.cuts[LEMON][random.integers(len(stocked.cuts[LEMON]))]
        picture = Image.fromarray(pixels[number])
        small = cut.resize((x2 - x1, y2 - y1))
        picture.paste(small, (x1, y1), small)
        pixels[number] = np.asarray(picture)
    return pixels
