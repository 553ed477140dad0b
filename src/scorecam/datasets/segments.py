"""COCO's segmentations, through pycocotools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from scorecam.datasets.annotation import finite
from scorecam.datasets.photos import Size, shown, upright_size
from scorecam.datasets.sample import PhotoMask
from scorecam.errors import DatasetError, MissingExtra
from scorecam.photo import MAX_PIXELS
from scorecam.process import quietly


def read_segments(segments: Sequence[Any], size: Size, photo: Path) -> PhotoMask:
    """True where any of the objects is, in pixels of the photo.

    Args:
        segments: for each object its polygons, or its run lengths.
        size: of the photo that they were made for.

    Raises:
        DatasetError: they make no sense.
        PhotoError: the photo's size cannot be read.
        MissingExtra: pycocotools is not installed.
    """
    try:
        from pycocotools import mask as coco
    except ImportError as error:
        what = "COCO's masks are read with pycocotools."
        raise MissingExtra(what, do="pip install 'scorecam[eval]'") from error
    width, height = size
    try:
        if width * height > MAX_PIXELS:
            raise ValueError(f"{width} × {height} pixels are too many")
        whole = np.zeros((height, width), dtype=bool)
        for each in segments:
            whole |= _decoded(coco, _checked(each, size), size)
    except Exception as error:  # what pycocotools raises is not documented
        raise DatasetError(
            f"The segmentation of {shown(str(photo))} cannot be used: {shown(str(error))}.",
            likely="The JSON file is damaged.",
        ) from error
    real = upright_size(photo)
    if real == size:
        return whole
    # The same photo at another size, or opening it would have recorded a failure.
    return np.asarray(Image.fromarray(whole).resize(real, Image.Resampling.NEAREST))


def _decoded(coco: Any, segment: Any, size: Size) -> PhotoMask:
    compressed = isinstance(segment, dict) and not isinstance(segment["counts"], list)
    # Its arrays are not yet made as NumPy 2 wants them.
    with quietly(DeprecationWarning):
        runs = segment if compressed else coco.frPyObjects(segment, size[1], size[0])
        merged = coco.merge(runs if isinstance(runs, list) else [runs])
        return np.asarray(coco.decode(merged)).astype(bool)


def _checked(segment: Any, size: Size) -> Any:
    """Polygons, or run lengths of the right size: pycocotools itself trusts what it is given."""
    width, height = size
    if isinstance(segment, list):
        polygons = cast("list[Any]", segment)
        for polygon in polygons:
            if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
                raise ValueError("a polygon is not a list of x and y for three points or more")
        # A far corner would cost memory for each pixel of the way there.
        return [
            [
                min(max(finite(number), -limit), 2 * limit)
                for number, limit in zip(
                    polygon, (width, height) * (len(polygon) // 2), strict=True
                )
            ]
            for polygon in polygons
        ]
    if not isinstance(segment, dict) or segment.get("size") != [height, width]:
        raise ValueError("run lengths are of another size")
    counts: Any = segment.get("counts")
    if isinstance(counts, str):
        # Unless the last character ends a number, pycocotools reads on beyond the text.
        if not re.fullmatch("[0-o]*[0-O]", counts):
            raise ValueError("run lengths are not as COCO writes them")
        return cast("dict[str, Any]", segment)
    if not isinstance(counts, list) or not all(type(each) is int and each >= 0 for each in counts):
        raise ValueError("run lengths are not whole numbers")
    if sum(counts) != height * width:
        raise ValueError("run lengths do not cover the photo")
    return segment
