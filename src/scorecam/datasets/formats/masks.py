"""Masks in image files: pixels brighter than middle grey are on the object."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scorecam.base.wording import excerpt
from scorecam.datasets.photos import upright_size
from scorecam.datasets.sample import PhotoMask
from scorecam.errors import DatasetError
from scorecam.images.opening import MASK_FORMATS, ImageKind, open_image

_MASK = ImageKind("a mask", MASK_FORMATS, DatasetError)


def read_masks(paths: Sequence[Path], photo: Path) -> PhotoMask:
    """True where any of the masks is true.

    Raises:
        DatasetError: a mask cannot be read, or does not have the photo's size.
        PhotoError: the photo's size cannot be read.
    """
    width, height = upright_size(photo)
    whole = np.zeros((height, width), dtype=bool)
    for path in paths:
        whole |= _read(path, (height, width))
    return whole


def _read(path: Path, size: tuple[int, int]) -> PhotoMask:
    """A mask of this size, (height, width)."""
    try:
        with open_image(path, _MASK, excerpt(path.name)) as mask_file:
            image = mask_file.image
            actual = (image.height, image.width)
            mask = np.asarray(image.convert("L")) > 127 if actual == size else None
    except DatasetError as error:
        raise DatasetError(
            f"The mask {excerpt(path, 150)} cannot be read: {excerpt(error.what, 200)}",
            likely=error.likely or "The file is missing or damaged.",
            do=error.do,
        ) from error
    if mask is None:
        raise DatasetError(
            f"The mask {excerpt(path, 150)} has {actual[1]} × {actual[0]} pixels, "
            f"but its photo has {size[1]} × {size[0]}.",
            likely="One of them was resized or cropped.",
        )
    return mask
