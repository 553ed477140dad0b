"""Reader of Qt's binary resource files (.rcc), which hold the photographs of GCompris.

A header points to the tree of nodes, to the names and to the data. All nodes have the same size.
All numbers are big-endian. The node of a folder has the number and the first index of its children,
which follow each other.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

ZLIB, FOLDER, ZSTD = 1, 2, 4
"""Flags of a node."""


def read(file: bytes) -> Iterator[tuple[str, bytes]]:
    """Every file in the archive, as path and content.

    Raises:
        ValueError: this is not an .rcc file, or a file in it is compressed with Zstandard.
    """
    magic, version, tree, data, names = struct.unpack_from(">4sIIII", file)
    if magic != b"qres":
        raise ValueError(f"Not a Qt resource file: it starts with {magic!r}.")
    size = 14 if version == 1 else 22  # later versions add the modification time

    def name(offset: int) -> str:
        (length,) = struct.unpack_from(">H", file, names + offset)
        start = names + offset + 6  # after the length and a hash
        return file[start : start + 2 * length].decode("utf-16-be")

    def walk(index: int, above: str) -> Iterator[tuple[str, bytes]]:
        at = tree + index * size
        own, flags = struct.unpack_from(">IH", file, at)
        path = f"{above}/{name(own)}".lstrip("/") if index else ""  # the root has no name
        if flags & FOLDER:
            count, first = struct.unpack_from(">II", file, at + 6)
            for child in range(first, first + count):
                yield from walk(child, path)
        else:
            (offset,) = struct.unpack_from(">I", file, at + 10)  # after country and language
            yield path, _content(file, data + offset, flags)

    return walk(0, "")


def _content(file: bytes, start: int, flags: int) -> bytes:
    (length,) = struct.unpack_from(">I", file, start)
    content = file[start + 4 : start + 4 + length]
    if flags & ZSTD:
        raise ValueError(
            "A file in the archive is compressed with Zstandard, which is not supported."
        )
    return zlib.decompress(content[4:]) if flags & ZLIB else content
