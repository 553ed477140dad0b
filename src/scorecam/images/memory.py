"""The limit on the memory for reading an image, and an estimate of it from the header."""

from __future__ import annotations

import os
from typing import Any, Final

from PIL import Image

from scorecam.base.amounts import bytes_of
from scorecam.errors import ScorecamError, SettingError

MAX_PIXELS: Final = 178_956_970
"""The most pixels of an image: Pillow's default hard limit."""

PHOTO_MEMORY: Final = 2**30
"""The most memory for reading an image, in bytes, unless `SETTING` is set."""

SETTING: Final = "SCORECAM_PHOTO_MEMORY"
"""The environment variable for another limit: bytes, or an amount such as 4GiB."""

HEADER: Final = 64 * 2**20
"""The most bytes of metadata that are read."""

JPEG_HEADER: Final = 16 * 2**20
"""The same for JPEG: Pillow turns its EXIF into Python numbers when it opens the file."""

COPIED: Final = 8.0
"""Bytes per pixel for the decoded image and its copy in RGB."""

_WORKING: Final = 16 * 2**20
"""Bytes for the tiles in which a photo is converted."""

WHOLE: Final = frozenset({"AVIF", "HEIF", "WEBP"})
"""Formats whose files are kept in memory, in up to three copies."""


def memory_limit() -> int:
    """The most memory for reading an image, in bytes.

    Raises:
        SettingError: the environment variable is not an amount of memory.
    """
    text = os.environ.get(SETTING, "").strip()
    if not text:
        return PHOTO_MEMORY
    limit = bytes_of(text)
    if not limit:
        raise SettingError(
            f"{SETTING} is {text[:40]!r}, which is not an amount of memory.",
            do=f"Set it to a number of bytes or to an amount such as 4GiB, or unset it for "
            f"{amount(PHOTO_MEMORY)}.",
        )
    return limit


def check_pixels(width: int, height: int, name: str, error: type[ScorecamError]) -> None:
    """Refuse images with too many pixels, or none.

    Raises:
        ScorecamError: `error`: there are more than `MAX_PIXELS`, or none.
    """
    if width * height > MAX_PIXELS:
        raise error(
            f"{name} has more than {MAX_PIXELS:,} pixels.",
            likely="It is a scan, a map or a panorama, or designed to exhaust memory.",
            do="Crop it or scale it down.",
        )
    if not (width > 0 and height > 0):
        raise error(f"{name} is {width} × {height}: it has no pixels.")


def check_memory(image: Image.Image, name: str, error: type[ScorecamError], content: int) -> None:
    """Refuse images that would take more memory than the limit, before they are decoded.

    Args:
        content: the size of the file in bytes; 0 without a file.

    Raises:
        ScorecamError: `error`: reading it would take too much.
        SettingError: see `memory_limit`.
    """
    needed = int(image.width * image.height * max(COPIED, _bytes_per_pixel(image)))
    needed += _file_bytes(image.format, content) + _WORKING
    check_needed(image.size, needed, name, error)


def check_needed(size: tuple[int, int], needed: int, name: str, error: type[ScorecamError]) -> None:
    """Refuse an image of this (width, height) that needs more memory than the limit.

    Args:
        needed: bytes.

    Raises:
        ScorecamError: `error`: it needs more.
        SettingError: see `memory_limit`.
    """
    limit = memory_limit()
    if needed <= limit:
        return
    raise error(
        f"{name} has {size[0]:,} × {size[1]:,} pixels; reading it could take "
        f"{amount(needed)} of memory, and the limit is {amount(limit)}.",
        likely="It is a scan, a map or a panorama, or designed to exhaust memory.",
        do=f"Scale it down or crop it. If there is enough memory, set {SETTING}, "
        f"for example to {-(-needed // 2**30) + 1}GiB.",
    )


def _file_bytes(kind: str | None, content: int) -> int:
    """Bytes that the file itself or its metadata may take."""
    if kind in WHOLE:
        return 3 * content
    if kind in {"JPEG", "MPO"}:
        return 5 * min(content, JPEG_HEADER)
    return 0 if kind in {"BMP", "PPM", "TGA"} else 3 * min(content, HEADER)


def _bytes_per_pixel(image: Image.Image) -> float:
    """Bytes per pixel at the peak of decoding, with the result, as measured for each format."""
    mode = image.mode
    stored = 1 if mode in {"1", "L", "P"} else 2 if mode.startswith("I;16") else 4
    bands = len(image.getbands())
    if image.format in {"JPEG", "MPO"}:
        return stored + (0.0 if _in_one_scan(image) else 2.0 * bands)
    if image.format == "TIFF":  # a strip may be the whole image
        return stored + {"F": 8.0, "I": 4.0}.get(mode, 2.0 * bands)
    if image.format == "JPEG2000":
        return 6.5 * bands
    return 16.0 if image.format in WHOLE else stored


def _in_one_scan(image: Image.Image) -> bool:
    """Whether a JPEG is decoded row by row; otherwise all coefficients are kept in memory."""
    if image.info.get("progressive"):
        return False
    file: Any = getattr(image, "fp", None)
    if file is None:  # already decoded
        return True
    # Pillow has just read the header of the first scan. Look for one that has all bands.
    length = 6 + 2 * len(image.getbands())
    end = file.tell()
    file.seek(max(0, end - length - 2))
    marker = file.read(4)
    file.seek(end)
    return marker == b"\xff\xda" + length.to_bytes(2, "big")


def amount(number: int) -> str:
    """A number of bytes in words."""
    return f"{number / 2**30:.1f} GiB" if number >= 2**28 else f"{number / 2**20:.1f} MiB"
