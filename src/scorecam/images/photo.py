"""Photos from files, PIL images and arrays, as upright RGB images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from scorecam.base.process_state import ignore_warnings
from scorecam.errors import PhotoError, did_you_mean
from scorecam.images.memory import MAX_PIXELS, check_memory, check_pixels
from scorecam.images.opening import (
    PHOTO_FORMATS,
    ImageKind,
    OpenedImage,
    metadata_is_huge,
    open_image,
    orientation,
)
from scorecam.images.pixels import array_to_rgb, dark_colours, has_sixteen_bits, to_rgb
from scorecam.images.tiff import MOST_PAGES

__all__ = ["ACCEPTS", "MAX_PIXELS", "read", "read_photo", "ReadPhoto"]

Source = str | os.PathLike[str] | Image.Image | npt.NDArray[Any]

ACCEPTS: Final = ImageKind("a photo", PHOTO_FORMATS, PhotoError)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transpose that turns a photo upright, by EXIF orientation."""


@dataclass(frozen=True)
class ReadPhoto:
    """A photo that was read.

    Args:
        image: RGB and upright.
        remarks: sentences on what was left out or changed.
    """

    image: Image.Image
    remarks: tuple[str, ...] = ()


def read_photo(source: Source) -> Image.Image:
    """The photo as a new upright RGB image; `read` also returns remarks."""
    return read(source).image


def read(source: Source) -> ReadPhoto:
    """The photo as a new RGB image, turned upright by its EXIF orientation.

    Files and PIL images may have any mode. Transparent parts become white. Of several frames or
    pages, only the first is read; a stack of grey pages of one size is refused, because they may be
    bands. 16-bit greys keep their full scale, unless all are below 4096: then they are read as 8,
    10 or 12 bits. 32-bit integers are read as 16-bit and floats as [0, 1] if they are in that
    range; otherwise they are stretched from the lowest to the highest value. Colour profiles are
    not applied, as in the usual training pipelines. A remark describes everything that is read
    differently from how it is stored. Arrays are uint8 in 0..255 or float in [0, 1], shaped
    (height, width, 3) or (height, width).

    Raises:
        PhotoError: the source cannot be read, has more than `MAX_PIXELS`, or would take more memory
            than the limit (1 GiB, or the value of SCORECAM_PHOTO_MEMORY). Both are checked in the
            header, before anything is decoded.
        SettingError: SCORECAM_PHOTO_MEMORY is not an amount of memory.
    """
    if isinstance(source, np.ndarray):
        return ReadPhoto(array_to_rgb(np.asarray(source)))
    if isinstance(source, Image.Image):
        return _from_image(source)
    try:
        path = Path(source)
    except TypeError:
        raise PhotoError(
            f"A photo cannot be read from a value of type {type(source).__name__}.",
            do="Give the path of a file, a PIL image, or a numpy array (height, width, 3).",
        ) from None
    try:
        with open_image(path, ACCEPTS) as opened:
            remarks = _unread(opened, path)
            return _decoded(opened.image, path.name, remarks, own=True)
    except PhotoError as error:
        if isinstance(error.__cause__, OSError | ValueError):
            _explain(path, error)
        raise


# ── files ────────────────────────────────────────────────────────────────────────────────────


def _explain(path: Path, error: PhotoError) -> NoReturn:
    """Raise a more specific error for a file that cannot be opened, if there is one."""
    cause = error.__cause__
    if isinstance(cause, PermissionError):
        raise PhotoError(
            f"{path} cannot be read: permission denied.",
            likely="It belongs to another user.",
            do="Change its permissions, or copy it to one of your folders.",
        ) from cause
    if not isinstance(cause, FileNotFoundError | NotADirectoryError):
        raise error
    if str(path).startswith(("http:/", "https:/")):
        raise PhotoError(
            "A photo is read from a file, not from a web address.", do="Save it first."
        ) from cause
    near = ""
    if path.parent.is_dir():
        near = did_you_mean(path.name, (entry.name for entry in path.parent.iterdir()))
    raise PhotoError(
        f"There is no file {path}.",
        likely="Its name is misspelled, or its path is relative to another folder.",
        do=near or f"Relative paths start from {Path.cwd()}.",
    ) from cause


