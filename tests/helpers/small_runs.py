"""A small network, a few photos, and runs over them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

import scorecam
from scorecam import Model, Preprocess
from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset, Sample, Thing
from scorecam.runs.summary import Summary
from scorecam.testing import Regions

NAMES = ["red", "green", "blue"]

SIDE = 8


def photos(folder: Path, count: int, side: int = SIDE) -> Path:
    """Photos of coloured noise in class folders; the colour of the class is the strongest."""
    random = np.random.default_rng(count)
    for number in range(count):
        label = number % 3
        pixels = random.integers(0, 120, (side, side, 3), dtype=np.uint8)
        pixels[: side // 2, : side // 2, label] += 120
        place = folder / NAMES[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{number:03}.png")
    return folder


def preprocess(side: int = SIDE) -> Preprocess:
    return Preprocess(
        size=(side, side),
        fit="squash",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="nearest",
    )


def network() -> Regions:
    """A network that distinguishes three colours."""
    return Regions(0.1 * torch.eye(3))


def opened(module: nn.Module | None = None) -> Model:
    return scorecam.open_model(module or network(), preprocess=preprocess(), labels=NAMES)


def run(
    dataset: Dataset | Path, out: Path, methods: str = "scorecam,random", **others: Any
) -> Summary:
    settings = {"metrics": "quick", "runtime": "eager"} | others
    model = settings.pop("model", None) or opened()
    return scorecam.evaluate(model, dataset, methods, out=out, **settings)


def records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text("utf-8")) for path in sorted(out.glob("items/**/*.json"))]


def with_truth(folder: Path) -> Dataset:
    """A data set of the same photos with annotations; the object is the bright corner."""
    dataset = open_dataset(folder)

    def mask(quarter: int = SIDE // 2) -> np.ndarray:
        pixels = np.zeros((SIDE, SIDE), bool)
        pixels[:quarter, :quarter] = True
        return pixels

    samples = tuple(
        Sample(
            sample.name,
            sample.path,
            sample.label,
            (Thing(sample.label, (0.0, 0.0, SIDE / 2, SIDE / 2)),),
            mask,
        )
        for sample in dataset.samples
    )
    return Dataset(dataset.root, dataset.kind, samples, dataset.classes)
