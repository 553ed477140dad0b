"""The numbers in a file, and what the file states about them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt
from torch import Tensor

from scorecam.base.wording import summary
from scorecam.errors import PhotoError


@dataclass(frozen=True, eq=False, repr=False)
class ArrayFile:
    """The numbers in a file, as float32, and what the file states about them.

    TIFF, NIfTI and DICOM know which axis holds the channels: `values` is `c *i`. The others do not:
    `values` has the stored axes and `has_channels` is False. `with_channels` and `fitted` add the
    axis of channels.

    Pictures are `h w` with row 0 at the top, DICOM series are slices `h w` in the order of their
    positions, and NIfTI volumes keep their stored order of voxels, `i j k`.

    Args:
        values: the numbers.
        name: of the file, with the key of the array in it.
        has_channels: whether the first axis holds the channels.
        whole: whether they are stored as whole numbers.
        levels: the values of black and white, where the file states them.
        spacing: millimetres from one value to the next, for each spatial axis.
        affine: of a NIfTI file: 4 × 4, from voxels `i j k` to millimetres to the right, to the
            front and upwards.
        orientation: where the spatial axes point in the patient; empty if the file does not state
            it.
        remarks: sentences on what was left out or changed.
    """

    values: Tensor
    name: str
    has_channels: bool = True
    whole: bool = False
    levels: tuple[float, float] | None = None
    spacing: tuple[float, ...] | None = None
    affine: npt.NDArray[Any] | None = None
    orientation: str = ""
    remarks: tuple[str, ...] = ()

    @summary
    def __repr__(self) -> Iterator[str]:
        yield self.name
        yield " × ".join(map(str, self.values.shape))
        yield f"levels {self.levels[0]:g} to {self.levels[1]:g}" if self.levels else ""


def with_channels(file: ArrayFile) -> ArrayFile:
    """The file with an axis of channels.

    An array of one axis is a signal with one channel (`1 l`), one of two axes a picture with one
    channel (`1 h w`). In arrays of more axes, the first one holds the channels.
    """
    if file.has_channels:
        return file
    values = file.values if file.values.ndim > 2 else file.values.reshape(1, *file.values.shape)
    return replace(file, values=values, has_channels=True)


def fitted(file: ArrayFile, axes: int) -> ArrayFile:
    """The file with as many axes as an input of a network, `c *i`.

    An axis of length 1 is added in front, or removed there, if the format does not know where the
    channels are.

    Args:
        axes: of one input, with the channels and without the batch.

    Raises:
        PhotoError: it has another number of axes.
    """
    values, given = file.values, file.values.ndim
    if given != axes and not file.has_channels:
        if given == axes - 1:
            values = values.reshape(1, *values.shape)
        elif given == axes + 1 and values.shape[0] == 1:
            values = values[0]
    if values.ndim == axes:
        return replace(file, values=values, has_channels=True)
    shape = " × ".join(map(str, file.values.shape))
    raise PhotoError(
        f"{file.name} holds {shape} values, which is {given} axes; the network takes {axes} for "
        "one input.",
        likely="It is a batch, or a volume for a network that takes pictures.",
        do="Save one input with the axes that the network takes, without the batch.",
    )
