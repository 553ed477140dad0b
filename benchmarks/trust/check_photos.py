"""The photographs that the trust check is measured on."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

import scorecam
from scorecam.images.photo import read_photo

Item = tuple[str, Tensor, int | None]
"""The photo's name, the input, and its class if only correct predictions count."""

Photo = tuple[Path, int]


def composites(root: Path, classes: Sequence[str]) -> list[Photo]:
    """All composites with their classes, in a fixed random order."""
    places = {path.stem: path for path in (root / "composites/images").rglob("*.*")}
    with (root / "composites/manifest.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["name"] in places]
    random.Random(0).shuffle(rows)  # noqa: S311
    return [(places[row["name"]], classes.index(row["wnid"])) for row in rows]


def natural(root: Path, classes: Sequence[str]) -> list[Photo]:
    """The natural photographs, with their classes."""
    return [
        (path, classes.index(path.parent.name))
        for path in sorted((root / "natural/images").rglob("*.*"))
    ]


def wnids() -> list[str]:
    """ImageNet's classes as WordNet numbers, in the order of columns."""
    return (Path(scorecam.__file__).parent / "data/imagenet_wnids.txt").read_text().split()


def inputs(model: scorecam.Model, photos: Sequence[Photo], *, right: bool = False) -> list[Item]:
    """Photos as inputs of the model. `right`: only correct predictions count."""
    assert model.preprocess is not None
    return [
        (path.stem, model.preprocess(read_photo(path)), label if right else None)
        for path, label in photos
    ]


def stacked(items: Sequence[Item]) -> Tensor:
    """The inputs as one batch."""
    return torch.stack([image for _, image, _ in items])
