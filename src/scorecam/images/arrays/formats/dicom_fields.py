"""Values in a DICOM header, also those that enhanced files state for each frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scorecam.images.arrays.patient import directions

_LPS_TO_RAS: Final = np.array([-1.0, -1.0, 1.0])
"""DICOM counts to the patient's left and back, NIfTI to the right and front."""


def field(data: Any, name: str, group: str = "", frame: int = 0) -> Any:
    """A value of the header; None if there is none.

    Args:
        data: pydicom's data set.
        name: pydicom's name of the value.
        group: the sequence that holds it in enhanced files.
        frame: which frame, counted from 0.
    """
    each = data.get("PerFrameFunctionalGroupsSequence") or []
    shared = data.get("SharedFunctionalGroupsSequence") or []
    for place in [*each[frame : frame + 1], *shared[:1]] if group else []:
        if (items := place.get(group)) and (value := items[0].get(name)) is not None:
            return value
    return data.get(name)


def numbers(value: Any) -> tuple[float, ...]:
    """A value as finite numbers; empty if it is missing.

    Raises:
        ValueError: one is not a finite number.
    """
    if value is None or value == "":
        return ()
    several = hasattr(value, "__iter__") and not isinstance(value, str)
    result = tuple(float(part) for part in (value if several else (value,)))
    if not all(map(math.isfinite, result)):
        raise ValueError("a value in its header is not a finite number")
    return result


@dataclass(frozen=True, eq=False)
class Plane:
    """Where a picture is in the patient, in DICOM's directions.

    Args:
        position: of its first pixel, in millimetres.
        right: the direction along a row.
        down: the direction along a column.
    """

    position: npt.NDArray[Any]
    right: npt.NDArray[Any]
    down: npt.NDArray[Any]

    @property
    def normal(self) -> npt.NDArray[Any]:
        """The direction from one slice to the next."""
        return np.cross(self.right, self.down)

    @property
    def depth(self) -> float:
        """The position along the normal, in millimetres."""
        return float(self.position @ self.normal)

    def describe(self, *, volume: bool) -> str:
        """A sentence on where the axes point."""
        axes = {"d": self.normal, "h": self.down, "w": self.right}
        if not volume:
            del axes["d"]
        return directions({name: vector * _LPS_TO_RAS for name, vector in axes.items()})


def plane(data: Any, frame: int = 0) -> Plane | None:
    """Where a frame is in the patient; None if the header does not state it."""
    position = numbers(field(data, "ImagePositionPatient", "PlanePositionSequence", frame))
    axes = numbers(field(data, "ImageOrientationPatient", "PlaneOrientationSequence", frame))
    if len(position) != 3 or len(axes) != 6:
        return None
    right, down = np.array(axes[:3]), np.array(axes[3:])
    lengths = np.linalg.norm(right), np.linalg.norm(down)
    if abs(lengths[0] - 1) > 0.01 or abs(lengths[1] - 1) > 0.01 or abs(right @ down) > 0.01:
        return None
    return Plane(np.array(position), right, down)


def pixel_spacing(data: Any) -> tuple[float, float] | None:
    """Millimetres from one row to the next, and from one column to the next."""
    value = numbers(field(data, "PixelSpacing", "PixelMeasuresSequence"))
    return (value[0], value[1]) if len(value) == 2 and min(value) > 0 else None
