"""Crops, boxes and maps between the pixels of a photo and those of a model's input.

Positions are continuous: pixel i covers [i, i + 1), and its centre is i + 0.5.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scorecam.errors import SettingError

Box = tuple[float, float, float, float]
"""(left, top, right, bottom), in pixels of the photo."""

Boxes = Annotated[Tensor, "m 4"]


def resized_size(photo: tuple[int, int], size: tuple[int, int], fraction: float) -> tuple[int, int]:
    """The (width, height) to which resize_crop resizes a photo; neither side is below `size`.

    The short side is rounded and the long side truncated, as in torchvision.

    Args:
        photo: (width, height).
        size: (height, width) of the input.
        fraction: the part of the short side that is kept.
    """
    width, height = photo
    rows, columns = (round(side / fraction) for side in size)
    if width * rows <= height * columns:
        return columns, int(columns * height / width)
    return int(rows * width / height), rows


def centre_corner(photo: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """(left, top) of the centre crop of `size` (height, width) in a resized photo."""
    return round((photo[0] - size[1]) / 2), round((photo[1] - size[0]) / 2)


def centre_cut(photo: tuple[int, int], size: tuple[int, int], fraction: float) -> Box:
    """The part of a photo that crop_resize cuts out; at least one pixel."""
    width, height = photo
    rows, columns = size
    if width * rows <= height * columns:
        wide, high = float(width), width * rows / columns
    else:
        wide, high = height * columns / rows, float(height)
    wide, high = max(1, int(fraction * wide)), max(1, int(fraction * high))
    left, top = (width - wide + 1) // 2, (height - high + 1) // 2
    return float(left), float(top), float(left + wide), float(top + high)


def letterboxed(
    photo: tuple[int, int], size: tuple[int, int], *, centred: bool
) -> tuple[int, int, int, int]:
    """Where a letterbox puts a (width, height) photo: left, top, right, bottom in the input.

    Each side is rounded to the nearest pixel. If the photo is centred and the padding is odd, the
    odd pixel goes to the right or to the bottom. This is the convention of YOLO and of OpenVINO's
    Model API.

    Args:
        photo: (width, height).
        size: (height, width) of the input.
        centred: whether the photo is in the centre; otherwise it is in the upper left corner.
    """
    width, height = photo
    rows, columns = size
    scale = min(rows / height, columns / width)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = ((columns - wide) // 2, (rows - high) // 2) if centred else (0, 0)
    return left, top, left + wide, top + high


def padded_box(
    photo: tuple[int, int], size: tuple[int, int], inside: tuple[int, int, int, int]
) -> Box:
    """Where the edges of a padded input are, in pixels of the photo.

    Args:
        photo: (width, height).
        size: (height, width) of the input.
        inside: where the photo is in the input: left, top, right, bottom.
    """
    left, top, right, bottom = inside
    width, height = photo
    # The quotient is last, so that an edge without padding is exactly at the edge of the photo.
    return (
        -left * width / (right - left),
        -top * height / (bottom - top),
        (size[1] - left) * width / (right - left),
        (size[0] - top) * height / (bottom - top),
    )


def stretch(values: Tensor, start: float, stop: float, length: int) -> tuple[Tensor, slice]:
    """The rows of a map that covers [start, stop), resampled to the pixels of an axis.

    If `start` is the larger one, the map is mirrored. Parts beyond the axis are left out.

    Args:
        length: the number of pixels of the axis.

    Returns:
        A row for each pixel that the map touches, and the range of these pixels.
    """
    if start > stop:
        values, start, stop = values.flip(0), stop, start
    # tolerate rounding errors
    first, last = max(0, math.floor(start + 1e-6)), min(length, math.ceil(stop - 1e-6))
    pixels = torch.arange(first, last, dtype=torch.float64, device="cpu")
    positions = (pixels + 0.5 - start) * (len(values) / (stop - start)) - 0.5
    positions = positions.clamp(0, len(values) - 1)
    before = positions.long()
    after = (before + 1).clamp(max=len(values) - 1)
    part = (positions - before)[:, None].float()
    return values[before].lerp(values[after], part), slice(first, last)


def pixels_under_centres(
    start: float, stop: float, count: int, length: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """For each of `count` equal parts of a span: which of `length` pixels its centre is in.

    Returns:
        The nearest pixel, and whether the centre is in it; elsewhere there is no pixel.
    """
    centres = start + (np.arange(count) + 0.5) * ((stop - start) / count)
    inside = (centres >= 0) & (centres < length)
    return centres.astype(np.intp).clip(0, length - 1), inside


def padded(
    values: npt.NDArray[np.float32], box: Box
) -> tuple[npt.NDArray[np.float32], tuple[float, float, float, float]]:
    """Values with zeros around them, so that they contain the box; and the box in them."""
    rows, columns = values.shape
    left, top = max(0, math.ceil(-box[0])), max(0, math.ceil(-box[1]))
    right, bottom = max(0, math.ceil(box[2] - columns)), max(0, math.ceil(box[3] - rows))
    moved = (box[0] + left, box[1] + top, box[2] + left, box[3] + top)
    if not any((left, top, right, bottom)):
        return values, moved
    return np.pad(values, ((top, bottom), (left, right))), moved


def as_boxes(boxes: Tensor | npt.NDArray[Any]) -> Boxes:
    """Boxes as a tensor, (m, 4) float64.

    Raises:
        SettingError: they have another shape.
    """
    values = torch.as_tensor(boxes).detach().cpu().double()
    if values.ndim != 2 or values.shape[1] != 4:
        raise SettingError(
            f"Boxes of shape {tuple(values.shape)} do not have four numbers each.",
            do="Give boxes as (m, 4): x1, y1, x2, y2.",
        )
    return values
