"""Where the axes of a medical picture point in the patient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_ENDS: Final = (("left", "right"), ("back", "front"), ("feet", "head"))
"""The ends of each axis of the patient, in the order and direction of NIfTI."""

_ALIGNED: Final = 0.99
"""The cosine from which on an axis counts as parallel to one of the patient."""


def directions(axes: Mapping[str, npt.NDArray[Any]]) -> str:
    """A sentence on where axes point.

    Args:
        axes: their names, and their directions in the patient: to the right, to the front and to
            the head.
    """
    parts: list[str] = []
    for name, vector in axes.items():
        length = float(np.linalg.norm(vector))
        place = int(np.abs(vector).argmax())
        end = _ENDS[place][int(vector[place] > 0)]
        mainly = "" if abs(vector[place]) >= _ALIGNED * length else "mainly "
        parts.append(f"{name} runs {mainly}to the patient's {end}")
    return f"{', '.join(parts)}."
