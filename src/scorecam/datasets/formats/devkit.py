"""The development kit of ImageNet: the class of each ILSVRC id."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any, Final

from scorecam.base.wording import excerpt
from scorecam.errors import DatasetError
from scorecam.io.extras import require
from scorecam.io.reading import Kind, read_bytes

META: Final = Kind("the development kit's meta.mat", 2**24, DatasetError)
LARGEST: Final = 2**26
"""The most bytes of the decompressed file."""

_HEADER: Final = 128
_COMPRESSED: Final = 15


def read_meta(path: Path) -> dict[int, str]:
    """ILSVRC id → WordNet id, from the development kit.

    Raises:
        DatasetError: it cannot be read.
        MissingExtra: scipy is not installed.
    """
    matlab = require("scipy.io", "eval", f"read {excerpt(path, 200)}")
    content = read_bytes(path, META)
    try:
        _check_size(content)
        values = matlab.loadmat(io.BytesIO(content), squeeze_me=True, variable_names=["synsets"])
        synsets: Any = values["synsets"]
        pairs = zip(synsets["ILSVRC2012_ID"].tolist(), synsets["WNID"].tolist(), strict=True)
        return {int(number): str(wnid) for number, wnid in pairs if int(number) <= 1000}
    except Exception as error:  # scipy raises many kinds of errors for damaged files
        raise DatasetError(f"{excerpt(path, 200)} cannot be read: {excerpt(error)}.") from error


def _check_size(content: bytes) -> None:
    """Check the decompressed size: scipy itself has no limit."""
    order = "<" if content[_HEADER - 2 : _HEADER] == b"IM" else ">"
    place, total = _HEADER, 0
    while place + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, place)
        place += 8
        if kind == _COMPRESSED:
            total += len(_decompressed(content[place : place + size], LARGEST + 1 - total))
        if total > LARGEST:
            raise ValueError(f"it holds more than {LARGEST:,} bytes")
        place += size


def _decompressed(packed: bytes, most: int) -> bytes:
    return zlib.decompressobj().decompress(packed, most)
