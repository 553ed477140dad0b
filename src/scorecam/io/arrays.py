"""Reading untrusted NumPy files; a wrong size in the header allocates no memory."""

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
"""Readers of the header, by version of the format."""


def read_npy(path: PathLike, kind: Kind) -> npt.NDArray[Any]:
    """The array of numbers in a `.npy` file, in this machine's byte order; nothing is unpickled.

    Memory: at most three times the file's size.

    Raises:
        ScorecamError: `kind.error`: as for `reading.read_bytes`.
        ValueError: it is damaged, or does not contain numbers.
    """
    content = read_bytes(path, kind)
    shape, dtype, start = _header(content)
    if dtype.kind not in "biuf" or min(shape, default=0) < 0:
        raise ValueError("it does not contain plain numbers")
    if math.prod(shape) * dtype.itemsize != len(content) - start:
        raise ValueError("its header does not match its size")
    try:
        stream = io.BytesIO(content)
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except Exception as error:  # numpy can raise anything for damaged headers
        raise ValueError("it is damaged") from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def _header(content: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """The shape and the type of the array in a file, and the offset of its numbers."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in HEADERS:
            raise ValueError("it is in an unknown version of the format")
        shape, _, dtype = HEADERS[version](stream)
    except Exception as error:  # numpy can raise anything for damaged headers
        raise ValueError("it is not a NumPy array, or it is damaged") from error
    return shape, dtype, stream.tell()
