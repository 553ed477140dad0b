"""A file that says stop: whoever reads too much of it, or too often, is interrupted.

Formats with loops in them (chunks, blocks, directories) let a small file keep its reader busy for
minutes, or make it copy the same bytes again and again.
"""

from __future__ import annotations

from typing import BinaryIO, Final

from scorecam.errors import ScorecamError

HEADER_READS: Final = 20_000
"""Reads that may go into a header: photos take some hundred."""

BODY_READS: Final = 600_000
"""Reads that may go into the pixels: Pillow may take ten microseconds for each."""


class Metered:
    """A binary file of which only so much is read.

    Args:
        file: what is read.
        error: what is raised when the limit is reached.
        most: bytes that may be read in parts of a given size.
    """

    def __init__(self, file: BinaryIO, error: ScorecamError, most: int) -> None:
        self._file = file
        self._error = error
        self._bytes = most
        self._reads = HEADER_READS

    def allow(self, most: int) -> None:
        """Begin with the pixels: `most` bytes may be read from here on."""
        self._bytes = most
        self._reads = BODY_READS

    def read(self, size: int = -1, /) -> bytes:
        content = self._file.read(size)
        if size >= 0:  # all of the rest is read once
            self._count(len(content))
        return content

    def readline(self, size: int = -1, /) -> bytes:
        content = self._file.readline(size)
        self._count(len(content))
        return content

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        return self._file.fileno()

    def flush(self) -> None:
        return None

    def close(self) -> None:
        """Leave the file open: whoever opened it closes it."""

    def _count(self, number: int) -> None:
        self._bytes -= number
        self._reads -= 1
        if min(self._bytes, self._reads) < 0:
            raise self._error
