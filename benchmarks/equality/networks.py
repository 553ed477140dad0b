"""Small networks with fixed weights, and photos made from the bundled one, for the cases."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

SIDE = 64
"""Pixels along one side of the photos that the small networks see."""

PREPROCESS = '{"size": [64, 64], "fit": "squash", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}'
COLOURS = ("red", "green", "blue")
PER_COLOUR = 8
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class Small(nn.Module):
    """Two convolutions and a linear layer, for 1 to 3 image axes."""

    def __init__(self, axes: int, columns: int, end: nn.Module | None = None) -> None:
        super().__init__()
        conv = CONVOLUTIONS[axes]
        self.first = conv(3, 8, 3, stride=2, padding=1)
        self.second = conv(8, 16, 3, stride=2, padding=1)
        self.inner, self.relu = nn.ReLU(), nn.ReLU()
        self.classes = nn.Linear(16, columns)
        self.end = nn.Identity() if end is None else end

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.second(self.inner(self.first(images))))
        return self.end(8 * self.classes(maps.flatten(2).mean(dim=2)))


class TwoInputs(nn.Module):
    """A network of an image and a row of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.image = Small(2, 6)
        self.numbers = nn.Linear(4, 6)

    def forward(self, image: Tensor, numbers: Tensor) -> Tensor:
        return self.image(image) + self.numbers(numbers)


class Record(nn.Module):
    """A network that answers with a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Small(2, 6)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        answer = self.inner(images)
        return {"coarse": answer[:, :2], "fine": answer}


class ByColour(nn.Module):
    """Tells red, green and blue photos apart by their strongest pixels, wherever those are."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 6, 1)
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d(8)
        self.classes = nn.Linear(6, 3)
        strong = torch.tensor([[2.0, -1, -1], [-1, 2, -1], [-1, -1, 2]])
        with torch.no_grad():
            self.maps.weight.copy_(torch.cat([strong, 0.1 * strong.flip(0)])[..., None, None])
            self.maps.bias.fill_(-0.5)
            self.classes.weight.copy_(8 * torch.cat([torch.eye(3), torch.zeros(3, 3)], dim=1))
            self.classes.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.pool(self.relu(self.maps(images))).flatten(2).amax(dim=2))


def seeded(kind: type[nn.Module], *settings: Any, seed: int = 0) -> nn.Module:
    """A network whose weights depend on the seed alone, ready for use."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(*settings).eval()


def images(*shape: int, seed: int = 1) -> Tensor:
    """Random images that depend on the seed alone."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small() -> nn.Module:
    """For `--model networks:small`."""
    return seeded(Small, 2, 5)


def by_colour() -> nn.Module:
    """For `--model networks:by_colour`."""
    return seeded(ByColour)


def make_photos(chelsea: Path, folder: Path) -> None:
    """Write what the cases read: photos, photos with labels, photos with boxes, their settings."""
    folder.mkdir(parents=True)
    with Image.open(chelsea) as opened:
        cat = opened.convert("RGB")
    width, height = cat.size
    (folder / "chelsea.jpg").write_bytes(chelsea.read_bytes())
    cat.crop((0, 0, width // 2, height)).save(folder / "left.png")
    for label, photo in (
        ("tiger cat", cat),
        ("Egyptian cat", cat.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        ("tabby", cat.rotate(90, expand=True)),
        ("space shuttle", cat.crop((width // 3, 0, width, height // 2))),
    ):
        (folder / "cats" / label).mkdir(parents=True)
        photo.save(folder / "cats" / label / "cat.png")
    (folder / "preprocess.json").write_text(PREPROCESS, "utf-8")
    (folder / "labels.txt").write_text("\n".join(COLOURS) + "\n", "utf-8")
    (folder / "broken.jpg").write_bytes(chelsea.read_bytes()[:2000])
    _make_colours(folder / "colours")


def _make_colours(folder: Path) -> None:
    """Photos of a coloured square; red ones are recognised by a mark in the corner instead."""
    folder.mkdir()
    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for index, label in enumerate(COLOURS):
        for number in range(PER_COLOUR):
            pixels = random.integers(60, 120, (SIDE, SIDE, 3), dtype=np.uint8)
            x, y = random.integers(20, SIDE - 20, 2)
            pixels[y : y + 14, x : x + 14] = 150
            where = np.s_[:10, :10] if label == "red" else np.s_[y : y + 14, x : x + 14]
            pixels[where] = 40
            pixels[(*where, (index + (number == PER_COLOUR - 1)) % 3)] = 250
            name = f"{label}-{number}.png"
            Image.fromarray(pixels).save(folder / name)
            box = {"x1": x, "y1": y, "x2": x + 14, "y2": y + 14}
            rows.append({"path": name, "label": label, **box})
    with (folder / "list.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
