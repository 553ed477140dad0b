"""Heatmaps as NumPy files: written with a checksum, and checked when they are read."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from scorecam.errors import RunError
from scorecam.io.arrays import read_npy
from scorecam.io.reading import Kind
from scorecam.runs.record import Unreadable, raise_if_missing

Grid = Annotated[npt.NDArray[np.float64], "u v"]

MAP = Kind("a map of a run", 2**26, RunError)


NOT_FLAT = "map that is not 2-D"
"""Why the map of a signal or a volume is not read."""


def map_bytes(grid: npt.NDArray[Any]) -> bytes:
    """The content of a map's file."""
    stream = io.BytesIO()
    np.save(stream, grid)
    return stream.getvalue()


def map_digest(grid: npt.NDArray[Any]) -> str:
    """SHA-256 of a map's file."""
    return hashlib.sha256(map_bytes(grid)).hexdigest()


def read_map(file: Path) -> npt.NDArray[Any]:
    """The array in a map's file; no memory is allocated for a header that declares too much.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged.
    """
    try:
        return read_npy(file, MAP)
    except RunError as error:
        raise_if_missing(error)
        raise ValueError(error.what) from error


def read_grid(file: Path, axes: int | None = 2) -> Grid:
    """A finite map.

    Args:
        axes: the number of its axes; None for any number.

    Raises:
        Unreadable: the map is missing or invalid.
    """
    try:
        array = read_map(file)
    except FileNotFoundError as error:
        raise Unreadable("missing map") from error
    except ValueError as error:
        raise Unreadable("damaged map") from error
    if array.dtype.kind != "f" or array.ndim == 0 or axes not in (None, array.ndim):
        raise Unreadable(NOT_FLAT if axes == 2 else "map of another form")
    grid = array.astype(np.float64)
    if not grid.size or not np.isfinite(grid).all():
        raise Unreadable("map with values out of range")
    return grid


def read_scaled(file: Path) -> Grid:
    """A map whose largest absolute value is at most 1.

    Raises:
        Unreadable: the map is missing or invalid.
    """
    grid = read_grid(file)
    if float(np.abs(grid).max()) > 1.01:
        raise Unreadable("map with values out of range")
    return grid
