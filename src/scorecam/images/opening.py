"""The only place where image files are opened.

Only listed formats are tried: Pillow has some that start another program (EPS: Ghostscript), load
plug-ins, or are rarely used. Only regular files of limited size are opened. The header is read
within limits, and nothing is decoded before the size of the image is known.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, NoReturn

from PIL import ExifTags, Image, UnidentifiedImageError

from scorecam.base.process_state import ignore_warnings
from scorecam.errors import ScorecamError
from scorecam.images import file_types, tiff
from scorecam.images.limited_file import LimitedFile
from scorecam.images.memory import (
    HEADER,
    JPEG_HEADER,
    MAX_PIXELS,
    check_memory,
    check_pixels,
    memory_limit,
)
from scorecam.io.reading import Kind as FileKind
from scorecam.io.reading import open_file

Source = str | os.PathLike[str] | bytes

PHOTO_FORMATS: Final = (
    "AVIF",
    "BMP",
    "GIF",
    "HEIF",  # only if the user has registered pillow-heif
    "JPEG",
    "JPEG2000",
    "PNG",
    "PPM",
    "TIFF",
    "WEBP",
    "TGA",  # has no signature, so it is tried last
)
"""Formats of photos."""

MASK_FORMATS: Final = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats of masks and maps in files."""

PAGE_FORMATS: Final = ("JPEG", "PNG")
"""Formats of pictures for a page."""

VIEW_FORMATS: Final = ("JPEG",)
"""The format of pictures in banks and galleries."""

METADATA: Final = 2**20
"""The most bytes of EXIF from which the orientation is read."""

_PLAIN: Final = 32 * 2**20
"""The largest PPM file with its numbers as text, in bytes; Pillow decodes these in Python."""

_PLUGINS: Final = {"JPEG2000": "Jpeg2K", "WEBP": "WebP"}
"""Formats whose Pillow module has another spelling."""


@dataclass(frozen=True)
class ImageKind:
    """A kind of image, and what is accepted as one.

    Args:
        name: used in errors, such as "a photo".
        formats: Pillow's names of the formats to try.
        error: raised if the image cannot be read.
        pixels: the most pixels.
    """

    name: str
    formats: tuple[str, ...]
    error: type[ScorecamError]
    pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class OpenedImage:
    """An image that is not decoded yet; its header has been checked.

    Args:
        image: as Pillow opened it.
        pages: of a TIFF file.
    """

    image: Image.Image
    pages: tuple[tiff.TiffPage, ...]


