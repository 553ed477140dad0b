"""Reading a known number of bytes from a stream that may be compressed."""

from __future__ import annotations

from typing import Any, BinaryIO, Final

from scorecam.errors import PhotoError
from scorecam.images.file_types import DAMAGED

_STEP: Final = 2**20
"""Bytes that are read at once: a compressed stream needs as many again."""


def filled(file: BinaryIO, length: int, name: str, *, begin: bytes = b"") -> bytearray:
    """The next bytes of a stream, exactly `length` with those in `begin`.

    Args:
        file: read from its current place.
        length: how many bytes, checked against the limit on memory.
        name: for the error.
        begin: the first bytes, if they have been read already.

    Raises:
        PhotoError: the stream ends earlier.
    """
    buffer = bytearray(length)
    view = memoryview(buffer)
    done = min(len(begin), length)
    view[:done] = begin[:done]
    stream: Any = file
    while done < length:
        count = stream.readinto(view[done : done + _STEP])
        if not count:
            raise ends_early(name, done, length)
        done += count
    return buffer


def skip(file: BinaryIO, length: int) -> None:
    """Read and forget bytes of a stream, up to its end."""
    while length > 0 and (part := file.read(min(length, _STEP))):
        length -= len(part)


def ends_early(name: str, done: int, length: int) -> PhotoError:
    """The error for a file that has fewer bytes than its header announces."""
    return PhotoError(
        f"{name} ends after {done:,} of {length:,} bytes.", likely=DAMAGED[0], do="Copy it again."
    )
