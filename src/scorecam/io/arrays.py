"""NumPy's files from elsewhere: a header that promises more than there is costs no memory."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from scorecam.io.reading import Kind, PathLike, read_bytes

Header = Callable[[BinaryIO], tuple[tuple[int, ...], bool, np.dtype[Any]]]

HEADERS: Final[dict[tuple[int, int], Header]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
"""The versions of the format that arrays of plain numbers are written in."""


def read_npy(path: PathLike, kind: Kind) -> npt.NDArray[Any]:
    """The array of numbers in a `.npy` file, in this machine's byte order; nothing is unpickled.

    Memory: at most three times the file's size.

    Raises:
        ScorecamError: `kind.error`: as for `reading.read_bytes`.
        ValueError: it is damaged, or does not hold numbers.
    """
    content = read_bytes(path, kind)
    shape, dtype, start = _header(content)
    if dtype.kind not in "biuf" or min(shape, default=0) < 0:
        raise ValueError("it does not hold plain numbers")
    if math.prod(shape) * dtype.itemsize != len(content) - start:
        raise ValueError("its header describes an array of another size")
    try:
        stream = io.BytesIO(content)
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except Exception as error:  # damaged headers raise what numpy's reader happens to
        raise ValueError("it is damaged") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def _header(content: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """The shape and the type of the array in a file, and where its numbers start."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in HEADERS:
            raise ValueError("it is in an unknown version of the format")
        shape, _, dtype = HEADERS[version](stream)
    except Exception as error:  # damaged headers raise what numpy's reader happens to
        raise ValueError("it is not a NumPy array, or damaged") from error
    return shape, dtype, stream.tell()