@contextmanager
def open_image(source: Source, kind: ImageKind, name: str = "") -> Generator[OpenedImage]:
    """An image to decode inside the `with` block; an exception there means that it is damaged.

    Args:
        source: the path or the content of a file.
        kind: what is accepted.
        name: used in errors; the path if empty.

    Raises:
        ScorecamError: `kind.error`: there is no such file, or it cannot be read, is too large, or
            would take too much memory.
        SettingError: the limit on memory is not an amount of memory.
    """
    label = name or (name if isinstance(source, bytes) else os.fspath(source))
    image: Image.Image | None = None
    # Pillow warns about large sizes and unusual metadata.
    with _stream(source, kind) as (file, size), ignore_warnings():
        try:
            opened = _identified(file, size, label, kind)
            image = opened.image
            yield opened
        except ScorecamError:
            raise
        except Exception as error:  # noqa: BLE001  decoders raise any error for damaged files
            _refuse(error, label, kind)
        finally:
            if image is not None:
                image.close()


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if there is none, or the metadata is damaged or huge."""
    if metadata_is_huge(image):
        return 1
    try:
        # A PNG's own `getexif` would decode the photo.
        return int(Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  damaged metadata does not make a photo unreadable
        return 1


def metadata_is_huge(image: Image.Image) -> bool:
    """Whether there is so much EXIF metadata that its orientation is not read."""
    blobs = (image.info.get(key) for key in ("exif", "Raw profile type exif"))
    return any(isinstance(blob, bytes | str) and len(blob) > METADATA for blob in blobs)


@contextmanager
def _stream(source: Source, kind: ImageKind) -> Generator[tuple[BinaryIO, int]]:
    """The content as a file, and its size in bytes."""
    if isinstance(source, bytes):
        yield io.BytesIO(source), len(source)
        return
    with open_file(source, FileKind(kind.name, memory_limit() // 2, kind.error)) as file:
        yield file, os.fstat(file.fileno()).st_size


def _identified(file: BinaryIO, size: int, name: str, kind: ImageKind) -> OpenedImage:
    """The image, if its header shows that decoding is safe."""
    head = file.read(file_types.HEAD)
    if not head:
        raise kind.error(
            f"{name} is empty.", likely=file_types.DAMAGED[0], do="Download or copy it again."
        )
    if words := file_types.describe_non_photo(name, head):
        raise _not_read(name, kind, words)
    pages = tiff.pages(file) if head.startswith(tiff.BEGINNINGS) else ()
    if pages and pages[0].raw:
        raise _not_read(name, kind, file_types.RAW)
    whole = head.startswith(b"RIFF") or head[4:8] == b"ftyp"
    if whole and size > memory_limit() // 8:
        raise _hostile(name, kind, "is too large for a file of its format")
    excess = _hostile(name, kind, "has more metadata or more parts than photos have")
    metered = LimitedFile(file, excess, JPEG_HEADER if head.startswith(b"\xff\xd8") else HEADER)
    try:
        image = Image.open(metered, formats=_formats(kind))  # type: ignore[arg-type]
    except UnidentifiedImageError as error:
        raise _not_read(name, kind, file_types.describe_unreadable(name, head, pages)) from error
    _check(image, size, name, kind)
    metered.allow(4 * size + HEADER)
    return OpenedImage(image, pages)


def _check(image: Image.Image, size: int, name: str, kind: ImageKind) -> None:
    """Refuse images that would take too much memory or time to decode."""
    check_pixels(image.width, image.height, name, kind.error)
    if image.width * image.height > kind.pixels:
        raise kind.error(f"{name} has more than {kind.pixels:,} pixels.")
    check_memory(image, name, kind.error, size)
    tiles = getattr(image, "tile", None)
    if size > _PLAIN and tiles and tiles[0][0] == "ppm_plain":
        raise _hostile(name, kind, "is too large for a file of numbers as text")


def _formats(kind: ImageKind) -> list[str]:
    """The formats of a kind that this version of Pillow can read."""
    for name in kind.formats:
        _register(name)
    return [name for name in kind.formats if name in Image.OPEN]


@functools.cache
def _register(name: str) -> None:
    """Import the Pillow module of one format; `Image.open` would import all of them."""
    with contextlib.suppress(ImportError):  # HEIF belongs to pillow-heif
        importlib.import_module(f"PIL.{_PLUGINS.get(name, name.capitalize())}ImagePlugin")


def _not_read(name: str, kind: ImageKind, words: file_types.Words) -> ScorecamError:
    what = f"{name} is not {kind.name} that can be read."
    if kind.formats == VIEW_FORMATS:
        what = f"{name} is not a JPEG that can be read."
    return kind.error(what, likely=words[0], do=words[1])


def _hostile(name: str, kind: ImageKind, what: str) -> ScorecamError:
    return kind.error(
        f"{name} {what}.",
        likely="It is damaged, or designed to exhaust memory or time.",
        do="Open it in an image editor and save it as PNG.",
    )


def _refuse(error: Exception, name: str, kind: ImageKind) -> NoReturn:
    """Raise the error for an exception while an image was opened or decoded."""
    if isinstance(error, Image.DecompressionBombError):
        if (Image.MAX_IMAGE_PIXELS or MAX_PIXELS) * 2 >= MAX_PIXELS - 1:
            check_pixels(MAX_PIXELS, 2, name, kind.error)
        raise kind.error(
            f"{name} has more pixels than PIL.Image.MAX_IMAGE_PIXELS allows.",
            do="Scale it down, or raise PIL.Image.MAX_IMAGE_PIXELS.",
        ) from error
    likely, do = file_types.DAMAGED
    message = str(error).strip().rstrip(".") or type(error).__name__
    short = message if len(message) <= 200 else f"{message[:200]}…"
    raise kind.error(f"{name} cannot be decoded: {short}.", likely=likely, do=do) from error
