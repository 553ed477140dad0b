"""Pascal VOC's XML, which ImageNet uses too, and boxes in pixels of the stored photo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scorecam.base.wording import excerpt
from scorecam.datasets.formats.building import Tally
from scorecam.datasets.photos import Size, upright_size
from scorecam.datasets.sample import Box, Thing
from scorecam.errors import DatasetError, PhotoError
from scorecam.io.extras import require
from scorecam.io.json_values import is_text, to_number
from scorecam.io.reading import Kind, read_bytes

XML = Kind("a Pascal VOC annotation", 2**23, DatasetError)

_MOST_BOXES = 20_000
"""The most boxes of one photo."""

_FARTHEST = 1e9
"""The largest coordinate, in pixels from a photo's corner."""

DROPPED = "Boxes without area inside their photo, which were dropped"
CLIPPED = "Boxes that extended beyond their photo and were clipped"
SCALED = "Photos of a different size than their annotation, whose boxes were scaled"


@dataclass(frozen=True)
class XmlAnnotation:
    """The content of an XML file.

    Args:
        size: of the annotated photo; None if it is not given.
        things: the objects; their boxes are continuous, and not yet clipped.
        difficult: whether each object is marked as hard to recognise.
    """

    size: Size | None
    things: tuple[Thing, ...]
    difficult: tuple[bool, ...]


def read_xml(path: Path) -> XmlAnnotation:
    """Read an XML file. Its boxes count pixels from 1 and include the last pixel.

    So (xmin, ymin, xmax, ymax) covers [xmin - 1, xmax) × [ymin - 1, ymax).

    Raises:
        DatasetError: it cannot be read, is not such a file, or contains a document type or
            entities. Annotations never need those, and they can exhaust memory.
        MissingExtra: defusedxml is not installed.
    """
    reader = _reader()
    content = read_bytes(path, XML)
    try:
        root = reader.fromstring(content, forbid_dtd=True)
        objects = root.findall("object")
        things = tuple(Thing(_text(node, "name"), _box(node)) for node in objects)
        hard = tuple((node.findtext("difficult") or "0").strip() == "1" for node in objects)
        return XmlAnnotation(_size(root), things, hard)
    except (reader.ParseError, ValueError, LookupError, RecursionError) as error:
        reason = type(error).__name__ if "Forbidden" in type(error).__name__ else str(error)
        raise DatasetError(
            f"The annotation {excerpt(path, 150)} cannot be used: {excerpt(reason)}.",
            likely="It is damaged, or not a Pascal VOC annotation."
            if reason == str(error)
            else "It contains a document type or entities, which annotations never need.",
        ) from error


def placed(
    boxes: Sequence[Box], annotated: Size | None, photo: Path, tally: Tally
) -> tuple[Box | None, ...]:
    """The boxes in pixels of the upright photo; None for those without area inside it.

    Args:
        boxes: in pixels of the annotated photo.
        annotated: the size of the annotated photo; None if it is unknown.
        photo: only its header is read. If that fails, `annotated` is used; the error is reported
            when the photo is read.

    Raises:
        DatasetError: the aspect ratio of the photo differs from that of `annotated`, or there are
            too many boxes.
    """
    if len(boxes) > _MOST_BOXES:
        raise DatasetError(
            f"{excerpt(photo, 150)} has {len(boxes):,} boxes, more than {_MOST_BOXES:,}."
        )
    try:
        real = upright_size(photo)
    except PhotoError:
        real = annotated
    across, down = _factors(annotated, real, photo)
    if (across, down) != (1.0, 1.0):
        tally[SCALED] += 1
    scaled = [(x1 * across, y1 * down, x2 * across, y2 * down) for x1, y1, x2, y2 in boxes]
    return tuple(_clipped(box, real, tally) for box in scaled)


def _factors(annotated: Size | None, real: Size | None, photo: Path) -> tuple[float, float]:
    if annotated is None or real is None or annotated == real:
        return 1.0, 1.0
    across, down = real[0] / annotated[0], real[1] / annotated[1]
    # The sides of a resized photo are rounded independently.
    if min(abs(real[1] - annotated[1] * across), abs(real[0] - annotated[0] * down)) <= 1:
        return across, down
    turned = " Its EXIF orientation may rotate it." if real == annotated[::-1] else ""
    raise DatasetError(
        f"The annotation of {excerpt(photo, 150)} is for a photo of {annotated[0]} × "
        f"{annotated[1]} pixels, but the photo has {real[0]} × {real[1]}.",
        likely=f"The photo was cropped or rotated after it was annotated.{turned}",
    )


def _clipped(box: Box, size: Size | None, tally: Tally) -> Box | None:
    width, height = size or (math.inf, math.inf)
    x1, x2 = (min(max(x, 0.0), width) for x in (box[0], box[2]))
    y1, y2 = (min(max(y, 0.0), height) for y in (box[1], box[3]))
    if not (x2 > x1 and y2 > y1):
        tally[DROPPED] += 1
        return None
    inside = x1, y1, x2, y2
    if inside != box:
        tally[CLIPPED] += 1
    return inside


def finite(value: object) -> float:
    """A number that can be a coordinate or a length in a photo. Raises ValueError."""
    return to_number(value, -_FARTHEST, _FARTHEST)


def size_of(width: object, height: object) -> Size | None:
    """A photo's size; None if a side is 0. Raises ValueError."""
    sides = int(finite(width)), int(finite(height))
    return sides if min(sides) > 0 else None


def _text(node: Any, name: str) -> str:
    text = (node.findtext(name) or "").strip()
    if not text:
        raise ValueError(f"<{excerpt(node.tag, 30)}> has no <{name}>")
    if not is_text(text):
        raise ValueError(f"the <{name}> of an <{excerpt(node.tag, 30)}> is too long")
    return text


def _box(node: Any) -> Box:
    corners = node.find("bndbox")
    if corners is None:
        raise ValueError("an <object> has no <bndbox>")
    x1, y1, x2, y2 = (finite(_text(corners, side)) for side in ("xmin", "ymin", "xmax", "ymax"))
    return x1 - 1, y1 - 1, x2, y2


def _size(root: Any) -> Size | None:
    node = root.find("size")
    if node is None:
        return None
    return size_of(*(node.findtext(side) or "0" for side in ("width", "height")))


def _reader() -> Any:
    return require("defusedxml.ElementTree", "eval", "read XML annotations safely")
