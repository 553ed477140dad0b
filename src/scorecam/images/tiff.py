"""The pages of a TIFF file, read from its directories without decoding them.

Pillow reads the first page and does not mention the others. It also turns every value in a
directory into a Python number, and a small file can have millions of them.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

BEGINNINGS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

MOST_VALUES: Final = 2**20
"""The most numbers in all directories; 130 million pixels in tiles of 16 × 16 need half."""

MOST_PAGES: Final = 100
"""The most pages that are read."""

_MOST_ENTRIES = 4096
_SIZES = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8}
"""Bytes per value, for the integer types."""

_TEXTS = frozenset({1, 2, 7})
"""Types whose values Pillow keeps as bytes."""

_INNER = frozenset({34665, 34853, 40965})
"""Tags of directories that Pillow reads too: EXIF, GPS and interoperability."""


@dataclass(frozen=True)
class TiffPage:
    """A page of a TIFF file.

    Args:
        width, height: in pixels, as stored.
        bands: samples per pixel.
        bits: of the first sample.
        compression: its number in TIFF.
        reduced: whether it is a smaller copy of another page.
        raw: whether it belongs to a camera's raw file (DNG).
        palette: whether its values are numbers of colours.
        rgb: whether its bands are red, green and blue, and together in each pixel.
    """

    width: int
    height: int
    bands: int
    bits: int
    compression: int
    reduced: bool
    raw: bool
    palette: bool
    rgb: bool


def pages(file: BinaryIO) -> tuple[TiffPage, ...]:
    """The first pages of a TIFF file that can be read.

    Raises:
        ValueError: the directories have more entries or numbers than those of photos.
    """
    return tuple(itertools.islice(_Reader(file).pages(), MOST_PAGES))


def is_whole(file: BinaryIO) -> bool:
    """Whether a file contains all directories that it refers to.

    Raises:
        ValueError: see `pages`.
    """
    reader = _Reader(file)
    for _ in reader.pages():
        pass
    return reader.whole


class _Reader:
    """The directories of one file.

    Args:
        whole: whether all directories that were read so far are complete.
    """

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        head = file.read(16)
        self._file = file
        self._order = ">" if head[:2] == b"MM" else "<"
        self._big = b"+" in head[:4]
        self._first = self._number(head[8:16] if self._big else head[4:8])
        self._values = 0
        self._seen: set[int] = set()
        self.whole = True

    def pages(self) -> Iterator[TiffPage]:
        offset = self._first
        while offset and offset not in self._seen:
            tags, offset = self._directory(offset)
            if not {256, 257} <= tags.keys():
                return  # not a page, or the end
            yield TiffPage(
                width=tags[256],
                height=tags[257],
                bands=tags.get(277, 1),
                bits=tags.get(258, 1),
                compression=tags.get(259, 1),
                reduced=bool(tags.get(254, 0) & 1),
                raw=50706 in tags,
                palette=tags.get(262) == 3,
                rgb=tags.get(262) == 2 and tags.get(284, 1) == 1,
            )

    def _directory(self, offset: int) -> tuple[dict[int, int], int]:
        """The first number of each tag (0 if it has none), and the offset of the next directory."""
        self._seen.add(offset)
        wide = 8 if self._big else 2
        count = self._number(self._at(offset, wide))
        if count > _MOST_ENTRIES:
            raise ValueError(f"a directory has {count:,} entries")
        length = 20 if self._big else 12
        block = self._file.read(count * length)
        end = self._file.read(width := 8 if self._big else 4)
        self.whole &= count > 0 and len(block) == count * length and len(end) == width
        link = self._number(end)
        tags: dict[int, int] = {}
        for start in range(0, len(block) - length + 1, length):
            tag, kind = struct.unpack_from(f"{self._order}HH", block, start)
            rest = block[start + 4 : start + length]
            half = len(rest) // 2
            value = self._entry(kind, self._number(rest[:half]), rest[half:])
            tags.setdefault(tag, value)
            if tag in _INNER and value and value not in self._seen:
                self._directory(value)
        return tags, link

    def _entry(self, kind: int, count: int, field: bytes) -> int:
        self._values += 0 if kind in _TEXTS else count
        if self._values > MOST_VALUES:
            raise ValueError(f"its directories have more than {MOST_VALUES:,} numbers")
        size = _SIZES.get(kind, 0)
        if not (size and count):
            return 0
        if size * count > len(field):
            field = self._at(self._number(field), size)
        return self._number(field[:size])

    def _at(self, offset: int, size: int) -> bytes:
        """The bytes at an offset; fewer at the end of the file, where Pillow will fail too."""
        try:
            self._file.seek(offset)
        except (OSError, OverflowError, ValueError):
            return b""
        return self._file.read(size)

    def _number(self, content: bytes) -> int:
        return int.from_bytes(content, "big" if self._order == ">" else "little")
