"""Photos of bright cells with their boxes as a COCO data set, and detectors that find the cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from detectors import CELL, COLOURS, FORMS, Spots, picture

SIZE = 64, 96
"""(height, width) of the photos and of the input."""

MODEL = ("--model", "spot_photos:spots", "--preprocess", "spots.json", "--labels", "colours.txt")
TASK = (*MODEL, "--task", "detect")

Cell = tuple[int, int]

PHOTOS: dict[str, dict[Cell, tuple[int, float]]] = {
    "a.png": {(1, 2): (0, 0.9), (6, 9): (1, 0.6)},
    "b.png": {(5, 3): (0, 0.8), (2, 8): (2, 0.7)},
    "c.png": {(2, 2): (1, 0.9), (6, 6): (1, 0.5)},
    "d.png": {(3, 9): (2, 0.8)},
}
"""The bright cells (row, column) of each photo, with their colour and brightness."""

ANNOTATED: dict[str, list[tuple[Cell, int]]] = {
    "a.png": [((6, 9), 1)],
    "b.png": [((5, 3), 0)],
    "c.png": [((6, 6), 1)],
    "d.png": [((0, 0), 2)],
}
"""The annotated cell of each photo, with its class. That of d.png is dark: there is no object."""


def spots() -> Spots:
    """Finds every bright cell."""
    return Spots(FORMS["yolo"]).eval()


def duller() -> Spots:
    """The same, with rounded weights."""
    network = spots()
    with torch.no_grad():
        network.head.weight.mul_(0.95)
    return network


def blind_to_green() -> Spots:
    """The same, but it gives green cells a low score."""
    network = spots()
    with torch.no_grad():
        network.head.weight[1].mul_(0.1)
    return network


def box_of(cell: Cell) -> tuple[float, float, float, float]:
    """x1 y1 x2 y2 in pixels."""
    row, column = cell
    left, top = float(column * CELL), float(row * CELL)
    return left, top, left + CELL, top + CELL


def furnish(folder: Path) -> Path:
    """Write the photos, their annotations, the preprocessing and the class names."""
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for name, cells in PHOTOS.items():
        pixels = (picture(cells, SIZE) * 255).round().byte().permute(1, 2, 0)
        Image.fromarray(pixels.numpy()).save(photos / name)
    (photos / "annotations").mkdir(exist_ok=True)
    (photos / "annotations" / "instances_val.json").write_text(json.dumps(_instances()), "utf-8")
    unchanged = {"size": [*SIZE], "fit": "squash", "interpolation": "nearest"}
    scale = {"mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
    (folder / "spots.json").write_text(json.dumps(unchanged | scale), "utf-8")
    (folder / "colours.txt").write_text("\n".join(COLOURS) + "\n", "utf-8")
    return photos


def _instances() -> dict[str, Any]:
    height, width = SIZE
    images = [
        {"id": number, "file_name": name, "width": width, "height": height}
        for number, name in enumerate(PHOTOS)
    ]
    objects = [
        {
            "image_id": number,
            "category_id": colour,
            "bbox": [*box_of(cell)[:2], CELL, CELL],
            "area": CELL**2,
        }
        for number, name in enumerate(PHOTOS)
        for cell, colour in ANNOTATED[name]
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(COLOURS)]
    return {"images": images, "annotations": objects, "categories": categories}
