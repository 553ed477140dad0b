"""The one place that opens image files.

Only formats on a list are tried: Pillow knows some that start another program (EPS: Ghostscript),
load plug-ins, or are read by code that nobody uses. What is opened is a regular file of bounded
size; its header is read, within limits, and nothing is decoded before its size is known.
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

from scorecam.base.process import quietly
from scorecam.errors import ScorecamError
from scorecam.images import kinds, tiff
from scorecam.images.memory import (
    HEADER,
    JPEG_HEADER,
    MAX_PIXELS,
    check_memory,
    check_pixels,
    memory_limit,
)
from scorecam.images.read_limit import Metered
from scorecam.io.reading import Kind, open_file

Source = str | os.PathLike[str] | bytes

PHOTO: Final = (
    "AVIF",
    "BMP",
    "GIF",
    "HEIF",  # only where the user has registered pillow-heif
    "JPEG",
    "JPEG2000",
    "PNG",
    "PPM",
    "TIFF",
    "WEBP",
    "TGA",  # has no beginning of its own, so it is tried last
)
"""Formats of photos."""

MASK: Final = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats of masks and maps in files."""

PICTURE: Final = ("JPEG", "PNG")
"""Formats of pictures for a page."""

VIEW: Final = ("JPEG",)
"""The format of pictures in banks and galleries."""

METADATA: Final = 2**20
"""The most bytes of EXIF in which the orientation is looked for."""

_PLAIN: Final = 32 * 2**20
"""The largest PPM file of numbers in text, which are decoded in Python."""

_PLUGINS: Final = {"JPEG2000": "Jpeg2K", "WEBP": "WebP"}
"""Modules of Pillow that are not spelled like their format."""


@dataclass(frozen=True)
class Accepts:
    """What may be opened.

    Args:
        name: what it is called in a sentence, such as "a photo".
        formats: Pillow's names of the formats that are tried.
        error: what is raised when it cannot be read.
        pixels: the most that it may have.
    """

    name: str
    formats: tuple[str, ...]
    error: type[ScorecamError]
    pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class Opened:
    """An image whose header is read, and which is not decoded.

    Args:
        image: what Pillow made of it.
        pages: of a TIFF file.
    """

    image: Image.Image
    pages: tuple[tiff.Page, ...]


