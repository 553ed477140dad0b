"""COCO's segmentations, through pycocotools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from scorecam.base.process_state import ignore_warnings
from scorecam.base.wording import excerpt
from scorecam.datasets.formats.annotation import finite
from scorecam.datasets.photos import Size, upright_size
from scorecam.datasets.sample import PhotoMask
from scorecam.errors import DatasetError
from scorecam.images.photo import MAX_PIXELS
from scorecam.io.extras import require

MOST_NUMBERS = 1_000_000
"""The most numbers of one polygon."""

LONGEST_OUTLINE = 4_000_000
"""The most pixels along all outlines of a photo: each needs about a hundred bytes temporarily."""


def read_segments(segments: Sequence[Any], size: Size, photo: Path) -> PhotoMask:
    """The mask of all the objects, in pixels of the photo.

    Args:
        segments: for each object, its polygons or its run lengths.
        size: of the annotated photo.

    Raises:
        DatasetError: they are invalid.
        PhotoError: the photo's size cannot be read.
        MissingExtra: pycocotools is not installed.
    """
    coco = require("pycocotools.mask", "eval", "read COCO's masks")
    width, height = size
    real = upright_size(photo)
    try:
        if width * height > MAX_PIXELS:
            raise ValueError(f"{width} × {height} pixels are too many")
        checked = [_checked(each, size) for each in segments]
        polygons = [polygon for each in checked if isinstance(each, list) for polygon in each]
        if sum(map(_outline, polygons)) > LONGEST_OUTLINE:
            raise ValueError("its outlines are too long")
        whole = _decoded(coco, checked, size)
    except Exception as error:  # the errors of pycocotools are not documented
        raise DatasetError(
            f"The segmentation of {excerpt(photo, 150)} cannot be used: {excerpt(error)}.",
            likely="The JSON file is damaged.",
        ) from error
    if real == size:
        return whole
    # The photo was resized. If the aspect ratio differed, the sample would have a failure.
    return np.asarray(Image.fromarray(whole).resize(real, Image.Resampling.NEAREST))


def _decoded(coco: Any, segments: Sequence[Any], size: Size) -> PhotoMask:
    """All segments in one mask: one mask per object would take too much memory."""
    runs: list[Any] = []
    # pycocotools uses deprecated NumPy calls.
    with ignore_warnings(DeprecationWarning):
        for segment in segments:
            compressed = isinstance(segment, dict) and not isinstance(segment["counts"], list)
            own = segment if compressed else coco.frPyObjects(segment, size[1], size[0])
            runs += own if isinstance(own, list) else [own]
        return np.asarray(coco.decode(coco.merge(runs))).astype(bool)


def _checked(segment: Any, size: Size) -> Any:
    """Polygons, or run lengths of the right size: pycocotools itself checks nothing."""
    width, height = size
    if isinstance(segment, list):
        return [_polygon(each, size) for each in cast("list[Any]", segment)]
    if not isinstance(segment, dict) or segment.get("size") != [height, width]:
        raise ValueError("run lengths are for another size")
    counts: Any = segment.get("counts")
    if isinstance(counts, str):
        if sum(_run_lengths(counts)) != height * width:
            raise ValueError("run lengths do not cover the photo")
        return {"size": [height, width], "counts": counts}
    if not isinstance(counts, list) or not all(type(each) is int and each >= 0 for each in counts):
        raise ValueError("run lengths are not whole numbers")
    if sum(counts) != height * width:
        raise ValueError("run lengths do not cover the photo")
    return {"size": [height, width], "counts": counts}


def _polygon(polygon: Any, size: Size) -> list[float]:
    """The points of a polygon, clipped to one photo size around the photo."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise ValueError("a polygon is not a list of x and y for three points or more")
    if len(polygon) > MOST_NUMBERS:
        raise ValueError("a polygon has too many points")
    numbers = np.array([finite(each) for each in cast("list[Any]", polygon)]).reshape(-1, 2)
    points = numbers.clip([-size[0], -size[1]], [2 * size[0], 2 * size[1]])
    return points.ravel().tolist()


def _outline(polygon: list[float]) -> float:
    """The length of a polygon's outline in pixels: pycocotools stores five steps for each."""
    points = np.array(polygon).reshape(-1, 2)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())


def _run_lengths(text: str) -> list[int]:
    """The run lengths in a compressed text; pycocotools would write beyond the end of the mask.

    Each character holds five bits of a number and one bit that is set if another character follows.
    From the third number on, numbers are differences from the one before the last.
    """
    # If the last character does not end a number, pycocotools would read beyond the text.
    if not re.fullmatch("[0-o]*[0-O]", text):
        raise ValueError("run lengths are not in COCO's format")
    lengths: list[int] = []
    number = bits = 0
    for character in text:
        code = ord(character) - 48
        number |= (code & 31) << bits
        bits += 5
        if code & 32:
            if bits > 60:
                raise ValueError("run lengths are too large")
            continue
        if code & 16:
            number -= 1 << bits
        if len(lengths) > 2:
            number += lengths[-2]
        if not 0 <= number < 2**32:
            raise ValueError("run lengths are not whole numbers")
        lengths.append(number)
        number = bits = 0
    return lengths