def _unread(opened: OpenedImage, path: Path) -> list[str]:
    """Remarks on pictures in a file that are not read.

    Raises:
        PhotoError: it is not clear which picture in the file is the photo.
    """
    image, name = opened.image, path.name
    if image.format == "TIFF":
        return _unread_pages(opened, path)
    # Not MPO: phones add a smaller picture or a depth map to each photo.
    if image.format in {"AVIF", "GIF", "PNG", "WEBP"} and getattr(image, "is_animated", False):
        return [f"{name} has several frames; only the first is read."]
    return []


def _unread_pages(opened: OpenedImage, path: Path) -> list[str]:
    if not opened.pages:
        return []
    first, name = opened.pages[0], path.name
    further = [page for page in opened.pages[1:] if not page.reduced]
    same_size = [
        page for page in further if (page.width, page.height) == (first.width, first.height)
    ]
    if same_size and first.bands == 1 and first.bits > 1 and opened.image.mode != "P":
        or_more = "" if len(opened.pages) < MOST_PAGES else " or more"
        raise PhotoError(
            f"{path} holds {len(same_size) + 1}{or_more} "
            f"grey pages of {first.width} × {first.height} pixels.",
            likely="They are the bands of one picture, the slices of a volume, or a series, so the "
            "first page alone would be wrong.",
            do="Load it with tifffile.imread, choose one page or three bands, scale them to "
            "[0, 1], and pass the array.",
        )
    remarks: list[str] = []
    if further:
        remarks.append(f"{name} has several pages; only the first is read.")
    read_bands = len(opened.image.getbands())
    if first.bands > read_bands:
        remarks.append(f"{name} has {first.bands} bands; only the first {read_bands} are read.")
    return remarks


# ── images ───────────────────────────────────────────────────────────────────────────────────


def _from_image(image: Image.Image) -> ReadPhoto:
    """From an image that the user opened; it may not be decoded yet."""
    name = "The image"
    check_pixels(image.width, image.height, name, PhotoError)
    pending = isinstance(image, ImageFile.StubImageFile) or bool(getattr(image, "tile", None))
    if image.format == "EPS" or (pending and image.format not in {*PHOTO_FORMATS, "MPO"}):
        raise PhotoError(
            f"{name} has the format {image.format}, which is not supported.",
            likely="It is a PostScript drawing." if image.format == "EPS" else "",
            do="Export it as PNG first, or pass image.convert('RGB').",
        )
    check_memory(image, name, PhotoError, 0)
    try:
        with ignore_warnings():  # Pillow warns about unusual metadata
            return _decoded(image, name, [], own=False)
    except PhotoError:
        raise
    except Exception as error:  # decoders raise any error for damaged files
        raise PhotoError(
            f"{name} cannot be decoded: {error or type(error).__name__}.",
            likely="The image or its file was closed, or the file is cut short or damaged.",
            do="Give the path of the file.",
        ) from error


def _decoded(image: Image.Image, name: str, remarks: list[str], *, own: bool) -> ReadPhoto:
    """The image in RGB and upright.

    Args:
        own: whether the image may be closed after it is converted.
    """
    deep = has_sixteen_bits(image)
    image.load()
    if metadata_is_huge(image):
        remarks.append(f"{name} has so much EXIF metadata that its orientation is not read.")
    transpose = _UPRIGHT.get(orientation(image))
    rgb, remark = to_rgb(image, name)
    if remark or (deep and (remark := dark_colours(image, name))):
        remarks.append(remark)
    if own:
        image.close()
    upright = rgb if transpose is None else rgb.transpose(transpose)
    upright.info.clear()  # a remaining orientation would be applied again
    return ReadPhoto(upright, tuple(remarks))
