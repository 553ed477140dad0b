"""Turns records, maps and gallery entries into checked values: files may have been edited."""

from __future__ import annotations

import base64
import binascii
import math
from pathlib import Path
from typing import Any

import numpy as np

from scorecam.audit.geometry import Box, Map
from scorecam.audit.item import Annotation, ClassMaps, GalleryEntry, Item, ModelClass
from scorecam.base.wording import encodable
from scorecam.io.json_values import in_range, is_count, is_id, is_list, is_object, is_text
from scorecam.runs.config import SCHEMA
from scorecam.runs.maps import read_scaled
from scorecam.runs.record import MANY, ClassScore, MeasuredRecord, Unreadable, parse_class

MAX_ENTRY_LENGTH = 100
"""Classes and views in a gallery entry, at most; a run writes five of each."""


def item_of(record: MeasuredRecord, *, explains_label: bool) -> Item:
    """A checked record as an item, without its map.

    Args:
        record: of one photo.
        explains_label: whether the run explains the labelled class, if there is one.

    Raises:
        Unreadable: the record contradicts itself.
    """
    label, right = record.label, record.right
    target, predicted = _model_class(record.target), _model_class(record.predicted)
    same = target.index == predicted.index
    if right is not None and label is None:
        raise Unreadable("record that contradicts itself")
    if right is True and not same:
        raise Unreadable("record that contradicts itself")
    if right is False and same == explains_label:
        raise Unreadable("record that contradicts itself")
    return Item(
        id=record.id,
        name=encodable(record.name),
        label=None if label is None else encodable(str(label)),
        target=target,
        predicted=predicted,
        right=right,
        map=np.zeros((1, 1)),
        values={name: float(value) for name, value in record.values.items()},
    )


def _model_class(score: ClassScore) -> ModelClass:
    name = None if score.name is None else encodable(score.name)
    return ModelClass(score.index, name, score.probability)


def map_of(file: Path) -> Map:
    """A map from its file, without negative values.

    Raises:
        Unreadable: the file is missing, or does not hold a valid map.
    """
    return np.maximum(read_scaled(file), 0.0)


# ── the gallery ──────────────────────────────────────────────────────────────────────────────


def entry_of(values: Any, sample: str, first: str | None) -> GalleryEntry:
    """A photo's gallery entry.

    Args:
        values: the file's content.
        sample: the photo's id.
        first: the view to put first among a class's maps.

    Raises:
        Unreadable, ValueError: the entry is invalid.
    """
    if not isinstance(values, dict) or values.get("schema") != SCHEMA or values.get("id") != sample:
        raise Unreadable("gallery entry of another schema or photo")
    views, grid, classes = values.get("views"), values.get("grid"), values.get("classes")
    if (
        not is_list(views, MAX_ENTRY_LENGTH)
        or not is_list(classes, MAX_ENTRY_LENGTH)
        or not all(map(is_text, views))
    ):
        raise Unreadable("gallery entry without its classes")
    class_maps = tuple(_class_maps(stored, views, grid, first) for stored in classes)
    contrast, error = values.get("contrast"), values.get("error")
    if error is not None and not in_range(error, 0.0, math.inf):
        raise Unreadable("gallery entry with a number out of range")
    jpeg, objects = values.get("jpeg"), values.get("things")
    return GalleryEntry(
        jpeg=None if jpeg is None else _bytes(jpeg),
        class_maps=class_maps,
        contrast=None if contrast is None else _grid8(_dicts([contrast])[0].get("map"), grid),
        health=tuple(_sentence(note) for note in _dicts(values.get("health") or [])),
        error=error,
        annotations=None if objects is None else tuple(map(_annotation, _dicts(objects))),
    )


def _class_maps(stored: Any, views: list[Any], grid: Any, first: str | None) -> ClassMaps:
    model_class = _model_class(parse_class(stored))
    roles, maps = stored.get("roles"), stored.get("maps")
    if (
        not is_list(roles, MAX_ENTRY_LENGTH)
        or not is_list(maps, MAX_ENTRY_LENGTH)
        or len(maps) != len(views)
    ):
        raise Unreadable("gallery entry without its maps")
    by_view = {
        encodable(str(view)): _grid8(each, grid) / 255.0
        for view, each in zip(views, maps, strict=True)
    }
    ordered = sorted(by_view, key=lambda view: view != first)
    return ClassMaps(model_class, tuple(map(str, roles)), {view: by_view[view] for view in ordered})


def _sentence(note: dict[str, Any]) -> str:
    sentence = note.get("sentence")
    if not is_text(sentence):
        raise Unreadable("gallery entry with an empty note")
    return encodable(sentence)


def _annotation(stored: dict[str, Any]) -> Annotation:
    box, label = stored.get("box"), stored.get("label")
    if not is_id(label):
        raise Unreadable("gallery entry with an unnamed object")
    if not is_list(box, 4) or len(box) < 4 or not all(in_range(x, 0.0, 1.0) for x in box):
        raise Unreadable("gallery entry with an invalid box")
    x1, y1, x2, y2 = (min(max(float(edge), 0.0), 1.0) for edge in box)
    checked: Box = (x1, y1, x2, y2)
    if not (x1 < x2 and y1 < y2):
        raise Unreadable("gallery entry with an invalid box")
    return Annotation(encodable(str(label)), checked)


def _grid8(text: Any, grid: Any) -> Map:
    if not is_list(grid, 2) or len(grid) < 2 or not all(map(is_count, grid)):
        raise Unreadable("gallery entry with maps that are not 2-D")
    content = _bytes(text)
    if len(content) != grid[0] * grid[1]:
        raise Unreadable("gallery entry with a map of another grid")
    return np.frombuffer(content, np.uint8).reshape(grid).astype(np.float64)


def _bytes(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise Unreadable("gallery entry that cannot be decoded") from error


def _dicts(values: Any) -> list[dict[str, Any]]:
    if not is_list(values, MANY) or not all(map(is_object, values)):
        raise Unreadable("malformed gallery entry")
    return values
