"""Records, maps and entries of the gallery as checked values: files may have been edited."""

from __future__ import annotations

import base64
import binascii
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from scorecam.audit.items import Column, Entry, Item, Seen, Thing
from scorecam.audit.regions import Box, Map
from scorecam.datasets.photos import shown
from scorecam.runs.config import SCHEMA
from scorecam.runs.store import read_map

SHARES = ("energy_box", "energy_mask", "chance_box", "chance_mask")
"""Values that are parts of a whole."""


class Unreadable(Exception):
    """Why something is left out, as it stands after "3 ×"."""


def item_of(record: Mapping[str, Any], *, explains_label: bool) -> Item:
    """A record without its map.

    Args:
        explains_label: whether the run explains the label where there is one.

    Raises:
        Unreadable: a value is not what a run writes.
    """
    name, label, right = record.get("name"), record.get("label"), record.get("right")
    if not isinstance(name, str) or not isinstance(label, str | int | None):
        raise Unreadable("record whose name or label is none")
    target, predicted = column_of(record.get("target")), column_of(record.get("predicted"))
    if right not in (True, False, None) or (right is not None and label is None):
        raise Unreadable("record that contradicts itself")
    same = target.index == predicted.index
    if right is True and not same:
        raise Unreadable("record that contradicts itself")
    if right is False and same == explains_label:
        raise Unreadable("record that contradicts itself")
    return Item(
        str(record["id"]),
        shown(name),
        None if label is None else shown(str(label)),
        target,
        predicted,
        right,
        np.zeros((1, 1)),
        _values(record["values"]),
    )


def column_of(found: Any) -> Column:
    """A class of the model."""
    if not isinstance(found, dict):
        raise Unreadable("record without its classes")
    index, name, said = found.get("index"), found.get("name"), found.get("probability")
    if not is_whole(index):
        raise Unreadable("record with a class that is none")
    if not isinstance(name, str | None):
        raise Unreadable("record with a class that is none")
    if said is not None and not _between(said, 0.0, 1.0):
        raise Unreadable("record with a number out of its range")
    return Column(index, None if name is None else shown(name), said)


def _values(found: Mapping[str, Any]) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, value in found.items():
        limits = (0.0, 1.0) if name in SHARES else (-math.inf, math.inf)
        if not _between(value, *limits):
            raise Unreadable("record with a number out of its range")
        values[name] = float(value)
    return values


def _between(value: Any, low: float, high: float) -> bool:
    """Whether something is a finite number in a range, give or take what rounding does."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # Compared with the largest float, not converted to one: JSON's whole numbers have no end.
    largest = sys.float_info.max
    return max(low - 1e-6, -largest) <= value <= min(high + 1e-6, largest)


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether something is a number of things: 0, 1 and so on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


# ── maps ─────────────────────────────────────────────────────────────────────────────────────


def map_of(file: Path) -> Map:
    """A map from its file.

    Raises:
        Unreadable: there is none, or it is not what a run writes.
    """
    try:
        found = read_map(file)
    except FileNotFoundError as error:
        raise Unreadable("missing map") from error
    except (OSError, ValueError) as error:
        raise Unreadable("damaged map") from error
    if found.dtype.kind != "f" or found.ndim != 2:
        raise Unreadable("map that is no plane of numbers")
    heat = found.astype(np.float64)
    if not heat.size or not np.isfinite(heat).all() or float(np.abs(heat).max()) > 1.01:
        raise Unreadable("map with values outside its range")
    return np.maximum(heat, 0.0)


# ── the gallery ──────────────────────────────────────────────────────────────────────────────


def entry_of(found: Any, sample: str, first: str | None) -> Entry:
    """A photo's entry in the gallery.

    Args:
        first: the view that comes first among the maps of a class.

    Raises:
        Unreadable, ValueError: something in it is not what a run writes.
    """
    if not isinstance(found, dict) or found.get("schema") != SCHEMA or found.get("id") != sample:
        raise Unreadable("entry of another schema or photo")
    views, grid, classes = found.get("views"), found.get("grid"), found.get("classes")
    if not isinstance(views, list) or not isinstance(classes, list):
        raise Unreadable("entry without its classes")
    seen = tuple(_seen(each, views, grid, first) for each in classes)
    contrast, error = found.get("contrast"), found.get("error")
    if error is not None and not _between(error, 0.0, math.inf):
        raise Unreadable("entry with a number out of its range")
    jpeg = found.get("jpeg")
    return Entry(
        None if jpeg is None else _bytes(jpeg),
        seen,
        None if contrast is None else _grid8(_dicts([contrast])[0].get("map"), grid),
        tuple(_sentence(note) for note in _dicts(found.get("health") or [])),
        error,
        None
        if found.get("things") is None
        else tuple(_thing(thing) for thing in _dicts(found["things"])),
    )


def _seen(found: Any, views: list[Any], grid: Any, first: str | None) -> Seen:
    column = column_of(found)
    roles, maps = found.get("roles"), found.get("maps")
    if not isinstance(roles, list) or not isinstance(maps, list) or len(maps) != len(views):
        raise Unreadable("entry without its maps")
    by_view = {
        shown(str(view)): _grid8(each, grid) / 255.0 for view, each in zip(views, maps, strict=True)
    }
    ordered = sorted(by_view, key=lambda view: view != first)
    return Seen(column, tuple(map(str, roles)), {view: by_view[view] for view in ordered})


def _sentence(note: dict[str, Any]) -> str:
    sentence = note.get("sentence")
    if not isinstance(sentence, str):
        raise Unreadable("entry with a note that says nothing")
    return shown(sentence)


def _thing(found: dict[str, Any]) -> Thing:
    box = found.get("box")
    if not isinstance(box, list) or len(box) != 4 or not all(_between(x, 0.0, 1.0) for x in box):
        raise Unreadable("entry with a box that is none")
    x1, y1, x2, y2 = (min(max(float(edge), 0.0), 1.0) for edge in box)
    checked: Box = (x1, y1, x2, y2)
    if not (x1 < x2 and y1 < y2):
        raise Unreadable("entry with a box that is none")
    return Thing(shown(str(found.get("label"))), checked)


def _grid8(text: Any, grid: Any) -> Map:
    if not isinstance(grid, list) or len(grid) != 2 or not all(map(is_whole, grid)):
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
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise Unreadable("entry that is no entry")
    return found
