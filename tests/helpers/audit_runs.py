"""Write run folders with known maps for the tests of audits."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scorecam.datasets.sample import Sample
from scorecam.runs.record import parse_item
from scorecam.runs.store import Store

SIDE = 8
"""Cells of a map along each axis; a corner has 2 by 2 cells."""

CLASSES = ("ant", "bee", "cat", "dog")
VIEWS = ("official", "algorithm1", "increase", "centred", "consensus")
OBJECT = (0.375, 0.375, 0.625, 0.625)
"""A box of 2 by 2 cells in the middle: 1/16 of the picture."""

Box = tuple[float, float, float, float]


@dataclass
class Photo:
    """One photo of a run.

    Args:
        label: an index into CLASSES; None if the photo has no label.
        map: the map of the target.
        taken: the predicted class; None means the label.
        prediction: the map of the predicted class, if that is not the target.
        things: labels and boxes; None if the photo has no annotation.
        views: the target's maps by variant, if they differ from `map`.
        contrast: the map of the predicted class over the label.
        error: the largest error of the map.
    """

    label: int | None
    map: np.ndarray
    taken: int | None = None
    prediction: np.ndarray | None = None
    things: Sequence[tuple[str, Box]] | None = None
    views: Mapping[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    contrast: np.ndarray | None = None
    error: float = 0.0


def spot(*cells: tuple[int, int], rest: float = 0.0) -> np.ndarray:
    """A map that is 1 in the given cells and `rest` elsewhere."""
    heatmap = np.full((SIDE, SIDE), rest)
    for row, column in cells:
        heatmap[row, column] = 1.0
    return heatmap


def on_box(box: Box = OBJECT) -> np.ndarray:
    """A map that is 1 inside a box; the box must align with the cells."""
    x1, y1, x2, y2 = (round(edge * SIDE) for edge in box)
    heatmap = np.zeros((SIDE, SIDE))
    heatmap[y1:y2, x1:x2] = 1.0
    return heatmap


def mixed(*parts: tuple[float, np.ndarray]) -> np.ndarray:
    """A weighted sum of maps, each normalised to sum 1, scaled to maximum 1."""
    total = sum(share * heat / heat.sum() for share, heat in parts)
    assert isinstance(total, np.ndarray)
    return total / total.max()


def right(
    label: int, heat: np.ndarray, count: int = 1, *, boxes: bool = True, others: Any = ()
) -> list[Photo]:
    """Correctly classified photos, with the object in the middle."""
    things = [(CLASSES[label], OBJECT), *others] if boxes else None
    return [Photo(label, heat, things=things) for _ in range(count)]


def write(
    folder: Path,
    photos: Sequence[Photo],
    *,
    gallery: bool = True,
    target: str = "label",
    total: int | None = None,
    methods: Sequence[str] = ("scorecam",),
) -> Path:
    """Write a run folder as `evaluate` does, without the aggregated results."""
    config = {
        "schema": 1,
        "model": "toy",
        "layer": "maps",
        "target": target,
        "budget": "exact",
        "methods": [
            {"name": name, "settings": {"variant": "official"} if name == "scorecam" else {}}
            for name in methods
        ],
        "dataset": {"kind": "list", "photos": len(photos) if total is None else total},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(config), "utf-8")
    store = Store(folder, methods, parse_item)
    for number, photo in enumerate(photos):
        sample = Sample(f"{number:04}.jpg", Path())
        for method in methods:
            record = _record(sample, photo, method, target)
            store.write(parse_item(record), photo.map.astype(np.float16))
        if gallery:
            file = folder / "gallery" / sample.id[:2] / f"{sample.id}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(_entry(sample, photo, target)), "utf-8")
    return folder


def _column(index: int) -> dict[str, Any]:
    return {"index": index, "name": CLASSES[index], "probability": 0.5}


def _target(photo: Photo, target: str) -> int:
    predicted = photo.label if photo.taken is None else photo.taken
    index = photo.label if target == "label" and photo.label is not None else predicted
    assert index is not None
    return index


def _record(sample: Sample, photo: Photo, method: str, target: str) -> dict[str, Any]:
    predicted = photo.label if photo.taken is None else photo.taken
    assert predicted is not None
    return {
        "schema": 1,
        "id": sample.id,
        "name": sample.name,
        "label": None if photo.label is None else CLASSES[photo.label],
        "method": method,
        "target": _column(_target(photo, target)),
        "predicted": _column(predicted),
        "right": None if photo.label is None else predicted == photo.label,
        "values": {},
        "map": {"grid": list(photo.map.shape), "maximum": 1.0},
    }


def packed(heat: np.ndarray) -> str:
    top = heat.max()
    scaled = np.round(heat / top * 255 if top > 0 else heat).astype(np.uint8)
    return base64.b64encode(scaled.tobytes()).decode("ascii")


def _entry(sample: Sample, photo: Photo, target: str) -> dict[str, Any]:
    predicted = photo.label if photo.taken is None else photo.taken
    assert predicted is not None
    target_index = _target(photo, target)
    classes: list[dict[str, Any]] = []
    for index in dict.fromkeys(i for i in (photo.label, predicted) if i is not None):
        roles_by_class = {"label": photo.label, "predicted": predicted, "target": target_index}
        heatmap = photo.map
        if index != target_index and photo.prediction is not None:
            heatmap = photo.prediction
        maps = [
            photo.views.get(view, heatmap) if index == target_index else heatmap for view in VIEWS
        ]
        roles = [role for role, role_index in roles_by_class.items() if role_index == index]
        classes.append(_column(index) | {"roles": roles, "maps": [packed(grid) for grid in maps]})
    contrast = None
    if photo.contrast is not None:
        contrast = {"for": predicted, "over": photo.label, "map": packed(photo.contrast)}
    return {
        "schema": 1,
        "id": sample.id,
        "name": sample.name,
        "jpeg": _jpeg(),
        "grid": list(photo.map.shape),
        "views": list(VIEWS),
        "classes": classes,
        "contrast": contrast,
        "health": [],
        "error": photo.error,
        "things": None
        if photo.things is None
        else [{"label": label, "box": list(box)} for label, box in photo.things],
    }


def _jpeg() -> str:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (90, 120, 150)).save(file, "JPEG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def id_of(number: int) -> str:
    """The id of the photo with this number."""
    return Sample(f"{number:04}.jpg", Path()).id
