"""The order of the slices of a volume, by their positions in the patient.

File names and instance numbers are not used: nothing in the standard ties them to positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from scorecam.errors import PhotoError
from scorecam.images.arrays.formats.dicom_fields import Plane

_SAME_DIRECTION: Final = 0.001
_SAME_PLACE: Final = 0.001
"""Millimetres."""

_EVEN: Final = 0.01
"""The share by which distances may differ."""

_GAP: Final = 1.5
"""A distance this many times the usual one means that a slice is missing."""


@dataclass(frozen=True)
class Order:
    """The order of slices.

    Args:
        places: which slice comes first, second and so on.
        distance: millimetres from one slice to the next; None for one slice.
        remarks: on uneven distances; the name of the volume has to precede them.
    """

    places: tuple[int, ...]
    distance: float | None
    remarks: tuple[str, ...] = ()


def ordered(planes: Sequence[Plane | None], names: Sequence[str], whole: str) -> Order:
    """The order of slices along their normal.

    Args:
        planes: where each slice is.
        names: of the slices, for errors.
        whole: the name of the volume.

    Raises:
        PhotoError: a slice does not state its position, they point in different directions, two
            have one position, or some are missing.
    """
    known = [plane for plane in planes if plane is not None]
    if len(known) < len(planes):
        absent = names[planes.index(None)]
        raise PhotoError(
            f"The slices of {whole} cannot be put in order: {absent} does not state its position.",
            likely="They are separate pictures, not the slices of a volume.",
            do="Give one file.",
        )
    first = known[0]
    for plane, name in zip(known, names, strict=True):
        turned = max(abs(plane.right - first.right).max(), abs(plane.down - first.down).max())
        if turned > _SAME_DIRECTION:
            raise PhotoError(
                f"{names[0]} and {name} point in different directions, so {whole} is no volume.",
                likely="One is an overview (a localizer).",
                do="Keep the slices of one direction in the folder.",
            )
    places = tuple(sorted(range(len(known)), key=lambda place: known[place].depth))
    if len(places) == 1:
        return Order(places, None)
    return _checked([known[place] for place in places], places, [names[p] for p in places], whole)


def _checked(planes: list[Plane], places: tuple[int, ...], names: list[str], whole: str) -> Order:
    gaps = np.diff([plane.depth for plane in planes])
    usual = float(np.median(gaps))
    least, most = int(gaps.argmin()), int(gaps.argmax())
    if gaps[least] < _SAME_PLACE:
        raise PhotoError(
            f"{names[least]} and {names[least + 1]} have one position in {whole}.",
            likely="It is a series in time, has several echoes, or a slice is there twice.",
            do="Keep one slice of each position in the folder.",
        )
    if gaps[most] > _GAP * usual:
        raise PhotoError(
            f"Slices are missing in {whole}: {names[most]} and {names[most + 1]} are "
            f"{gaps[most]:.4g} mm apart, and the others {usual:.4g} mm.",
            likely="The series was not copied completely.",
            do="Copy all files of the series.",
        )
    remarks: list[str] = []
    if gaps[most] - gaps[least] > _EVEN * usual:
        remarks.append(f"has slices that are {gaps[least]:.4g} to {gaps[most]:.4g} mm apart")
    shift = planes[-1].position - planes[0].position
    sideways = float(np.linalg.norm(shift - (shift @ planes[0].normal) * planes[0].normal))
    if sideways > _EVEN * float(np.linalg.norm(shift)):
        remarks.append(f"has slices that are shifted sideways, by {sideways:.4g} mm in all")
    return Order(places, usual, tuple(remarks))
