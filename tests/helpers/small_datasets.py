"""Write small data sets in every supported format."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from PIL import Image

from scorecam.datasets.opening import open_dataset
from scorecam.datasets.sample import Dataset, Sample, Thing

TENCH, GOLDFISH, SNAKE = "n01440764", "n01443537", "n01751748"


def photo(path: Path, width: int = 40, height: int = 30, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (width, height), "grey").save(path, **options)
    return path


def xml(path: Path, *objects: tuple[Any, ...], size: tuple[int, int] | None = (40, 30)) -> Path:
    """A VOC annotation; objects are (name, xmin, ymin, xmax, ymax[, difficult])."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "<annotation>"
    if size:
        text += f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    for name, x1, y1, x2, y2, *difficult in objects:
        text += f"<object><name>{name}</name><difficult>{int(bool(difficult))}</difficult><bndbox>"
        text += f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        text += "</bndbox><part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
    path.write_text(f"{text}</annotation>")
    return path


def only(dataset: Dataset) -> Sample:
    (sample,) = dataset.samples
    return sample


def boxed(folder: Path, *objects: tuple[Any, ...], **options: Any) -> Dataset:
    """A data set of one photo of a tench, 40 × 30 pixels, with these boxes."""
    photo(folder / TENCH / "a.png")
    xml(folder / "Annotations" / TENCH / "a.xml", *objects, **options)
    return open_dataset(folder)


def flat(folder: Path, count: int = 3) -> list[str]:
    names = [f"ILSVRC2012_val_{i:08}.JPEG" for i in range(1, count + 1)]
    for name in names:
        photo(folder / "val" / name)
    return names


def instances(**changes: Any) -> dict[str, Any]:
    square = [10, 5, 20, 5, 20, 15, 10, 15]
    runs = {"size": [30, 40], "counts": [0, 60, 30 * 40 - 60]}  # the first two columns
    things = [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [10, 5, 10, 10], "area": 100},
        {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 2.5, 30], "area": 60},
        {"id": 3, "image_id": 7, "category_id": 2, "bbox": [0, 0, 40, 30], "iscrowd": 1},
        {"id": 4, "image_id": 7, "category_id": 2, "bbox": [30, 20, 3, 3], "area": 9},
    ]
    things[0]["segmentation"], things[1]["segmentation"] = [square], runs
    image = {"id": 7, "file_name": "a.jpg", "width": 40, "height": 30}
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    return {"images": [image], "annotations": things, "categories": categories} | changes


def coco(folder: Path, content: object) -> Path:
    photo(folder / "val2017/a.jpg")
    (folder / "annotations").mkdir(exist_ok=True)
    path = folder / "annotations/instances_val2017.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def table(path: Path, *rows: dict[str, Any]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def made(count: int, things: tuple[Thing, ...] | None = None) -> Dataset:
    names = [f"{i:03}.png" for i in range(count)]
    samples = [Sample(name, Path("/nowhere", name), "cat", things) for name in names]
    return Dataset(Path("/nowhere"), "folder", tuple(samples), ("cat",))
