"""A part of a picture as a target: a point, a box or a mask."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, TypeGuard, cast

import numpy as np
import torch
from torch import Tensor

from scorecam.base.wording import quoted
from scorecam.errors import TargetError
from scorecam.images.preprocessing import Preprocessing

Place = tuple[float, ...] | Tensor | np.ndarray[Any, Any]
"""A point `(x, y)`, a box `(x1, y1, x2, y2)`, or a mask `*i` of booleans.

A signal's point has one number and a volume's three, the last axis first. Pixel i covers
[i, i + 1). In pixels of the photo where a photo is explained, and of the input otherwise.
"""


def is_place(target: Any) -> TypeGuard[Place]:
    """Whether a target is a part of the picture: a tuple of numbers, or an array with axes."""
    if isinstance(target, tuple):
        return all(isinstance(number, numbers.Real) for number in cast("Sequence[Any]", target))
    return isinstance(target, Tensor | np.ndarray) and target.ndim > 0


def check_place(place: Place, size: Sequence[int]) -> Place:
    """A point or a box as floats, or a mask as a bool tensor on the CPU, if it fits the picture.

    Args:
        size: the axes of the picture, `*i`.

    Raises:
        TargetError: it does not fit, is empty, or is no place.
    """
    if isinstance(place, tuple):
        return _numbers(place, size)
    mask = torch.as_tensor(place).detach().cpu()
    if mask.dtype != torch.bool or tuple(mask.shape) != tuple(size):
        raise TargetError(
            f"A mask of {mask.dtype} with the shape {tuple(mask.shape)} was given as the target; "
            f"the picture has the shape {tuple(size)}.",
            likely="It may belong to another picture, or to the resized input.",
            do="Give one boolean per pixel of the picture that you explain.",
        )
    if not mask.any():
        raise TargetError("The target is an empty mask.", do="Give a mask with a true pixel.")
    return mask


def _numbers(place: tuple[float, ...], size: Sequence[int]) -> tuple[float, ...]:
    axes, given = len(size), tuple(map(float, place))
    if len(given) not in (axes, 2 * axes) or not all(map(math.isfinite, given)):
        raise TargetError(
            f"The target {quoted(place)} is not a point or a box.",
            do=f"Give {axes} numbers for a point or {2 * axes} for a box (--target 120,80), or the "
            "name or index of a column.",
        )
    ends = tuple(reversed(size))
    first, last = given[:axes], given[-axes:]
    if any(low > high for low, high in zip(first, last, strict=True)) or (
        len(given) > axes and first == last
    ):
        raise TargetError(
            f"The box {quoted(place)} has no area.", do="Give the upper left corner first."
        )
    if any(low >= end or high < 0 for low, high, end in zip(first, last, ends, strict=True)):
        raise TargetError(
            f"The target {quoted(place)} is outside the picture, which has the size "
            f"{' × '.join(map(str, ends))}.",
            do="Give pixels of the picture that you explain, x first.",
        )
    return given


def place_in_input(place: Place, preprocess: Preprocessing, photo_size: tuple[int, int]) -> Place:
    """A place in a photo as a place in the model's input.

    Args:
        place: in pixels of the photo.
        photo_size: its (width, height).

    Raises:
        TargetError: it is no place in the photo, or the model does not see it.
        SettingError: it is not known where the input is in the photo.
    """
    place = check_place(place, photo_size[::-1])
    if not isinstance(place, tuple):
        moved = preprocess.mask_to_input(place)
        if moved.any():
            return moved
    else:
        corners = place if len(place) == 4 else (*place, place[0] + 1.0, place[1] + 1.0)
        box = preprocess.boxes_to_input(torch.tensor([corners]), photo_size)[0].tolist()
        if box[0] < box[2] and box[1] < box[3]:
            return tuple(box) if len(place) == 4 else (box[0], box[1])
    raise TargetError(
        "The target is outside the part of the photo that the model sees.",
        likely="The preprocessing crops the photo.",
        do="Give a place inside that part, or a preprocess that keeps the whole photo.",
    )