@contextmanager
def opened(source: Source, accepts: Accepts, name: str = "") -> Generator[Opened]:
    """An image to be decoded inside the `with` block, where any error says that it is damaged.

    Args:
        source: the path of a file, or the content of one.
        accepts: what may be opened.
        name: in errors; the path where empty.

    Raises:
        ScorecamError: `accepts.error`: there is no such file, or it cannot be read, is too large,
            or would take too much memory.
        SettingError: the limit on memory is set to something else.
    """
    known = name or (name if isinstance(source, bytes) else os.fspath(source))
    image: Image.Image | None = None
    # Pillow warns of large sizes and odd metadata.
    with _stream(source, accepts) as (file, size), quietly():
        try:
            found = _identified(file, size, known, accepts)
            image = found.image
            yield found
        except ScorecamError:
            raise
        except Exception as error:  # noqa: BLE001  readers of damaged files raise what they do
            _refuse(error, known, accepts)
        finally:
            if image is not None:
                image.close()


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none, or the metadata is damaged or huge."""
    if metadata_is_huge(image):
        return 1
    try:
        # A PNG's own `getexif` would decode the photo.
        return int(Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  damaged metadata is no reason to refuse a photo
        return 1


def metadata_is_huge(image: Image.Image) -> bool:
    """Whether the EXIF is so long that its orientation is not looked for."""
    blobs = (image.info.get(key) for key in ("exif", "Raw profile type exif"))
    return any(isinstance(blob, bytes | str) and len(blob) > METADATA for blob in blobs)


@contextmanager
def _stream(source: Source, accepts: Accepts) -> Generator[tuple[BinaryIO, int]]:
    """The content as a file, and its size in bytes."""
    if isinstance(source, bytes):
        yield io.BytesIO(source), len(source)
        return
    with open_file(source, Kind(accepts.name, memory_limit() // 2, accepts.error)) as file:
        yield file, os.fstat(file.fileno()).st_size


def _identified(file: BinaryIO, size: int, name: str, accepts: Accepts) -> Opened:
    """The image, once its header shows that decoding it is safe."""
    head = file.read(kinds.HEAD)
    if not head:
        raise accepts.error(f"{name} is empty.", likely=kinds.DAMAGED[0], do="Fetch it again.")
    if words := kinds.refused(name, head):
        raise _not_read(name, accepts, words)
    pages = tiff.pages(file) if head.startswith(tiff.BEGINNINGS) else ()
    if pages and pages[0].raw:
        raise _not_read(name, accepts, kinds.RAW)
    whole = head.startswith(b"RIFF") or head[4:8] == b"ftyp"
    if whole and size > memory_limit() // 8:
        raise _hostile(name, accepts, "is too large for a file of its kind")
    excess = _hostile(name, accepts, "has more metadata, or more parts, than a photo has")
    metered = Metered(file, excess, JPEG_HEADER if head.startswith(b"\xff\xd8") else HEADER)
    try:
        image = Image.open(metered, formats=_formats(accepts))  # type: ignore[arg-type]
    except UnidentifiedImageError as error:
        raise _not_read(name, accepts, kinds.unreadable(name, head, pages)) from error
    _check(image, size, name, accepts)
    metered.allow(4 * size + HEADER)
    return Opened(image, pages)


def _check(image: Image.Image, size: int, name: str, accepts: Accepts) -> None:
    """Refuse what would take too much memory or time to decode."""
    check_pixels(image.width, image.height, name, accepts.error)
    if image.width * image.height > accepts.pixels:
        raise accepts.error(f"{name} has more than {accepts.pixels:,} pixels.")
    check_memory(image, name, accepts.error, size)
    tiles = getattr(image, "tile", None)
    if size > _PLAIN and tiles and tiles[0][0] == "ppm_plain":
        raise _hostile(name, accepts, "is too large for a file of numbers in text")


def _formats(accepts: Accepts) -> list[str]:
    """The allowed formats that this Pillow can read."""
    for name in accepts.formats:
        _register(name)
    return [name for name in accepts.formats if name in Image.OPEN]


@functools.cache
def _register(name: str) -> None:
    """Let Pillow know one of its formats: `Image.open` would import all of them."""
    with contextlib.suppress(ImportError):  # pillow-heif's is not Pillow's
        importlib.import_module(f"PIL.{_PLUGINS.get(name, name.capitalize())}ImagePlugin")


def _not_read(name: str, accepts: Accepts, words: kinds.Words) -> ScorecamError:
    what = f"{name} is not {accepts.name} that can be read."
    if accepts.formats == VIEW:
        what = f"{name} is not a JPEG that can be read."
    return accepts.error(what, likely=words[0], do=words[1])


def _hostile(name: str, accepts: Accepts, what: str) -> ScorecamError:
    return accepts.error(
        f"{name} {what}.",
        likely="It is damaged, or made to exhaust memory or time.",
        do="Open it in an image editor and save it as PNG.",
    )


def _refuse(error: Exception, name: str, accepts: Accepts) -> NoReturn:
    """Say in words what went wrong while an image was opened or decoded."""
    if isinstance(error, Image.DecompressionBombError):
        if (Image.MAX_IMAGE_PIXELS or MAX_PIXELS) * 2 >= MAX_PIXELS - 1:
            check_pixels(MAX_PIXELS, 2, name, accepts.error)
        raise accepts.error(
            f"{name} has more pixels than Pillow was told to accept.",
            do="Scale it down, or raise PIL.Image.MAX_IMAGE_PIXELS.",
        ) from error
    likely, do = kinds.DAMAGED
    said = str(error).strip().rstrip(".") or type(error).__name__
    short = said if len(said) <= 200 else f"{said[:200]}…"
    raise accepts.error(f"{name} cannot be decoded: {short}.", likely=likely, do=do) from error
