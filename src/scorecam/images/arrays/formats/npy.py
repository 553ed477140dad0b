"""A NumPy array in a `.npy` file. Nothing is unpickled."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from scorecam.base.process_state import ignore_warnings
from scorecam.errors import PhotoError
from scorecam.images.arrays import checks
from scorecam.images.arrays.array_file import ArrayFile
from scorecam.images.arrays.keys import refuse_key
from scorecam.images.arrays.streams import filled
from scorecam.images.file_types import DAMAGED
from scorecam.io.arrays import HEADERS
from scorecam.io.reading import Kind, open_file

MAGIC: Final = b"\x93NUMPY"

_KIND: Final = Kind("a NumPy array file", checks.LARGEST, PhotoError)

_HEADER: Final = 16 * 2**10
"""The most bytes of a header; NumPy writes fewer than a thousand."""


def begins(head: bytes) -> bool:
    """Whether a file begins as a NumPy array."""
    return head.startswith(MAGIC)


def read(path: Path, key: str | None) -> ArrayFile:
    """The array in a file, with its axes as stored.

    Raises:
        PhotoError: it cannot be read, is damaged, or does not hold real numbers.
    """
    refuse_key(path.name, key)
    with open_file(path, _KIND) as file:
        array = read_array(file, os.fstat(file.fileno()).st_size, path.name)
    return as_stored(array, path.name)


def as_stored(array: npt.NDArray[Any], name: str) -> ArrayFile:
    """The result for a format that does not know where the channels are."""
    values, remarks = checks.as_float32(array, name)
    return ArrayFile(
        values,
        name,
        has_channels=False,
        whole=array.dtype.kind in "ui",
        levels=checks.states_levels(array.dtype),
        remarks=remarks,
    )


def read_array(file: BinaryIO, size: int, name: str) -> npt.NDArray[Any]:
    """The array in the stream of a `.npy` file; memory is allocated after its header is checked.

    Args:
        file: at its start.
        size: of the whole stream in bytes, as its container announces it.
        name: for errors.

    Raises:
        PhotoError: it is damaged, too large, or does not hold real numbers.
    """
    head = file.read(_HEADER)
    shape, columns_first, dtype, start = _header(head, name)
    checks.check_kind(dtype, name)
    checks.check_size(shape, dtype.itemsize, name)
    length = math.prod(shape) * dtype.itemsize
    if length != size - start:
        raise _damaged(name, f"its header announces {length:,} bytes, and it has {size - start:,}")
    buffer = filled(file, length, name, begin=head[start:])
    flat = np.frombuffer(buffer, dtype)
    return flat.reshape(shape, order="F" if columns_first else "C")


def _header(head: bytes, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """The shape, whether columns come first, the type, and the offset of the numbers."""
    stream = io.BytesIO(head)
    try:
        with ignore_warnings():  # NumPy warns about headers that Python 2 wrote
            version = np.lib.format.read_magic(stream)
            shape, columns_first, dtype = HEADERS[version](stream)
    except Exception as error:  # NumPy can raise anything for damaged headers
        raise _damaged(name, "it does not begin with the header of a NumPy array") from error
    return shape, columns_first, dtype, stream.tell()


def _damaged(name: str, problem: str) -> PhotoError:
    return PhotoError(
        f"{name} cannot be read: {problem}.",
        likely=DAMAGED[0],
        do="Copy it again, or save it again with numpy.save.",
    )
