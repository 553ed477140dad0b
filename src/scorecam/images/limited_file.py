"""A file that raises an error if too many bytes are read, or too many times.

Some formats have chunks, blocks or directories that can repeat, so that a small file can keep its
decoder busy for minutes, or make it copy the same bytes many times.
"""

from __future__ import annotations

from typing import BinaryIO, Final

from scorecam.errors import ScorecamError

HEADER_READS: Final = 20_000
"""The most reads of a header; photos take a few hundred."""

BODY_READS: Final = 600_000
"""The most reads of the pixels; Pillow may take ten microseconds for each."""


class LimitedFile:
    """A binary file that limits how many bytes can be read, and how often.

    Args:
        file: the file.
        error: raised at the limit.
        most: the most bytes to read, not counting a read of the rest of the file.
    """

    def __init__(self, file: BinaryIO, error: ScorecamError, most: int) -> None:
        self._file = file
        self._error = error
        self._bytes = most
        self._reads = HEADER_READS

    def allow(self, most: int) -> None:
        """Start the limits for the pixels: at most `most` bytes from here on."""
        self._bytes = most
        self._reads = BODY_READS

    def read(self, size: int = -1, /) -> bytes:
        content = self._file.read(size)
        if size >= 0:  # the rest can be read only once
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

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def flush(self) -> None:
        return None

    def close(self) -> None:
        """Leave the file open; its owner closes it."""

    def _count(self, number: int) -> None:
        self._bytes -= number
        self._reads -= 1
        if min(self._bytes, self._reads) < 0:
            raise self._error
