"""Records, maps and entries of the gallery as checked values: files may have been edited."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scorecam.audit.geometry import Box, Map
from scorecam.audit.item import Annotation, ClassMaps, GalleryEntry, Item, ModelClass
from scorecam.base.wording import shown
from scorecam.io.fields import between, is_key, is_list, is_table, is_text, is_whole
from scorecam.runs.config import SCHEMA
from scorecam.runs.record import MANY, Unreadable, check_column, read_scaled

MOST = 100
"""PhotosByClass and views in an entry of the gallery: a run writes five and four."""


def item_of(record: Mapping[str, Any], *, explains_label: bool) -> Item:
    """A record that was checked, without its map.

    Args:
        explains_label: whether the run explains the label where there is one.

    Raises:
        Unreadable: what it says cannot be true.
    """
    label, right = record["label"], record["right"]
    target, predicted = _column(record["target"]), _column(record["predicted"])
    same = target.index == predicted.index
    if right is not None and label is None:
        raise Unreadable("record that contradicts itself")
    if right is True and not same:
        raise Unreadable("record that contradicts itself")
    if right is False and same == explains_label:
        raise Unreadable("record that contradicts itself")
    return Item(
        str(record["id"]),
        shown(record["name"]),
        None if label is None else shown(str(label)),
        target,
        predicted,
        right,
        np.zeros((1, 1)),
        {name: float(value) for name, value in record["values"].items()},
    )


def _column(found: dict[str, Any]) -> ModelClass:
    name = found["name"]
    return ModelClass(found["index"], None if name is None else shown(name), found["probability"])


def map_of(file: Path) -> Map:
    """A map from its file, nowhere negative.

    Raises:
        Unreadable: there is none, or it is not what a run writes.
    """
    return np.maximum(read_scaled(file), 0.0)


# ── the gallery ──────────────────────────────────────────────────────────────────────────────


def entry_of(found: Any, sample: str, first: str | None) -> GalleryEntry:
    """A photo's entry in the gallery.

    Args:
        first: the view that comes first among the maps of a class.

    Raises:
        Unreadable, ValueError: something in it is not what a run writes.
    """
    if not isinstance(found, dict) or found.get("schema") != SCHEMA or found.get("id") != sample:
        raise Unreadable("entry of another schema or photo")
    views, grid, classes = found.get("views"), found.get("grid"), found.get("classes")
    if not is_list(views, MOST) or not is_list(classes, MOST) or not all(map(is_text, views)):
        raise Unreadable("entry without its classes")
    seen = tuple(_seen(each, views, grid, first) for each in classes)
    contrast, error = found.get("contrast"), found.get("error")
    if error is not None and not between(error, 0.0, math.inf):
        raise Unreadable("entry with a number out of its range")
    jpeg = found.get("jpeg")
    return GalleryEntry(
        None if jpeg is None else _bytes(jpeg),
        seen,
        None if contrast is None else _grid8(_dicts([contrast])[0].get("map"), grid),
        tuple(_sentence(note) for note in _dicts(found.get("health") or [])),
        error,
        None
        if found.get("things") is None
        else tuple(_thing(thing) for thing in _dicts(found["things"])),
    )


def _seen(found: Any, views: list[Any], grid: Any, first: str | None) -> ClassMaps:
    check_column(found)
    column = _column(found)
    roles, maps = found.get("roles"), found.get("maps")
    if not is_list(roles, MOST) or not is_list(maps, MOST) or len(maps) != len(views):
        raise Unreadable("entry without its maps")
    by_view = {
        shown(str(view)): _grid8(each, grid) / 255.0 for view, each in zip(views, maps, strict=True)
    }
    ordered = sorted(by_view, key=lambda view: view != first)
    return ClassMaps(column, tuple(map(str, roles)), {view: by_view[view] for view in ordered})


def _sentence(note: dict[str, Any]) -> str:
    sentence = note.get("sentence")
    if not is_text(sentence):
        raise Unreadable("entry with a note that says nothing")
    return shown(sentence)


def _thing(found: dict[str, Any]) -> Annotation:
    box, label = found.get("box"), found.get("label")
    if not is_key(label):
        raise Unreadable("entry with an object without a name")
    if not is_list(box, 4) or len(box) < 4 or not all(between(x, 0.0, 1.0) for x in box):
        raise Unreadable("entry with a box that is none")
    x1, y1, x2, y2 = (min(max(float(edge), 0.0), 1.0) for edge in box)
    checked: Box = (x1, y1, x2, y2)
    if not (x1 < x2 and y1 < y2):
        raise Unreadable("entry with a box that is none")
    return Annotation(shown(str(label)), checked)


def _grid8(text: Any, grid: Any) -> Map:
    if not is_list(grid, 2) or len(grid) < 2 or not all(map(is_whole, grid)):
        raise Unreadable("entry whose maps are no planes")
    content = _bytes(text)
    if len(content) != grid[0] * grid[1]:
        raise Unreadable("entry with a map of another grid")
    return np.frombuffer(content, np.uint8).reshape(grid).astype(np.float64)


def _bytes(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise Unreadable("entry that cannot be decoded") from error


def _dicts(found: Any) -> list[dict[str, Any]]:
    if not is_list(found, MANY) or not all(map(is_table, found)):
        raise Unreadable("entry that is no entry")
    return found
