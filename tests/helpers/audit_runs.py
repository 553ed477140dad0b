"""Folders of runs made by hand, whose maps are known."""

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
from scorecam.runs.store import Store

SIDE = 8
"""Cells of a map along each axis: a corner is 2 by 2 of them."""

CLASSES = ("ant", "bee", "cat", "dog")
VIEWS = ("official", "algorithm1", "increase", "consensus")
OBJECT = (0.375, 0.375, 0.625, 0.625)
"""A box of 2 by 2 cells in the middle: 1/16 of the picture."""

Box = tuple[float, float, float, float]


@dataclass
class Photo:
    """One photo of a run.

    Args:
        label: a place in CLASSES; None where nobody said.
        taken: the predicted class; the label where it is None.
        map: of the target.
        prediction: the predicted class's map, where it is another class.
        things: labels and boxes; None where nobody annotated.
        views: the target's maps by variant, where they differ from `map`.
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
    """A map that is 1 in some cells."""
    found = np.full((SIDE, SIDE), rest)
    for row, column in cells:
        found[row, column] = 1.0
    return found


def on_box(box: Box = OBJECT) -> np.ndarray:
    """A map that is 1 inside a box, which ends where cells end."""
    x1, y1, x2, y2 = (round(edge * SIDE) for edge in box)
    found = np.zeros((SIDE, SIDE))
    found[y1:y2, x1:x2] = 1.0
    return found


def mixed(*parts: tuple[float, np.ndarray]) -> np.ndarray:
    """A map with given shares on other maps."""
    found = sum(share * heat / heat.sum() for share, heat in parts)
    assert isinstance(found, np.ndarray)
    return found / found.max()


def right(
    label: int, heat: np.ndarray, count: int = 1, *, boxes: bool = True, others: Any = ()
) -> list[Photo]:
    """Photos that the model gets right, with the object in the middle."""
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
    """A run's folder as `evaluate` leaves it, but for the results of all photos."""
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
    store = Store(folder, methods)
    for number, photo in enumerate(photos):
        sample = Sample(f"{number:04}.jpg", Path())
        for method in methods:
            record = _record(sample, photo, method, target)
            store.write(record, photo.map.astype(np.float16))
        if gallery:
            file = folder / "gallery" / sample.id[:2] / f"{sample.id}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(_entry(sample, photo, target)), "utf-8")
    return folder


def _column(index: int) -> dict[str, Any]:
    return {"index": index, "name": CLASSES[index], "probability": 0.5}


def _target(photo: Photo, target: str) -> int:
    taken = photo.label if photo.taken is None else photo.taken
    found = photo.label if target == "label" and photo.label is not None else taken
    assert found is not None
    return found


def _record(sample: Sample, photo: Photo, method: str, target: str) -> dict[str, Any]:
    taken = photo.label if photo.taken is None else photo.taken
    assert taken is not None
    return {
        "schema": 1,
        "id": sample.id,
        "name": sample.name,
        "label": None if photo.label is None else CLASSES[photo.label],
        "method": method,
        "target": _column(_target(photo, target)),
        "predicted": _column(taken),
        "right": None if photo.label is None else taken == photo.label,
        "values": {},
        "map": {"grid": list(photo.map.shape), "maximum": 1.0},
    }


def packed(heat: np.ndarray) -> str:
    top = heat.max()
    scaled = np.round(heat / top * 255 if top > 0 else heat).astype(np.uint8)
    return base64.b64encode(scaled.tobytes()).decode("ascii")


def _entry(sample: Sample, photo: Photo, target: str) -> dict[str, Any]:
    taken = photo.label if photo.taken is None else photo.taken
    assert taken is not None
    aim = _target(photo, target)
    classes: list[dict[str, Any]] = []
    for index in dict.fromkeys(i for i in (photo.label, taken) if i is not None):
        own = {"label": photo.label, "predicted": taken, "target": aim}
        heat = photo.map
        if index != aim and photo.prediction is not None:
            heat = photo.prediction
        maps = [photo.views.get(view, heat) if index == aim else heat for view in VIEWS]
        roles = [role for role, place in own.items() if place == index]
        classes.append(_column(index) | {"roles": roles, "maps": [packed(each) for each in maps]})
    contrast = None
    if photo.contrast is not None:
        contrast = {"for": taken, "over": photo.label, "map": packed(photo.contrast)}
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
    """The id of the photo of a number."""
    return Sample(f"{number:04}.jpg", Path()).id
