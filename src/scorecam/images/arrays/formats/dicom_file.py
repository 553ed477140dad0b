"""One DICOM file: a picture, a picture in colour, or the frames of a volume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import torch

from scorecam.base.wording import one_line
from scorecam.errors import MissingExtra, PhotoError
from scorecam.images.arrays.array_file import ArrayFile
from scorecam.images.arrays.formats.dicom_fields import pixel_spacing, plane
from scorecam.images.arrays.formats.dicom_order import ordered
from scorecam.images.arrays.formats.dicom_pixels import Pixels, pixels
from scorecam.images.file_types import DAMAGED
from scorecam.images.memory import memory_limit
from scorecam.io.extras import require
from scorecam.io.reading import Kind, open_file, read_start

T = TypeVar("T")

_PREFIX: Final = 128
_MARK: Final = b"DICM"

_DEFLATED: Final = "1.2.840.10008.1.2.1.99"


def begins(head: bytes) -> bool:
    """Whether a file begins as a DICOM file."""
    return head[_PREFIX:].startswith(_MARK)


def is_dicom(path: Path) -> bool:
    """Whether a file can be opened and begins as a DICOM file."""
    try:
        return begins(read_start(path, _kind(), _PREFIX + len(_MARK)))
    except PhotoError:
        return False


def _kind() -> Kind:
    return Kind("a DICOM file", memory_limit() // 2, PhotoError)


def data_set(path: Path, *, only: tuple[str, ...] = ()) -> Any:
    """The data set of a file.

    Args:
        path: of the file.
        only: the fields to read, without the pixels; all if empty.

    Raises:
        PhotoError: it cannot be read.
    """
    if not begins(read_start(path, _kind(), _PREFIX + len(_MARK))):
        raise PhotoError(
            f"{path.name} does not begin as a DICOM file.",
            likely="It is another kind of file, or lacks the 128 bytes that come first.",
            do="If it is DICOM, read it with pydicom.dcmread(path, force=True), and save it again.",
        )
    return guarded(path.name, lambda: _parsed(path, only))


def _parsed(path: Path, only: tuple[str, ...]) -> Any:
    reading = require("pydicom.filereader", "medical", "read DICOM files")
    if reading.read_file_meta_info(path).get("TransferSyntaxUID") == _DEFLATED:
        raise PhotoError(
            f"{path.name} is compressed as a whole (the deflated transfer syntax), which is not "
            "read.",
            likely="Unpacking it may take any amount of memory.",
            do="Save it again without compression, for example with dcmconv +te.",
        )
    with open_file(path, _kind()) as file:
        if only:
            return reading.dcmread(file, stop_before_pixels=True, specific_tags=list(only))
        return reading.dcmread(file)


def read_file(path: Path) -> ArrayFile:
    """The picture in a file, as `c h w`, or its frames, as `c d h w`.

    Raises:
        MissingExtra: no library that unpacks its pixels is installed.
        PhotoError: it cannot be read.
    """
    data = data_set(path)
    return guarded(path.name, lambda: _read(data, path.name))


def _read(data: Any, name: str) -> ArrayFile:
    found = pixels(data, name)
    frames = found.values.shape[1]
    remarks = [f"{name} {remark}." for remark in found.remarks]
    spacing, place = pixel_spacing(data), plane(data)
    if frames == 1:
        return ArrayFile(
            torch.from_numpy(found.values[:, 0]),
            name,
            levels=found.levels,
            spacing=spacing,
            orientation=place.describe(volume=False) if place else "",
            remarks=tuple(remarks),
        )
    return _read_frames(data, found, name, remarks)


def _read_frames(data: Any, found: Pixels, name: str, remarks: list[str]) -> ArrayFile:
    """A file of several frames: a volume, if each frame states its position."""
    values, frames = found.values, found.values.shape[1]
    planes = [plane(data, frame) for frame in range(frames)]
    positions = {tuple(place.position) for place in planes if place is not None}
    if None in planes or len(positions) == 1:  # a recording in time, or without positions
        remark = f"{name} has {frames} frames, read as slices in their stored order."
        return ArrayFile(
            torch.from_numpy(values), name, levels=found.levels, remarks=(*remarks, remark)
        )
    order = ordered(planes, [f"frame {frame + 1}" for frame in range(frames)], name)
    remarks += [f"{name} {remark}." for remark in order.remarks]
    return ArrayFile(
        torch.from_numpy(values[:, list(order.places)]),
        name,
        levels=found.levels,
        spacing=with_depth(order.distance, pixel_spacing(data)),
        orientation=planes[0].describe(volume=True) if planes[0] else "",
        remarks=tuple(remarks),
    )


def with_depth(
    distance: float | None, in_plane: tuple[float, float] | None
) -> tuple[float, ...] | None:
    """The spacing of a volume; None if the header does not state all of it."""
    return None if distance is None or in_plane is None else (distance, *in_plane)


def guarded(name: str, action: Callable[[], T]) -> T:
    """The result of reading foreign values, which can raise anything in damaged files.

    Raises:
        MissingExtra: the action raises it.
        PhotoError: the action raises it, or any other error.
    """
    try:
        return action()
    except (PhotoError, MissingExtra):
        raise
    except Exception as error:
        raise _not_read(name, one_line(str(error), 200)) from error


def _not_read(name: str, problem: str) -> PhotoError:
    return PhotoError(
        f"{name} is not a DICOM file that can be read: {problem}.",
        likely=DAMAGED[0],
        do="Copy it again, or export it again.",
    )
